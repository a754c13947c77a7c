"""What goes wrong, by order, and what came: both can be read and written while the server runs."""

import random
from dataclasses import asdict, dataclass, field, fields


@dataclass
class Faults:
    """Shares of PUTs, from 0 to 1, that end in this way; the first that applies counts. They are drawn by `seed`.

    `slow_down`: 503. `hang`: no answer. `reset`: the connection breaks before the answer. `lost`: it breaks after the object was stored.
    `conflict`: 409. `full`: 507. `lie`: 200, and nothing is stored. `delay`: seconds before each answer. `rate`: PUTs a second that are taken; the
    others get 503. `active`: whether anything may happen.
    """

    slow_down: float = 0.0
    hang: float = 0.0
    reset: float = 0.0
    lost: float = 0.0
    conflict: float = 0.0
    full: float = 0.0
    lie: float = 0.0
    delay: float = 0.0
    rate: float = 0.0
    seed: int = 1
    _random: random.Random = field(default_factory=lambda: random.Random(1), repr=False, compare=False)
    _script: list[str] = field(default_factory=list, repr=False, compare=False)
    active: bool = field(default=False, init=False)
    _left: float = field(default=0.0, repr=False, compare=False)
    _at: float = field(default=0.0, repr=False, compare=False)

    KINDS = ("slow_down", "hang", "reset", "lost", "conflict", "full", "lie")

    def order(self, **given: float) -> None:
        """Set these, and unset all others."""
        for each in fields(self):
            if each.init and not each.name.startswith("_"):
                setattr(self, each.name, given.pop(each.name, each.default))
        if given:
            raise ValueError(f"no such fault: {', '.join(given)}")
        self._random = random.Random(self.seed)
        self._left = 0.0
        self.active = self.delay > 0 or self.rate > 0 or any(getattr(self, kind) for kind in self.KINDS)

    def next(self, *kinds: str) -> None:
        """What happens to the next PUTs, one after the other; then what was ordered goes on."""
        self._script = list(kinds)
        self.active = True

    def draw(self, now: float) -> str | None:
        """What happens to the PUT that came now."""
        if self._script:
            return self._script.pop(0)
        if self.rate:
            self._left = min(self._left + (now - self._at) * self.rate, max(1.0, self.rate / 10))
            self._at = now
            if self._left < 1.0:
                return "slow_down"
            self._left -= 1.0
        return next(
            (kind for kind in self.KINDS if (share := getattr(self, kind)) and self._random.random() < share), None
        )


@dataclass
class Counts:
    """Requests by kind. `puts`: all that came, with those that were refused; `stored`: objects that are new."""

    puts: int = 0
    stored: int = 0
    existed: int = 0
    refused: int = 0
    gets: int = 0
    heads: int = 0
    deletes: int = 0
    lists: int = 0
    faults: int = 0

    def shown(self) -> dict[str, int]:
        return asdict(self)
