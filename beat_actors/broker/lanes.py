"""The lanes of a turn: which it looks at, and what it notes of those in which nothing can be leased."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

from beat_actors.broker.state import Blocked, Lane, Plan, Snapshot, reasons_json
from beat_actors.database import Answer, Pipeline, Statements, Transaction, jsonb
from beat_actors.errors import NoAvailableSources
from beat_actors.fetches.states import Stage
from beat_actors.requests.lifecycle import fail_fetches
from beat_actors.requests.states import Priority

SQL = Statements(__file__)
MOST_LANES = 100
"""Lanes that a turn looks at, and no more than the leases that it can give."""
LEAST_LANES = 12
"""Lanes of a class that a turn looks at, however many more urgent ones there are and however few leases it can give."""


class LaneRow(NamedTuple):
    id: int
    operation: str
    priority: int
    sources: list[str]
    owner: str
    flow: str
    blocked: bool


class OutOfTime(NamedTuple):
    """A fetch whose lane is blocked `until` (epoch seconds) after its deadline."""

    id: int
    until: float
    reasons: list[dict[str, Any]]


READY = SQL("ready", LaneRow)
BLOCK = SQL("block")
UNBLOCK = SQL("unblock")
OUT_OF_TIME = SQL("out_of_time", OutOfTime)


async def ask_lanes(pipeline: Pipeline, platform: str, snapshot: Snapshot, room: int, rng: Random) -> Answer[LaneRow]:
    """The lanes that have something ready, for a turn that can give at most `room` leases."""
    values = {"platform": platform, "now": snapshot.now, "share": rng.random(), "most": _most_lanes(room)}
    return await pipeline.run(READY, {**values, "priorities": list(Priority)})


def _most_lanes(room: int) -> int:
    return max(LEAST_LANES, min(MOST_LANES, room))


def choose_lanes(snapshot: Snapshot, found: Sequence[LaneRow], room: int, capacity: int, rng: Random) -> set[int]:
    """Set the lanes that a turn with `capacity` leases looks at. `found`: what `ask_lanes` found with `room`. The ids of those among them that
    were not blocked, where there are more such lanes than were chosen."""
    rows = _shared_out(found, _most_lanes(capacity), rng)
    snapshot.lanes = [
        Lane(row.id, row.operation, row.priority, tuple(row.sources), row.owner, row.flow) for row in rows
    ]
    unblocked = Counter(row.priority for row in found if not row.blocked)
    chosen = {row.id for row in rows if not row.blocked}
    return chosen if len(chosen) < unblocked.total() or _most_lanes(room) in unblocked.values() else set()


def _shared_out(found: Sequence[LaneRow], most: int, rng: Random) -> list[LaneRow]:
    """Of the lanes `most`, those that are not blocked first, and of these those of the more urgent classes; and `LEAST_LANES` of each
    class in any case. In the order of their ids."""
    alike: dict[tuple[bool, int], list[LaneRow]] = defaultdict(list)
    for row in found:
        alike[row.blocked, row.priority].append(row)
    chosen: list[LaneRow] = []
    for _, rows in sorted(alike.items()):
        chosen += rng.sample(rows, min(len(rows), max(most - len(chosen), LEAST_LANES)))
    return sorted(chosen, key=lambda row: int(row.id))


async def note(pipeline: Pipeline, platform: str, snapshot: Snapshot, plan: Plan, rng: Random) -> Answer[OutOfTime]:
    """Note what lanes wait for. The rows: the fetches that wait longer than their deadline."""
    unblocked = {
        "platform": platform,
        "blocked": [item.lane_id for item in plan.blocked],
        "looked_at": [lane.id for lane in snapshot.lanes],
        "share": rng.random(),
        "most": 2 * MOST_LANES,
    }
    await pipeline.run(UNBLOCK, unblocked)
    if plan.blocked:
        blocked = [_blocked_json(item) for item in plan.blocked]
        await pipeline.run(BLOCK, {"now": snapshot.now, "lanes": jsonb(blocked)})
        if dated := [item for item in blocked if item["until"] is not None]:
            return await pipeline.run(OUT_OF_TIME, {"lanes": jsonb(dated)})
    return Answer[OutOfTime]()


async def fail_fast(transaction: Transaction, rows: Sequence[OutOfTime]) -> int:
    """Fail what would still be waiting at its deadline: the consumer learns now what it would otherwise learn then. How many."""
    errors = [
        (
            row.id,
            {
                "code": NoAvailableSources.code,
                "message": NoAvailableSources.MESSAGE,
                "earliest_at": row.until,
                "reasons": [_for_accounts(reason) for reason in row.reasons],
            },
        )
        for row in rows
    ]
    await fail_fetches(transaction, errors, stages=(Stage.WAITING,))
    return len(errors)


def _for_accounts(reason: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in reason.items() if name != "hint"} | {"credential_id": None}


def _blocked_json(item: Blocked) -> dict[str, Any]:
    return {"id": item.lane_id, "until": item.until, "reasons": reasons_json(item.reasons)}
