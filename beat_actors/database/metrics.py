"""What a process remembers of its last minute with the database, and of the times at which the database did not answer it."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec
import psycopg

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
    """`statements`: how long each took, those that failed included. `exhausted`: how long somebody waited in vain for a connection of
    the pool. `claims`: how long each fetch that was claimed had waited since it was handed over."""

    def __init__(self) -> None:
        self.statements = LastMinute()
        self.exhausted = LastMinute()
        self.claims = LastMinute()
        self._outages: deque[tuple[float, Outage]] = deque(maxlen=10)
        self._answered = time.perf_counter()
        self._unanswered: float | None = None
        """When the first attempt since the last answer began."""

    def outages(self) -> list[Outage]:
        """Those that ended within the hour, the last one at the end."""
        since = time.perf_counter() - KEPT_FOR
        return [outage for ended, outage in self._outages if ended >= since]

    def unanswered(self, began: float) -> None:
        """Note that an attempt that began at `began` (`time.perf_counter`) got no answer: no connection, or one that broke."""
        if self._unanswered is None:
            self._unanswered = max(began, self._answered)

    def answered(self, began: float) -> None:
        """Note that a statement that began at `began` was answered, be it by an error. An outage before it has ended."""
        now, since = time.perf_counter(), self._unanswered
        if since is None and self._answered <= began:
            since = began  # nothing else was answered while it ran
        if since is not None and now - since >= AWAY:
            until = datetime.now(UTC)
            self._outages.append((now, Outage(until - timedelta(seconds=now - since), until)))
        self._answered, self._unanswered = now, None

    def claimed(self, claims: Iterable[Waited]) -> None:
        """Note how long each of these had `waited`. What a stage takes up again after a worker's death has waited for the lease as well."""
        for claim in claims:
            self.claims.note(claim.waited)

    @contextmanager
    def timed(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        except psycopg.Error as error:
            # What the server says of a statement is an answer; of a connection that broke nobody says anything.
            (self.unanswered if error.sqlstate is None or error.sqlstate.startswith("57P") else self.answered)(began)
            raise
        else:
            self.answered(began)
        finally:
            self.statements.note(time.perf_counter() - began)
