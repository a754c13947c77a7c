"""The CredentialBroker's turn: one transaction under the platform's lock, around a decision that does no I/O.

Load, settle what came back, decide, write, commit; then say what is to be sent. Turns of one platform never overlap,
wherever they run, so nothing here guards against another turn.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Any
from weakref import WeakKeyDictionary

from beat_actors import audit
from beat_actors.broker import lanes, leasing, loading, recording, returns, store
from beat_actors.broker.changes import lock
from beat_actors.broker.decision import Allocator, apply_settlements, decide
from beat_actors.broker.exhaustion import newly_full
from beat_actors.broker.flows import SETTINGS
from beat_actors.broker.loading import Held
from beat_actors.broker.rooms import rooms
from beat_actors.broker.state import Blocked, Budgets, Candidate, Plan, Settlement, Snapshot, Wait
from beat_actors.broker.windows import CUSTOMER
from beat_actors.database import Answer, Database, Pipeline, Statements, Transaction, jsonb
from beat_actors.failpoints import hit
from beat_actors.fetches.leasing import WAKE
from beat_actors.logger import get_logger
from beat_actors.observe import families, waits
from beat_actors.observe.counts import Counts
from beat_actors.platforms.interface import NOT_SENT, Outcome, Platform
from beat_actors.settings import Settings

log = get_logger(__name__)

SQL = Statements(__file__)
WAKE_BATCH = 2000
BEHIND = SQL("behind", int)
DECIDED = SQL("decided")
TURNED = SQL("turned")
RECORDERS: WeakKeyDictionary[Database, recording.Recorder] = WeakKeyDictionary()


@dataclass(slots=True)
class TurnResult:
    """What the turn did, and what is to be sent: fetches to retrieve, and whether another turn would find more to do.

    `urgent`: those of `leased` whose call somebody waits for, of class customer. `clears_in`: seconds until the first of the lanes that it
    blocked may have room, from the turn's end on.
    """

    leased: list[int] = field(default_factory=list)
    urgent: set[int] = field(default_factory=set)
    settled: int = 0
    moved: int = 0
    failed: int = 0
    blocked: list[Blocked] = field(default_factory=list)
    more: bool = False
    clears_in: float | None = None


async def turn(
    database: Database,
    platform: Platform,
    *,
    seed: int | None = None,
    begun: Callable[[], Awaitable[None]] | None = None,
) -> TurnResult:
    """Run one turn for the platform. Whatever raises leaves no trace, and the next turn starts from the same rows.

    `begun` is called when the turn has the lock and has read nothing yet: what is committed after it may want another turn.
    """
    seed = SystemRandom().getrandbits(62) if seed is None else seed
    return await database.again(lambda: _turn(database, platform, seed, begun))


async def _turn(
    database: Database, platform: Platform, seed: int, begun: Callable[[], Awaitable[None]] | None
) -> TurnResult:
    settings, started = database.settings, time.monotonic()
    rng, plan, result, detail = Random(seed), Plan(), TurnResult(), dict[str, Any]()
    recorder = RECORDERS.setdefault(database, recording.Recorder())
    hit("turn.before_claim", platform.name)
    async with database.transaction() as transaction:
        async with transaction.pipeline() as pipeline:  # with the transaction's begin
            await lock(pipeline, platform.name)
        if begun is not None:
            await begun()
        of_platform = {"platform": platform.name}
        async with transaction.pipeline() as pipeline:
            asked_held = await pipeline.run(loading.HELD, of_platform)
            taken = await pipeline.run(returns.TAKE, of_platform | {"most": returns.SETTLEMENT_BATCH})
            flows = await pipeline.run(SETTINGS, of_platform)
            tenants = await pipeline.run(leasing.SERVED, of_platform)
            basis = await loading.ask_basis(pipeline, platform)
        read_at = time.monotonic()
        hit("turn.after_claim", platform.name)
        held, settlements = asked_held.rows, taken.rows
        is_cut = len(settlements) == returns.SETTLEMENT_BATCH
        fetches = await returns.settling(transaction, settlements)
        await returns.end_unknown(transaction, platform, fetches)
        if is_cut:
            held += await transaction.rows(loading.UNTAKEN, of_platform)
        snapshot = await loading.load_snapshot(
            transaction,
            platform,
            basis=basis,
            returned=settlements,
            budgets=Budgets(settings.rotation_budget, settings.retry_budget),
            held=held,
            seed=seed,
        )
        returned = [
            returns.settlement_of(row, fetches, platform, snapshot, transaction.clock)
            for row in sorted(settlements, key=lambda row: row.id)
        ]
        if any(each.outcome is Outcome.UNREACHED for each in returned):
            snapshot.witnesses = await loading.load_witnesses(transaction)
        snapshot.check_every = settings.credential_check_every
        if asked := returns.groups_asked(returned):
            await loading.load_groups(transaction, platform.name, snapshot, asked)
        apply_settlements(snapshot, returned, plan, rng)
        by_id = {row.id: row for row in fetches.values()}
        result.moved, result.failed = await returns.move(transaction, platform, plan, by_id, snapshot.now)
        snapshot.flows = rooms(platform, flows.rows, held)
        snapshot.served = {row.priority: row.tenant for row in tenants.rows}
        room = _room(settings, platform, held, snapshot)
        # After the moves: a fetch that goes on may have opened a lane.
        async with transaction.pipeline() as pipeline:
            woken = await pipeline.run(WAKE, of_platform | {"now": snapshot.now, "most": WAKE_BATCH})
            behind = await pipeline.run(BEHIND, of_platform)
            ready = await lanes.ask_lanes(pipeline, platform.name, snapshot, room, rng)
        result.more = is_cut or woken.touched == WAKE_BATCH
        # Stages that fall behind slow the broker down, as calls in flight do: what it leases beyond them would only wait elsewhere.
        capacity = max(0, min(room, settings.broker_in_flight - behind.only))
        found: Sequence[leasing.CandidateRow] = ()
        if capacity:
            others = lanes.choose_lanes(snapshot, ready.rows, room, capacity, rng)
            await loading.load_served(transaction, platform.name, snapshot, capacity)
            found = await leasing.candidates(transaction, snapshot, allocator := Allocator(snapshot, rng), capacity)
            decide(snapshot, [Candidate(*row[:3]) for row in found], capacity, plan, allocator)
            result.more |= leasing.goes_on(settings, plan, found, others, capacity)
        leased, out_of_time = Answer[int](), Answer[lanes.OutOfTime]()
        async with transaction.pipeline() as pipeline:
            if plan.leases:
                leased = await leasing.lease(pipeline, settings, platform.name, snapshot.now, plan)
            if capacity:
                out_of_time = await lanes.note(pipeline, platform.name, snapshot, plan, rng)
            await _save(pipeline, platform, snapshot, plan, returned)
        result.failed += await leasing.keep_taken(transaction, plan, leased.rows)
        # A call is sent to the retrieve stage once, under the fetch that it was leased to; those that share it come along.
        result.leased = [lease.fetch_id for lease in plan.leases if lease.call_of is None]
        customers = {lane.id for lane in snapshot.lanes if lane.priority == CUSTOMER}
        waited_for = {row.fetch_id for row in found if row.lane_id in customers}
        result.urgent = {lease.call_of or lease.fetch_id for lease in plan.leases if lease.fetch_id in waited_for}
        if out_of_time.rows:
            result.failed += await lanes.fail_fast(transaction, out_of_time.rows)
        await _record_revivals(transaction, plan)
        result.blocked = plan.blocked
        result.settled = len(returned)
        ran = {"now": snapshot.now, "platform": platform.name, "seed": seed, "settled": result.settled}
        if result.leased or plan.moves or plan.blocked:
            detail = {
                "moved": len(plan.moves),
                "capacity": capacity,
                "leases": recording.leases(plan.leases, snapshot.now),
                "blocked": recording.blocked(plan.blocked),
                **recorder.revision(recording.rules(settings, platform, snapshot.flows), platform.name, snapshot.now),
            }
            await transaction.last.run(DECIDED, ran | {"leased": len(result.leased), "detail": jsonb(detail)})
            hit("turn.before_commit", platform.name)
        elif ready.rows:
            await transaction.last.run(TURNED, ran)
    recorder.written(platform.name, detail, snapshot.now)
    _count(database.metrics.counts, platform.name, plan, by_id, result, time.monotonic() - started)
    if result.leased:
        hit("turn.after_commit", result.leased)
    if result.leased or result.settled:
        log.debug(
            "turn.leased",
            platform=platform.name,
            leased=result.leased,
            settled=result.settled,
            blocked=len(result.blocked),
        )
    # A time that has passed already is for the sweep: a turn at once would find what this one found.
    times = [item.until for item in plan.blocked if item.until is not None and item.until > snapshot.now]
    if clears_at := min(times, default=None):
        result.clears_in = max(0.0, clears_at - snapshot.now - (time.monotonic() - read_at))
    return result


def _room(settings: Settings, platform: Platform, held: Sequence[Held], snapshot: Snapshot) -> int:
    """How many leases the turn can give as far as calls in flight go: of the platform; and, in the snapshot, of each of its sources and
    operations."""
    out: Counter[tuple[str, str]] = Counter()
    for row in held:
        out[row.source, row.operation] += row.calls
    snapshot.room = {
        (source.name, operation): settings.broker_in_flight_per_source - out[source.name, operation]
        for source in platform.sources.values()
        for operation in source.endpoints
    }
    return max(0, min(settings.broker_batch, settings.broker_in_flight - out.total()))


async def _save(
    pipeline: Pipeline, platform: Platform, snapshot: Snapshot, plan: Plan, settlements: Sequence[Settlement]
) -> None:
    calls: Counter[int] = Counter()
    for settlement in settlements:
        if settlement.credential_id and settlement.outcome not in NOT_SENT:
            calls[settlement.credential_id] += settlement.calls
    await store.save_windows(pipeline, snapshot.windows.values())
    await store.count_calls(pipeline, calls)
    await store.count_outcomes(pipeline, platform.name, settlements)
    await store.count_refusals(pipeline, platform.name, settlements)
    await store.save_checked(pipeline, plan.checked)
    await store.save_credentials(pipeline, snapshot.credentials.values())
    await store.save_full(pipeline, newly_full(snapshot, platform))
    breakers = [(key, snapshot.breakers[key]) for key in sorted(plan.touched_breakers)]
    await store.save_breakers(pipeline, platform.name, breakers)
    await store.save_events(pipeline, platform.name, plan.events)


def _count(
    counts: Counts,
    platform: str,
    plan: Plan,
    fetches: Mapping[int, returns.Settling],
    result: TurnResult,
    seconds: float,
) -> None:
    """Count what a committed turn did."""
    counts.observe(families.STAGE_SECONDS, "dispatch", value=seconds)
    counts.observe(families.STAGE_BATCH, "dispatch", value=len(result.leased))
    if result.leased:
        counts.add(families.LEASES, platform, by=len(result.leased))
    for blocked in plan.blocked:
        for source, word in waits.reasons(blocked):
            counts.add(families.LEASE_WAITS, platform, source, word)
    for move in plan.moves:
        left = fetches.get(move.fetch_id)
        if isinstance(move, Wait) and left is not None and left.source in {*move.excluded, *move.unreadable}:
            counts.add(families.FALLBACKS, platform, left.source, move.why)


async def _record_revivals(transaction: Transaction, plan: Plan) -> None:
    for event in plan.events:
        if event.kind == "revived":
            target = f"credential/{event.credential_id}"
            await audit.record(transaction, actor="beat", action="credential.revive", target=target, detail=event.cause)
