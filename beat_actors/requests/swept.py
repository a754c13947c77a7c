"""What sweeps return. In a module of its own, because modules with one sweep among other things load no others."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Swept:
    """What a sweep found: platforms whose broker should turn, and messages to send: (stage, fetches) or (queue, credentials)."""

    wake: set[str] = field(default_factory=set)
    send: list[tuple[str, list[int]]] = field(default_factory=list)
    count: int = 0
