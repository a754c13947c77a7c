"""When a request is likely to be complete, as an interval, and on what that rests. No I/O."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import msgspec

from beat_actors.forecast.arrival import WIDEST, Room, arrival, spread
from beat_actors.moments import moment

UNKNOWN_LEASES = 10.0
"""Leases a second that a platform, or a tenant, is taken to get where it has had none of late."""
FEW = 100
"""Fetches ahead up to which a time is given also where nothing is known of the pace, or of budgets."""
INEXACT = 0.03
"""By which share a place that was estimated may be wrong."""
VARIES = 2.0
"""By which factor the duration of a flow may differ."""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """When a request, or what waits, is likely to be complete. `earliest` and `latest`: of four cases in five; null: later than anything can be said.

    `basis`: what the estimate rests on, in a sentence. `unknown`: why no time is given; the times are null then.
    """

    at: datetime | None = None
    earliest: datetime | None = None
    latest: datetime | None = None
    basis: str = ""
    unknown: str | None = None


DOWN = ("breaker is open", "paused by an operator", "opened its data breaker")
"""Words of reasons why a source is not used whose end depends on the source, or on a person."""


class Blocking(Protocol):
    """Why something waits. `until`: when that changes by itself; `None`: a person has to act."""

    @property
    def why(self) -> str: ...
    @property
    def until(self) -> datetime | None: ...
    @property
    def source(self) -> str | None: ...


def no_time(blockers: Sequence[Blocking], next_at: datetime | None) -> str | None:
    """Why no time of the end can be told, of something that waits for these until `next_at`; `None`: it can."""
    if not blockers:
        return None
    if next_at is None:
        return f"{_told(blockers[0])}; nobody knows when that ends"
    if any(one.until is not None and not _is_down(one) for one in blockers):
        return None
    down = next((one for one in blockers if _is_down(one)), blockers[0])
    if down.until is None:
        return f"{_told(down)}; nobody knows when that ends"
    return f"{_told(down)}; it is tried again at {moment(down.until)}, and whether it works then is not known"


def starts(blockers: Sequence[Blocking], next_at: datetime | None) -> datetime | None:
    """When the first of these ends that is no outage, and not before `next_at`."""
    known = [one.until for one in blockers if one.until is not None and not _is_down(one)]
    return next_at if next_at is None or not known else max(next_at, min(known))


def _is_down(blocker: Blocking) -> bool:
    """Whether nobody knows how long it lasts: at its `until` one probe is made, which may fail."""
    return any(words in blocker.why for words in DOWN)


def _told(blocker: Blocking) -> str:
    return f"{blocker.source}: {blocker.why}" if blocker.source else blocker.why


class Pace(NamedTuple):
    """`leases`: a second, of the platform; `own`: of them, of the tenant; `seconds` that the flow took."""

    now: datetime
    leases: float | None
    own: float | None
    seconds: float | None


class Place(NamedTuple):
    """Fetches ahead: `own` of the tenant in the lane, and those in more urgent lanes. `exact`: they were counted to the end."""

    own: int
    urgent: int
    exact: bool


def in_progress(at: datetime, now: datetime, takes: float) -> Expected:
    """Nothing waits any more: its calls are made or processed."""
    return Expected(
        at=at,
        earliest=now,
        latest=max(at, now + timedelta(seconds=takes * VARIES)),
        basis="its calls are in progress; the flow took as long of late",
    )


def in_turn(
    place: Place,
    pace: Pace,
    minutes: Sequence[int],
    earliest: datetime | None,
    takes: float,
    tenants: int,
    *,
    own: bool,
    sources: Sequence[Sequence[Room]] = (),
    unbounded: str | None = None,
) -> Expected:
    """What waits gets its turn. `minutes`: leases of the platform in each of the last ones. `tenants` take turns in its lane. `own`: only what the
    account itself got may have a part in it. `sources`: the budgets of each source that may serve it. `unbounded`: why they are not
    known; a time is given to few fetches then."""
    now = pace.now
    if unbounded is not None and place.own + place.urgent > FEW:
        return Expected(unknown=f"{_count(place)}; {unbounded}")
    if own:
        work, rate = float(place.own + place.urgent), pace.own or 0.0
        factor = spread([round(rate * 60)] * 2) if rate else WIDEST
    else:
        # At the platform's pace. A tenant that has got nothing of late is taken to get its share.
        rate = pace.leases or (sum(minutes) / len(minutes) / 60 if minutes else 0.0)
        turns = max(1.0, rate / pace.own) if pace.own else float(tenants)
        work, factor = place.urgent + place.own * turns, spread(minutes)
    known, full = rate > 0, bool(sources) and not any(_has_room(rooms, rate) for rooms in sources)
    if full:
        # The pace of the last minute is that of the budgets, which have their own part below.
        rate = max([rate, UNKNOWN_LEASES, *(one / 60 for one in minutes if not own)])
    if not known and not full and work > FEW:
        return Expected(
            unknown=f"{_count(place)}, and nothing was leased within the last minutes from which a pace follows"
        )
    start = max(earliest or now, now)
    found = arrival(
        work,
        start=start.timestamp(),
        rate=rate or UNKNOWN_LEASES,
        factor=factor,
        sources=sources,
        now=now.timestamp(),
        more=0.0 if place.exact else work * INEXACT,
    )
    if found.at is None:
        return Expected(
            unknown=f"{_count(place)}: it takes longer than a month, or the budgets of calls never have room"
        )
    waits = " it can run after what it waits for;" if start > now else ""
    budgets = " the budgets of calls delay it;" if found.held_back else ""
    at_pace = "no pace is known, so a usual one is assumed"
    if full:
        at_pace = f"where there is room, {rate:,.1f} leases a second are assumed"
    elif known:
        at_pace = f"{rate:,.1f} leases a second were given of late"
    return Expected(
        at=_moment(found.at, takes),
        earliest=_moment(found.earliest, takes / VARIES),
        latest=_moment(found.latest, takes * VARIES),
        basis=f"{_count(place)};{waits}{budgets} {at_pace}",
    )


def _has_room(rooms: Sequence[Room], rate: float) -> bool:
    """For a minute."""
    return all(room.left >= max(1.0, rate * 60) for room in rooms)


def _count(place: Place) -> str:
    fetches = place.own + place.urgent
    return f"{'' if place.exact else 'about '}{fetches:,} {'fetch is' if fetches == 1 else 'fetches are'} ahead of it"


def _moment(at: float | None, takes: float) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at + takes, UTC)
