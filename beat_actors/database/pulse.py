"""What a process remembers of its last minute with the database."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol


class LastMinute:
    """Durations in seconds, the newest of the last minute."""

    KEPT = 2000
    SPAN = 60.0

    def __init__(self) -> None:
        self._noted: deque[tuple[float, float]] = deque(maxlen=self.KEPT)

    def note(self, seconds: float) -> None:
        self._noted.append((time.perf_counter(), seconds))

    def _recent(self) -> list[float]:
        since = time.perf_counter() - self.SPAN
        return [seconds for at, seconds in self._noted if at >= since]

    def __len__(self) -> int:
        return len(self._recent())

    def quantile(self, share: float) -> float:
        """The duration that this share of them does not exceed; 0 where there are none."""
        took = sorted(self._recent())
        return took[min(int(len(took) * share), len(took) - 1)] if took else 0.0


class Waited(Protocol):
    """A claimed fetch. `waited`: seconds since it was handed over."""

    @property
    def waited(self) -> float: ...


class Pulse:
    """`statements`: how long each took, those that failed included. `exhausted`: how long somebody waited in vain for a connection of
    the pool. `claims`: how long each fetch that was claimed had waited since it was handed over."""

    def __init__(self) -> None:
        self.statements = LastMinute()
        self.exhausted = LastMinute()
        self.claims = LastMinute()

    def claimed(self, claims: Iterable[Waited]) -> None:
        """Note how long each of these had `waited`. What a stage takes up again after a worker's death has waited for the lease as well."""
        for claim in claims:
            self.claims.note(claim.waited)

    @contextmanager
    def beat(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.statements.note(time.perf_counter() - started)
