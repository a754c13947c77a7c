"""What came back since the last turn: read, judged against the fetch that it belongs to, and the fetch moved on."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from beat_actors.broker.state import Facts, Fail, Fetch, Plan, Settlement, Snapshot, Wait
from beat_actors.database import Statements, Transaction, jsonb
from beat_actors.database.clock import StepWatch
from beat_actors.fetches.lanes import LaneKey, lane_ids
from beat_actors.fetches.leasing import MOVE
from beat_actors.fetches.states import Stage
from beat_actors.platforms.interface import UPKEEP, Outcome, Platform
from beat_actors.requests.lifecycle import fail_fetches, wait

SQL = Statements(__file__)
SETTLEMENT_BATCH = 2000


class SettlementRow(NamedTuple):
    """What became of a call, or of `calls` alike ones. Times are epoch seconds."""

    id: int
    fetch_id: int | None
    fence: int | None
    credential_id: int
    source: str
    operation: str
    outcome: str
    calls: int
    probe: bool
    code: str
    detail: str
    retry_after: float | None
    reported_remaining: int | None
    reported_reset: float | None
    generation: int | None
    facts: dict[str, Any] | None
    owner: str
    process: str
    sent_by: float
    began_at: float | None


class Settling(NamedTuple):
    """A fetch that waits for its settlement. `restarts`: how often its listing was restarted."""

    id: int
    fence: int
    operation: str
    priority: int
    source: str
    cursor_source: str | None
    excluded: list[str]
    unreadable: list[str]
    rotations: int
    retries: int
    owner: str | None
    restarts: int
    flow: str
    is_witness: bool


TAKE = SQL("take", SettlementRow)
SETTLING = SQL("settling", Settling)
Fetches = dict[tuple[int, int], Settling]
"""By (id, fence)."""


async def settling(transaction: Transaction, settlements: Sequence[SettlementRow]) -> Fetches:
    """The fetches that wait for these."""
    ids = [row.fetch_id for row in settlements if row.fetch_id is not None]
    if not ids:
        return {}
    return {(row.id, row.fence): row for row in await transaction.rows(SETTLING, {"ids": ids})}


async def end_unknown(transaction: Transaction, platform: Platform, fetches: Fetches) -> None:
    """End the fetches of operations that this version does not have, and take them off: one of them must not stop the platform."""
    unknown = [key for key, row in fetches.items() if row.operation not in platform.chains]
    errors = [
        (
            fetches[key].id,
            {"code": "unknown_operation", "message": f"{platform.name} has no {fetches.pop(key).operation} any more"},
        )
        for key in unknown
    ]
    await fail_fetches(transaction, errors, stages=(Stage.SETTLING,))


def settlement_of(
    row: SettlementRow, fetches: Fetches, platform: Platform, snapshot: Snapshot, clock: StepWatch
) -> Settlement:
    credential = snapshot.credentials.get(row.credential_id)
    found = None if row.fetch_id is None or row.fence is None else fetches.get((row.fetch_id, row.fence))
    return Settlement(
        credential_id=row.credential_id,
        source=row.source,
        operation=row.operation,
        outcome=_outcome(row.outcome),
        calls=row.calls,
        probe=row.probe,
        code=row.code,
        detail=row.detail,
        retry_after=row.retry_after,
        reported_remaining=row.reported_remaining,
        reported_reset=row.reported_reset,
        at=clock.moved(row.sent_by),
        fetch=None if found is None else _fetch(found, platform),
        generation=row.generation,
        facts=None if row.facts is None else Facts(**row.facts),
        began=row.began_at,
        process=row.process,
        owner=credential.breaks_for if credential is not None and row.operation in UPKEEP else row.owner,
    )


def _outcome(name: str) -> Outcome:
    """What another version wrote and this one does not know says nothing but that a call was made."""
    try:
        return Outcome(name)
    except ValueError:
        return Outcome.UNKNOWN


def _fetch(row: Settling, platform: Platform) -> Fetch:
    chain = (row.cursor_source,) if row.cursor_source else platform.chains[row.operation]
    return Fetch(
        row.id,
        chain,
        row.source,
        row.cursor_source,
        tuple(row.excluded),
        tuple(row.unreadable),
        row.rotations,
        row.retries,
        row.restarts,
        alone=len(platform.chains[row.operation]) == 1,
        is_witness=row.is_witness,
    )


def groups_asked(settlements: Iterable[Settlement]) -> dict[tuple[str, str], set[str]]:
    """The groups of credentials, and for which operations, of which it matters whether they could take a fetch over."""
    wanted: dict[tuple[str, str], set[str]] = defaultdict(set)
    for settlement in settlements:
        if settlement.fetch is not None and (settlement.probe or settlement.outcome is Outcome.UNSEEN):
            for source in settlement.fetch.chain:
                for owner in {"", settlement.owner}:
                    wanted[source, owner].add(settlement.operation)
    return wanted


async def move(
    transaction: Transaction, platform: Platform, plan: Plan, fetches: Mapping[int, Settling], now: float
) -> tuple[int, int]:
    """Write the plan's moves. `fetches`: by id. How many were moved, and how many ended."""
    waits = [move for move in plan.moves if isinstance(move, Wait)]
    moved = 0
    if waits:
        keys = {one.fetch_id: _lane_of(platform, fetches[one.fetch_id], one) for one in waits}
        ids = await lane_ids(transaction, set(keys.values()))
        rows = [
            {
                "id": one.fetch_id,
                "lane_id": ids[keys[one.fetch_id]],
                "excluded": one.excluded,
                "unreadable": one.unreadable,
                "rotations": one.rotations,
                "retries": one.retries,
                "delay": one.delay,
                "why": one.why,
                "drop_cursor": one.drop_cursor,
            }
            for one in waits
        ]
        found = await transaction.rows(MOVE, {"now": now, "moves": jsonb(rows)})
        moved = len(found)
        await wait(transaction, [(row.request_id, row.until, row.reason or "") for row in found if row.until])
    fails = [
        (move.fetch_id, {"code": move.code, "message": move.message}) for move in plan.moves if isinstance(move, Fail)
    ]
    await fail_fetches(transaction, fails, stages=(Stage.SETTLING,))
    return moved, len(fails)


def _lane_of(platform: Platform, row: Settling, wait: Wait) -> LaneKey:
    pinned = row.cursor_source is not None and not wait.drop_cursor
    chain = (row.cursor_source,) if row.cursor_source is not None and pinned else platform.chains[row.operation]
    open_sources = tuple(source for source in chain if source not in wait.excluded and source not in wait.unreadable)
    return LaneKey(platform.name, row.flow, row.operation, row.priority, open_sources or chain, row.owner or "")
