"""When calls to a source are stopped for a while. A breaker belongs to a source and an operation, and to an owner where the call was an owner's. Pure.

Closed → open when more than half of at least five calls that began within a minute failed, or when none of the ten latest or more, of five seconds
or more, came back well: after a minute of good calls half of them have failed only 30 s into an outage. Open for 30 s × the number of
trips, 300 s at most. Then half-open: one probe decides. Only the times at which calls began count, so the order in which outcomes are
applied does not matter.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

WINDOW = 60
BUCKET = 10
AT_LEAST = 5
AT_ONCE, LASTING = 10, 5.0
"""Calls, and seconds from the beginning of a bucket on, in which none came back well: the source is gone, whatever was before. Fewer calls or a shorter
time may be one lost connection with the calls in it."""
OPEN_FOR = 30.0
OPEN_AT_MOST = 300.0
CODES = 3
"""Codes of failures that are kept of what opened a breaker."""


def bucket_of(began: float | None) -> int:
    """The bucket of the window in which a call began."""
    return int((began or 0.0) // BUCKET)


@dataclass(frozen=True, slots=True)
class Called:
    """`calls` calls with the same result, which began at `began` (epoch seconds). `unreached_by`: the process to which no connection came
    about; empty where one did. `code`: what the provider, or the connection, said of the failure."""

    began: float
    calls: int
    failed: bool
    unreached_by: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class OpenedBy:
    """The calls for which a breaker opened: how many began within its window, how many of them failed, and the commonest codes of the failures
    that were applied last, each with its number."""

    calls: int
    failures: int
    codes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Witnesses:
    """The worker processes that live: those that reach providers, and those that know that they reach none."""

    well: frozenset[str] = frozenset()
    cut_off: frozenset[str] = frozenset()

    def confirm(self, processes: Collection[str]) -> bool:
        """Whether it is the provider that is not reached, and not these processes that reach nobody. It takes two of them to say so, or the
        one that there is."""
        return len(set(processes) - self.cut_off) >= (2 if len(self.well) > 1 else 1)


ALONE = Witnesses()


@dataclass(frozen=True, slots=True)
class Breaker:
    """Times are epoch seconds. `by_hand`: a person opened it, and no failure did.

    `since`: when it was last opened or closed; a call that began before says nothing of what came after.
    `recent`: (bucket, calls, failures) of the window, in the buckets' order; a bucket is ten seconds. `unreached`: (bucket, process, calls),
    calls to which no connection came about, which are failures too once they are confirmed. `opened_by`: why it is open, where calls
    opened it.
    """

    since: float = 0.0
    recent: tuple[tuple[int, int, int], ...] = ()
    trips: int = 0
    open_until: float | None = None
    probing: bool = False
    by_hand: bool = False
    unreached: tuple[tuple[int, str, int], ...] = ()
    opened_by: OpenedBy | None = None

    @property
    def calls(self) -> int:
        return sum(calls for _, calls, _ in self.recent) + self._not_reached

    @property
    def failures(self) -> int:
        return sum(failures for _, _, failures in self.recent) + self._not_reached

    @property
    def _buckets(self) -> list[int]:
        return [bucket for bucket, _, _ in (*self.recent, *self.unreached)]

    @property
    def _not_reached(self) -> int:
        return sum(calls for _, _, calls in self.unreached)

    def is_confirmed(self, witnesses: Witnesses) -> bool:
        """Whether calls to which no connection came about are the provider's failures."""
        return witnesses.confirm({process for _, process, _ in self.unreached})

    def fails(self, witnesses: Witnesses = ALONE) -> bool:
        """Whether more than half of the calls of the window failed, and there were enough to say so."""
        unconfirmed = 0 if self.is_confirmed(witnesses) else self._not_reached
        calls, failures = self.calls - unconfirmed, self.failures - unconfirmed
        return calls >= AT_LEAST and failures * 2 > calls

    def latest(self, buckets: int) -> "Breaker":
        """With the calls of so many of the newest buckets alone."""
        first = max(self._buckets, default=0) - buckets + 1
        return replace(
            self,
            recent=tuple(one for one in self.recent if one[0] >= first),
            unreached=tuple(one for one in self.unreached if one[0] >= first),
        )

    def is_gone(self, now: float, witnesses: Witnesses = ALONE) -> bool:
        """Whether calls enough of the window failed for long enough, and none came back well."""
        confirmed = self._not_reached if self.is_confirmed(witnesses) else 0
        failed = self.failures - self._not_reached + confirmed
        begins = min(self._buckets, default=0) * BUCKET
        return failed >= AT_ONCE and self.calls == self.failures and now - begins >= LASTING

    def is_open(self, now: float) -> bool:
        return self.open_until is not None and now < self.open_until

    def needs_probe(self, now: float) -> bool:
        return self.open_until is not None and now >= self.open_until

    def counted(self, outcomes: Iterable[Called]) -> "Breaker":
        """With these calls in its window. Those that began before it was last opened or closed are left out."""
        buckets = {bucket: (calls, failures) for bucket, calls, failures in self.recent}
        unreached = {(bucket, process): calls for bucket, process, calls in self.unreached}
        for one in outcomes:
            if one.began <= self.since:
                continue
            bucket = bucket_of(one.began)
            if one.unreached_by:
                seen = (bucket, one.unreached_by)
                unreached[seen] = unreached.get(seen, 0) + one.calls
                continue
            calls, failures = buckets.get(bucket, (0, 0))
            buckets[bucket] = (calls + one.calls, failures + one.calls * one.failed)
        first = max([*buckets, *(bucket for bucket, _ in unreached)], default=0) - WINDOW // BUCKET
        return replace(
            self,
            recent=tuple((b, *buckets[b]) for b in sorted(buckets) if b > first),
            unreached=tuple((*seen, unreached[seen]) for seen in sorted(unreached) if seen[0] > first),
        )

    def judged(self, outcomes: Iterable[Called], now: float, witnesses: Witnesses = ALONE) -> "Breaker":
        """The state after these calls, none of which was a probe. An open breaker waits for its probe."""
        if self.open_until is not None:
            return self
        outcomes = tuple(outcomes)
        counted = self.counted(outcomes)
        if counted.fails(witnesses):
            return counted.opened(now, outcomes)
        for latest in (counted.latest(1), counted.latest(2)):
            if latest.is_gone(now, witnesses):
                return latest.opened(now, outcomes)
        return counted

    def probed(self, probe: Called, now: float, witnesses: Witnesses = ALONE) -> "Breaker":
        """The state after the probe. A probe from before the breaker opened anew decides nothing. A probe that came to no connection in one process of
        several is repeated after a short while, and counts as no trip."""
        if self.open_until is None or probe.began <= self.since:
            return self
        if probe.unreached_by and not witnesses.confirm({probe.unreached_by}):
            return replace(self, since=now, open_until=now + OPEN_FOR, probing=False)
        return self.opened(now) if probe.failed else Breaker(since=now)

    def opened(self, now: float, outcomes: Iterable[Called] = ()) -> "Breaker":
        """Open for longer than the last time. `outcomes`: the calls that were counted last; without any the reason stays what it was."""
        trips, codes = self.trips + 1, Counter[str]()
        for one in outcomes:
            if one.failed and one.code:
                codes[one.code] += one.calls
        known = self.calls > 0
        opened_by = OpenedBy(self.calls, self.failures, tuple(codes.most_common(CODES))) if known else self.opened_by
        return Breaker(
            since=now, trips=trips, open_until=now + min(OPEN_FOR * trips, OPEN_AT_MOST), opened_by=opened_by
        )
