"""When what waits is done: for each flow and priority, from the fetches that come before it and the pace of the platform."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec.structs import replace

from beat_actors.database import Database, Statements, Transaction
from beat_actors.quotas import pools
from beat_actors.requests import pace
from beat_actors.requests.expected import Expected, Pace, Place, in_turn, no_time, starts
from beat_actors.requests.states import Priority
from beat_actors.requests.views import PRIORITIES
from beat_actors.shapes import one_of

COUNTED, LANES = 100_000, 2_000
MOST = 200
"""Flows and priorities that are told."""
CUT = f"; only the {LANES:,} most urgent lanes were read, and there is more of it, and of what is less urgent"


class Lane(NamedTuple):
    """A lane in which something waits. `full`: there is more than was counted. `cut`: there are lanes that were not read, none of them more urgent."""

    id: int
    platform: str
    flow: str
    operation: str
    priority: int
    owner: str
    sources: list[str]
    blocked_until: datetime | None
    reasons: list[dict[str, Any]] | None
    fetches: int
    full: bool
    oldest: datetime
    cut: bool


class Waiting(NamedTuple):
    """All that waits at a moment. `running`: lanes that go on, or of which it is known when. `held`: by the ids of the others, why nobody knows."""

    now: datetime
    running: list[Lane]
    held: dict[int, str]


class Why(NamedTuple):
    """Why a lane waits, as the broker has noted it."""

    why: str
    until: datetime | None
    source: str | None


class BacklogView(msgspec.Struct, frozen=True, kw_only=True):
    """What waits of a flow at a priority. `more`: there is more than was counted. `expected`: when the last of it has got its turn."""

    platform: str
    flow: str
    priority: Annotated[str, one_of(PRIORITIES)]
    fetches: int
    more: bool
    oldest: datetime
    expected: Expected


SQL = Statements(__file__)
LANE_ROWS = SQL("lanes", Lane)


async def backlogs(database: Database) -> list[BacklogView]:
    """Each flow and priority of which something waits, the most urgent first. Raises `StorageUnavailable`."""
    async with database.transaction() as transaction:
        lanes = await transaction.rows(LANE_ROWS, {"most": COUNTED, "lanes": LANES})
        groups: dict[tuple[str, int, str], list[Lane]] = {}
        cut = max((lane.priority for lane in lanes if lane.cut), default=None)
        for lane in lanes:
            groups.setdefault((lane.platform, lane.priority, lane.flow), []).append(lane)
        minutes = {name: await pace.minutes(transaction, name) for name in sorted({lane.platform for lane in lanes})}
        now = datetime.fromtimestamp(await transaction.now(), UTC)
        held = {lane.id: why for lane in lanes if (why := _held(lane, now)) is not None}
        waiting = Waiting(now, [lane for lane in lanes if lane.id not in held], held)
        return [
            await _view(transaction, group, waiting, minutes[platform], cut=cut is not None and priority >= cut)
            for (platform, priority, _), group in sorted(groups.items(), key=lambda one: (one[0][1], one[0]))[:MOST]
        ]


async def _view(
    transaction: Transaction,
    group: Sequence[Lane],
    waiting: Waiting,
    minutes: Sequence[int],
    *,
    cut: bool,
) -> BacklogView:
    first = group[0]
    fetches, more = sum(lane.fetches for lane in group), cut or any(lane.full for lane in group)
    return BacklogView(
        platform=first.platform,
        flow=first.flow,
        priority=Priority(first.priority).word,
        fetches=fetches,
        more=more,
        oldest=min(lane.oldest for lane in group),
        expected=await _expected(transaction, group, waiting, minutes, cut=cut),
    )


async def _expected(
    transaction: Transaction,
    group: Sequence[Lane],
    waiting: Waiting,
    minutes: Sequence[int],
    *,
    cut: bool,
) -> Expected:
    now = waiting.now
    held = [(lane, waiting.held[lane.id]) for lane in group if lane.id in waiting.held]
    running = [lane for lane in group if lane.id not in waiting.held]
    if not running:
        return Expected(unknown=held[0][1])
    begins = [starts(_reasons(lane), lane.blocked_until) for lane in running if _is_blocked(lane, now)]
    earliest = min((one for one in begins if one is not None), default=None) if len(begins) == len(running) else None
    others = [lane for lane in waiting.running if lane.platform == group[0].platform]
    fetches = sum(lane.fetches for lane in running)
    rate = minutes[-1] / 60 if minutes else None
    sources, owned = sorted({one for lane in running for one in lane.sources}), any(lane.owner for lane in running)
    rooms = await pools.rooms(transaction, sources, running[0].operation, owned=owned)
    found = in_turn(
        Place(
            fetches,
            _before(group[0], fetches, others),
            exact=not (cut or any(lane.full for lane in [*running, *others])),
        ),
        Pace(now, rate, rate, None),
        minutes,
        earliest,
        0.0,
        1,
        own=False,
        sources=rooms.sources,
        unbounded=rooms.unknown,
    )
    if found.unknown is not None:
        return found
    basis = found.basis + _without(held)
    # What was not read may take any time.
    return replace(found, basis=basis + CUT, latest=None) if cut else replace(found, basis=basis)


def _without(held: Sequence[tuple[Lane, str]]) -> str:
    """What the time leaves out, since nobody knows when it can run."""
    if not held:
        return ""
    fetches = sum(lane.fetches for lane, _ in held)
    more = "at least " if any(lane.full for lane, _ in held) else ""
    return (
        f"; without {more}{fetches:,} fetches of {len(held):,} of its lanes, of which no time is known ({held[0][1]})"
    )


def _before(first: Lane, fetches: int, others: Sequence[Lane]) -> int:
    """What is done before the last of these fetches: all that is more urgent. Flows of the same priority take turns, so of each other one as much is done
    meanwhile, if it has so much."""
    beside: dict[str, int] = {}
    for lane in others:
        if lane.priority == first.priority and lane.flow != first.flow:
            beside[lane.flow] = beside.get(lane.flow, 0) + lane.fetches
    urgent = sum(lane.fetches for lane in others if lane.priority < first.priority)
    return urgent + sum(min(count, fetches) for count in beside.values())


def _reasons(lane: Lane) -> list[Why]:
    return [
        Why(
            one["why"],
            None if one.get("until") is None else datetime.fromtimestamp(one["until"], UTC),
            one.get("source"),
        )
        for one in lane.reasons or []
    ]


def _is_blocked(lane: Lane, now: datetime) -> bool:
    return lane.reasons is not None and (lane.blocked_until is None or lane.blocked_until > now)


def _held(lane: Lane, now: datetime) -> str | None:
    """Why nobody knows when the lane goes on; `None`: it runs, or the time is known."""
    return no_time(_reasons(lane), lane.blocked_until) if _is_blocked(lane, now) else None
