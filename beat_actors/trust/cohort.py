"""What it means if many records of one source, operation and parser version are out of range at once: the world moved, or the source broke.

Within a normal day at most one in a hundred is out of range. Where more than one in ten of the last 200 are, the single records are asked about no
more. A sample of 20 is asked elsewhere instead. If 18 of them are confirmed, the world moved: all that is held is accepted, and ranges are widened
for 48 hours. If 5 or fewer are, the source or its parser broke: all that is held is rejected, and the data breaker opens. Between, people decide.
"""

from enum import StrEnum

import msgspec

from beat_actors.trust.counting import WINDOW, Recent
from beat_actors.trust.gate import NORMAL, Widened

TOO_MANY = 0.10
SAMPLE = 20
MOVED = 18
BROKE = 5
ALONE = 20
"""Among the last observations, at most so many held records have a witness of their own."""
MOST_CALLS = 60
WIDEN_FOR = 48 * 3600.0


class Cause(StrEnum):
    WORLD_MOVED = "world_moved"
    SOURCE_BROKE = "source_broke"
    UNCLEAR = "unclear"


class Incident(msgspec.Struct, frozen=True, array_like=True):
    """`falls`, `rises`: in which direction the held numbers moved. `calls`: to other sources since then. `cause`: what it was, once that is known."""

    since: float
    falls: int = 0
    rises: int = 0
    calls: int = 0
    confirmed: int = 0
    refuted: int = 0
    cause: Cause | None = None


class Cohort(msgspec.Struct, frozen=True, array_like=True):
    """The last observations of a source, operation and parser version. `alone`: among them, held records that got a witness of their own.
    `in_flight`: calls to witnesses without an answer yet. `widened_until`: epoch seconds; `widens_falls`: the direction."""

    recent: Recent = Recent()
    alone: Recent = Recent()
    in_flight: int = 0
    incident: Incident | None = None
    widened_until: float = 0.0
    widens_falls: bool = False

    def counted(self, seen: int, odd: int, now: float, *, falls: int = 0, rises: int = 0) -> "Cohort":
        """After so many observations. `falls`, `rises`: of the numbers that were held."""
        recent = self.recent.counted(seen, odd)
        incident = self.incident
        if incident is not None and incident.cause is None:
            incident = msgspec.structs.replace(incident, falls=incident.falls + falls, rises=incident.rises + rises)
        elif incident is None and recent.odd > TOO_MANY * max(WINDOW, recent.seen):
            # Witnesses that were asked already are the first of the sample.
            incident = Incident(now, falls, rises, self.in_flight)
        return msgspec.structs.replace(self, recent=recent, alone=self.alone.counted(seen, 0), incident=incident)

    @property
    def is_sampling(self) -> bool:
        """Whether held records wait for the decision about all of them."""
        return self.incident is not None and self.incident.cause is None

    @property
    def may_ask_alone(self) -> bool:
        """Whether one more held record may have a witness of its own."""
        return self.incident is None and self.alone.odd < ALONE

    @property
    def wanted(self) -> int:
        """How many held records are to be asked about now, for the sample."""
        found = self.incident
        if found is None or found.cause is not None:
            return 0
        missing = SAMPLE - found.confirmed - found.refuted - self.in_flight
        return max(0, min(missing, MOST_CALLS - ALONE - found.calls))

    def asked(self, calls: int = 1) -> "Cohort":
        """So many held records get a witness now. Without an independent source there is none, and people decide: see `unwitnessed`."""
        incident, alone = self.incident, self.alone
        if incident is None:
            alone = alone.counted(0, calls)
        else:
            incident = msgspec.structs.replace(incident, calls=incident.calls + calls)
        return msgspec.structs.replace(self, in_flight=self.in_flight + calls, incident=incident, alone=alone)

    def witnessed(self, now: float, *, confirms: bool | None) -> "Cohort":
        """One witness answered. `None`: it does not know, so another record is asked about."""
        cohort = msgspec.structs.replace(self, in_flight=max(0, self.in_flight - 1))
        found = self.incident
        if found is None or found.cause is not None:
            return cohort
        found = msgspec.structs.replace(
            found, confirmed=found.confirmed + (confirms is True), refuted=found.refuted + (confirms is False)
        )
        cohort = msgspec.structs.replace(cohort, incident=found)
        cause = _cause(found)
        if cause is None and not cohort.in_flight and not cohort.wanted:
            cause = Cause.UNCLEAR
        return cohort._decided(found, cause, now)

    def unwitnessed(self, now: float) -> "Cohort":
        """No independent source can be asked."""
        return self._decided(self.incident, Cause.UNCLEAR, now) if self.incident is not None else self

    def decided(self, cause: Cause, now: float) -> "Cohort":
        """A person decided, or another cohort of the platform did."""
        return self._decided(self.incident or Incident(now), cause, now)

    def closed(self) -> "Cohort":
        """The incident is over: what was held is accepted or rejected. Counting begins anew."""
        return Cohort(in_flight=self.in_flight, widened_until=self.widened_until, widens_falls=self.widens_falls)

    def widened(self, now: float) -> Widened:
        if now >= self.widened_until:
            return NORMAL
        return Widened(falls=self.widens_falls, rises=not self.widens_falls)

    def _decided(self, found: Incident, cause: Cause | None, now: float) -> "Cohort":
        found = msgspec.structs.replace(found, cause=cause)
        if cause is not Cause.WORLD_MOVED:
            return msgspec.structs.replace(self, incident=found)
        return msgspec.structs.replace(
            self, incident=found, widened_until=now + WIDEN_FOR, widens_falls=found.falls >= found.rises
        )


def _cause(found: Incident) -> Cause | None:
    """As soon as the rest of the sample cannot change it."""
    if found.confirmed >= MOVED:
        return Cause.WORLD_MOVED
    if found.refuted >= SAMPLE - BROKE:
        return Cause.SOURCE_BROKE
    if found.confirmed > BROKE and found.refuted > SAMPLE - MOVED:
        return Cause.UNCLEAR
    return None
