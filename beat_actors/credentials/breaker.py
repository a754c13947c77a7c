"""When a source is given a rest. A breaker belongs to a source and an operation, never to a credential. Pure.

Closed → open when more than half of at least five calls within a minute fail, or five in a row. Open for 30 s × the number
of trips, 300 s at most. Then half-open: one probe decides.
"""

from dataclasses import dataclass, replace

WINDOW = 60.0
AT_LEAST = 5
IN_A_ROW = 5
REST = 30.0
REST_AT_MOST = 300.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """Times are epoch seconds. `by_hand`: a person opened it, and no failure did."""

    in_a_row: int = 0
    window_start: float = 0.0
    calls: int = 0
    failures: int = 0
    trips: int = 0
    open_until: float | None = None
    probing: bool = False
    by_hand: bool = False

    def is_open(self, now: float) -> bool:
        return self.open_until is not None and now < self.open_until

    def needs_probe(self, now: float) -> bool:
        return self.open_until is not None and now >= self.open_until

    def succeeded(self, calls: int, now: float, *, probe: bool) -> "Breaker":
        """`calls` calls went well. Only the probe closes an open breaker: stragglers from before the outage prove nothing."""
        if self.open_until is not None:
            return Breaker(window_start=now, calls=calls) if probe or self.needs_probe(now) else self
        fresh = self._rolled(now)
        return replace(fresh, in_a_row=0, calls=fresh.calls + calls)

    def failed(self, calls: int, now: float, *, probe: bool) -> "Breaker":
        if self.open_until is not None:
            return self._open(now) if probe else self
        fresh = self._rolled(now)
        counted = replace(
            fresh, in_a_row=fresh.in_a_row + calls, calls=fresh.calls + calls, failures=fresh.failures + calls
        )
        tripped = counted.in_a_row >= IN_A_ROW or (counted.calls >= AT_LEAST and counted.failures * 2 > counted.calls)
        return counted._open(now) if tripped else counted

    def _rolled(self, now: float) -> "Breaker":
        if now - self.window_start < WINDOW:
            return self
        return replace(self, window_start=now, calls=0, failures=0)

    def _open(self, now: float) -> "Breaker":
        trips = self.trips + 1
        return Breaker(trips=trips, open_until=now + min(REST * trips, REST_AT_MOST))
