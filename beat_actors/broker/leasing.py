"""Leases of a turn: which fetches come into question, and what is written of those that get one."""

from collections import Counter
from collections.abc import Collection, Sequence
from math import ceil
from typing import NamedTuple

from beat_actors.access import grants
from beat_actors.broker.decision import Allocator
from beat_actors.broker.state import Plan, Snapshot
from beat_actors.database import Answer, Pipeline, Statements, Transaction, jsonb
from beat_actors.fetches.leasing import LEASE, UNGRANTED, USE_WITHIN
from beat_actors.fetches.states import Stage
from beat_actors.requests.lifecycle import fail_fetches
from beat_actors.settings import Settings

SQL = Statements(__file__)


class CandidateRow(NamedTuple):
    """A fetch that comes into question. `wanted`: how many were wanted of its tenant in this lane."""

    fetch_id: int
    lane_id: int
    tenant: str
    wanted: int


class Served(NamedTuple):
    priority: int
    tenant: str


CANDIDATES = SQL("candidates", CandidateRow)
SERVED = SQL("served", Served)
SERVE = SQL("serve")


async def candidates(
    transaction: Transaction, snapshot: Snapshot, allocator: Allocator, capacity: int
) -> Sequence[CandidateRow]:
    """Of the lanes with room twice as many fetches as can be leased, over all lanes together; of the others one each."""
    with_room = [allocator.has_room(lane) for lane in snapshot.lanes]
    most = min(capacity + 1, max(1, ceil(2 * (capacity + 1) / max(1, sum(with_room)))))
    lanes = [
        {"id": lane.id, "served": snapshot.served.get(lane.priority, ""), "rows": most if room else 1}
        for lane, room in zip(snapshot.lanes, with_room, strict=True)
    ]
    return await transaction.rows(CANDIDATES, {"lanes": jsonb(lanes), "now": snapshot.now})


async def lease(pipeline: Pipeline, settings: Settings, platform: str, now: float, plan: Plan) -> Answer[int]:
    """Write the plan's leases. The rows: the fetches that took theirs."""
    served = {"priorities": list(plan.served), "tenants": list(plan.served.values())}
    await pipeline.run(SERVE, {"platform": platform, **served})
    # Before a stage's lease can end: a worker that froze between claim and call must not call once its fetch was given up.
    use_until = now + min(USE_WITHIN, settings.stage_lease)
    return await pipeline.run(LEASE, {"leases": jsonb(plan.leases), "use_until": use_until})


async def keep_taken(transaction: Transaction, plan: Plan, taken: Collection[int]) -> int:
    """Keep those of the plan's leases that were taken, and fail fetches whose account has lost the grant of their owner since it asked. How
    many failed."""
    leased = set(taken)
    left = [lease.fetch_id for lease in plan.leases if lease.fetch_id not in leased]
    # What was cancelled or expired at this very moment took no lease.
    plan.leases = [lease for lease in plan.leases if lease.fetch_id in leased]
    if not left:
        return 0
    errors = [(row.id, grants.taken(row.owner)) for row in await transaction.rows(UNGRANTED, {"ids": left})]
    await fail_fetches(transaction, errors, stages=(Stage.WAITING,))
    return len(errors)


def goes_on(settings: Settings, plan: Plan, found: Sequence[CandidateRow], others: set[int], capacity: int) -> bool:
    """Whether another turn can give more at once. `others`: as `choose_lanes` gives them."""
    given, blocked = len(plan.leases), {item.lane_id for item in plan.blocked}
    if given == settings.broker_batch and (others or len(found) > given):
        return True
    # Lanes that were not looked at: this turn gave what it could to those that were, or noted that they are blocked.
    if others and (blocked & others or 0 < given < capacity):
        return True
    # Many small tenants beside a large one: of the large one, more waits than was read, and there is room for it.
    return 0 < given < capacity and _is_cut_short(found, blocked)


def _is_cut_short(found: Sequence[CandidateRow], blocked: Collection[int]) -> bool:
    """Whether of some tenant in a lane that is not blocked as many fetches were read as were wanted, so that more may wait."""
    read = Counter((row.lane_id, row.tenant, row.wanted) for row in found if row.lane_id not in blocked)
    return any(count >= wanted for (_, _, wanted), count in read.items())
