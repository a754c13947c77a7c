"""What a process remembers of its last minute with the database, and of the times at which the database did not answer it."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

from beat_actors.observe.counts import Counts
from beat_actors.observe.families import CLAIM_INTERVAL, POOL_EXHAUSTED, STATEMENT_SECONDS

AWAY = 5.0
"""Seconds without any answer, while one was waited for, from which on it is an outage."""
KEPT_FOR = 3600.0
"""Seconds for which an outage is remembered."""


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


class Outage(msgspec.Struct, frozen=True):
    """A time in which the database did not answer this process."""

    since: datetime
    until: datetime


class Waited(Protocol):
    """A claimed fetch. `waited`: seconds since it was handed over."""

    @property
    def waited(self) -> float: ...


class Metrics:
    """`statements`: how long each took, those that failed included. `exhausted`: how long each caller waited that got no connection of
    the pool. `claims`: how long each fetch that was claimed had waited since it was handed over. `counts`: what the process counts for the metrics
    of the whole installation."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.statements = LastMinute()
        self.exhausted = LastMinute()
        self.claims = LastMinute()
        self.counts = Counts()
        self._clock = clock
        self._outages: deque[tuple[float, Outage]] = deque(maxlen=10)
        self._answered = clock()
        self._since: float | None = None
        """When the first attempt since the last answer began, and `_tried`: when the last one was given up."""
        self._tried = 0.0

    def outages(self) -> list[Outage]:
        """Those that ended within the hour, the last one at the end."""
        since = self._clock() - KEPT_FOR
        return [outage for ended, outage in self._outages if ended >= since]

    def away_for(self, seconds: float) -> float:
        """For how long of these last seconds the database did not answer."""
        now = datetime.now(UTC)
        first = now - timedelta(seconds=seconds)
        spans = [(max(outage.since, first), outage.until) for outage in self.outages()]
        return sum(max((until - since).total_seconds(), 0.0) for since, until in spans)

    def unanswered(self, began: float) -> None:
        """Note that an attempt that began at `began` (`time.perf_counter`) was given up without an answer."""
        if self._since is None:
            self._since = max(began, self._answered)
        self._tried = self._clock()

    def answered(self, began: float) -> None:
        """Note that a statement that began at `began` was answered, be it by an error. An outage before it has ended."""
        now, since, until = self._clock(), self._since, self._tried
        if since is None and self._answered <= began:
            since, until = began, now  # nothing else was answered while it ran
        elif began - self._tried < AWAY:
            until = now
        if since is not None and until - since >= AWAY:
            wall = datetime.now(UTC)
            self._outages.append(
                (now, Outage(wall - timedelta(seconds=now - since), wall - timedelta(seconds=now - until)))
            )
        self._answered, self._since = now, None

    def claimed(self, stage: str, claims: Iterable[Waited]) -> None:
        """Note how long each of these had `waited` when a stage claimed it. What a stage takes up again after a worker's death has waited for the lease as well."""
        for claim in claims:
            self.claims.note(claim.waited)
            self.counts.observe(CLAIM_INTERVAL, stage, value=claim.waited)

    def out_of_connections(self, seconds: float) -> None:
        """Note that no connection of the pool came free within so long."""
        self.exhausted.note(seconds)
        self.counts.add(POOL_EXHAUSTED)

    @contextmanager
    def timed(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        except BaseException as error:
            # What the server says of a statement is an answer, and has a state; a connection that broke or a caller who gave up has none.
            state: str | None = getattr(error, "sqlstate", None)
            (self.unanswered if state is None or state.startswith("57P") else self.answered)(began)
            raise
        else:
            self.answered(began)
        finally:
            took = time.perf_counter() - began
            self.statements.note(took)
            self.counts.observe(STATEMENT_SECONDS, value=took)
