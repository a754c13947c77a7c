"""The CredentialBroker's turn: one transaction under the platform's lock, around a decision that does no I/O.

Load, settle what came back, decide, write, commit; then say what is to be sent. Turns of one platform never overlap,
wherever they run, so nothing here guards against another turn.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil
from random import Random, SystemRandom
from typing import Any
from weakref import WeakKeyDictionary

from beat_actors import audit
from beat_actors.access import grants
from beat_actors.broker import loading, recording, store
from beat_actors.broker.decision import Desk, apply_settlements, decide
from beat_actors.broker.exhaustion import newly_full
from beat_actors.broker.flows import SETTINGS, rooms
from beat_actors.broker.state import (
    Blocked,
    Budgets,
    Candidate,
    Facts,
    Fail,
    Fetch,
    Plan,
    Settlement,
    Snapshot,
    Wait,
    told,
)
from beat_actors.broker.windows import CUSTOMER
from beat_actors.database import Answer, Database, Pipeline, Transaction, jsonb
from beat_actors.database.clock import StepWatch
from beat_actors.errors import NoAvailableSources
from beat_actors.failpoints import hit
from beat_actors.fetches.lanes import LaneKey, lane_ids
from beat_actors.platforms.interface import NOT_SENT, UPKEEP, Outcome, Platform
from beat_actors.requests.lifecycle import fail_fetches
from beat_actors.settings import Settings

TAKE_SETTLEMENTS = "DELETE FROM settlement WHERE id IN (SELECT id FROM settlement WHERE platform = %s ORDER BY id LIMIT %s) RETURNING *, extract(epoch FROM at)::double precision AS sent_by, extract(epoch FROM began)::double precision AS began_at"
# The fence: a settlement of an earlier try of the fetch changes credentials, never the fetch.
SETTLING = """
SELECT f.id, f.fence, f.operation, f.priority, f.source, f.cursor_source, f.excluded, f.unreadable, f.rotations, f.retries, f.owner,
    coalesce((f.listing->>'restarts')::integer, 0) AS restarts, l.flow
FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id WHERE f.id = ANY(%s) AND f.stage = 'SETTLING'
"""
# Those whose time came first, of the turn's time, the platform and at most so many. What is left is for the next turn.
WAKE = """
UPDATE scrape_fetch SET not_before = NULL, waiting_for = NULL WHERE id = ANY(ARRAY(
    SELECT id FROM scrape_fetch WHERE stage = 'WAITING' AND not_before <= to_timestamp(%s) AND platform = %s
    ORDER BY not_before LIMIT %s FOR NO KEY UPDATE SKIP LOCKED))
"""
WAKE_BATCH = 2000
# Fetches whose answer is stored and has not gone through the stages after it.
BEHIND = "SELECT count(*) FROM scrape_fetch WHERE platform = %s AND stage IN ('RETRIEVED', 'INGESTED')"
# Parameters: lane ids, the tenant served last in each lane's class, rows wanted of each lane, the turn's time. Rows: the oldest fetches of
# the next tenants of each lane, in the rotation's order; of `rows` wanted, at most `rows` tenants and at most three times as many fetches.
#
# `tenants` steps from one tenant to the next through the index (lane_id, tenant, id), and once round its end, so that neither a tenant's
# backlog nor the number of tenants makes a step dearer. All look-ups are ordered by the tenant, which this index alone gives: the planner
# knows the average lane and tenant only, and with the order of ids alone it may walk another index and read a million rows.
# A lane without room shows one row, to know whether anything waits. What is past its deadline is never claimed, and takes nobody's
# place while it waits for the sweep that ends it.
CANDIDATES = """
SELECT f.id AS fetch_id, l.id AS lane_id, t.tenant, t.wanted
FROM unnest(%s::integer[], %s::text[], %s::integer[]) AS l(id, served, rows)
CROSS JOIN LATERAL (
    WITH RECURSIVE tenants AS (
        SELECT l.served COLLATE "C" AS tenant, false AS round, 0 AS n
        UNION ALL
        SELECT step.tenant, step.round, s.n + 1 FROM tenants s CROSS JOIN LATERAL (
            (SELECT tenant, s.round FROM scrape_fetch
             WHERE lane_id = l.id AND tenant > s.tenant AND stage = 'WAITING' AND not_before IS NULL ORDER BY tenant LIMIT 1)
            UNION ALL
            (SELECT tenant, true FROM scrape_fetch
             WHERE NOT s.round AND lane_id = l.id AND stage = 'WAITING' AND not_before IS NULL ORDER BY tenant LIMIT 1)
            LIMIT 1
        ) step(tenant, round)
        WHERE s.n < l.rows AND (NOT step.round OR step.tenant <= l.served COLLATE "C")
    )
    SELECT tenant, n, ceil(least(l.rows, 2.0 * l.rows / count(*) OVER ()))::integer AS wanted FROM tenants WHERE n > 0
) t
CROSS JOIN LATERAL (
    SELECT id FROM scrape_fetch
    WHERE lane_id = l.id AND tenant BETWEEN t.tenant AND t.tenant AND stage = 'WAITING' AND not_before IS NULL
      AND (expires_at IS NULL OR expires_at > to_timestamp(%s)) ORDER BY tenant, id LIMIT t.wanted
) f
"""
SERVED = "SELECT priority, tenant FROM served_tenant WHERE platform = %s"
# The turn alone writes here, under the platform's lock.
SERVE = """
INSERT INTO served_tenant (platform, priority, tenant) SELECT %s, * FROM unnest(%s::smallint[], %s::text[])
ON CONFLICT (platform, priority) DO UPDATE SET tenant = excluded.tenant
"""
# A lease that is to be used later has a `use_until` that is over: workers of the version that does not know `use_from` hand it back unused.
# An owner's credential is leased only while the account that asks holds the owner's grant, whatever was granted when it asked.
LEASE = """
UPDATE scrape_fetch f SET stage = 'LEASED', source = n.source, credential_id = n.credential_id, probe = n.probe,
    call_of = n.call_of, use_from = to_timestamp(n.use_from),
    use_until = to_timestamp(CASE WHEN n.use_from IS NULL THEN %s ELSE 0 END), lease_until = NULL, stage_attempts = 0,
    waiting_for = NULL, sent_at = clock_timestamp()
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::boolean[], %s::bigint[], %s::double precision[])
    AS n(fetch_id, source, credential_id, probe, call_of, use_from)
WHERE f.id = n.fetch_id AND f.stage = 'WAITING' AND (f.owner IS NULL OR beat_may_use_owner(f.request_id, f.platform, f.owner))
RETURNING f.id
"""
UNGRANTED = """
SELECT id, owner FROM scrape_fetch
WHERE id = ANY(%s) AND stage = 'WAITING' AND owner IS NOT NULL AND NOT beat_may_use_owner(request_id, platform, owner)
"""
BLOCK = """
UPDATE lane l SET blocked_until = to_timestamp(n.until), reasons = n.reasons, checked_at = to_timestamp(%s)
FROM jsonb_to_recordset(%s::jsonb) AS n(id integer, until double precision, reasons jsonb) WHERE l.id = n.id
"""
# Those that were looked at and have room; and of some others, from a place on that each turn draws anew, those in which nothing is ready
# any more.
UNBLOCK = """
WITH part AS (
    (SELECT id FROM lane WHERE platform = %(platform)s AND reasons IS NOT NULL AND id >= (SELECT (%(share)s * max(id))::integer FROM lane)
     ORDER BY id LIMIT %(most)s)
    UNION ALL
    (SELECT id FROM lane WHERE platform = %(platform)s AND reasons IS NOT NULL AND id < (SELECT (%(share)s * max(id))::integer FROM lane)
     ORDER BY id LIMIT %(most)s)
    LIMIT %(most)s
)
UPDATE lane l SET blocked_until = NULL, reasons = NULL WHERE reasons IS NOT NULL AND NOT (id = ANY(%(blocked)s)) AND (
    id = ANY(%(looked_at)s) OR id IN (SELECT id FROM part WHERE NOT EXISTS (
        SELECT FROM scrape_fetch WHERE lane_id BETWEEN part.id AND part.id AND stage = 'WAITING' AND not_before IS NULL)))
"""
HOPELESS = """
SELECT f.id, n.until, n.reasons
FROM jsonb_to_recordset(%s::jsonb) AS n(id integer, until double precision, reasons jsonb)
JOIN scrape_fetch f ON f.lane_id = n.id AND f.stage = 'WAITING' AND f.expires_at IS NOT NULL AND f.expires_at < to_timestamp(n.until)
ORDER BY f.id LIMIT 1000
"""
# A fetch that nobody wants any more, its request having ended or been run anew meanwhile, ends with it.
MOVE = """
UPDATE scrape_fetch f SET stage = CASE WHEN r.live AND r.retry_count = f.run THEN 'WAITING' ELSE 'CANCELLED' END, lane_id = n.lane_id, excluded = n.excluded, unreadable = n.unreadable,
    rotations = n.rotations, retries = n.retries, lease_until = NULL, use_until = NULL,
    cursor = CASE WHEN n.drop_cursor THEN NULL ELSE f.cursor END,
    cursor_source = CASE WHEN n.drop_cursor THEN NULL ELSE f.cursor_source END,
    page = CASE WHEN n.drop_cursor THEN 1 ELSE f.page END,
    listing = CASE WHEN n.drop_cursor THEN jsonb_strip_nulls(jsonb_build_object(
        'restarts', coalesce((f.listing->>'restarts')::integer, 0) + 1, 'partial', f.listing->'partial')) ELSE f.listing END,
    not_before = CASE WHEN n.delay > 0 THEN to_timestamp(%s + n.delay) END, waiting_for = n.why
FROM jsonb_to_recordset(%s::jsonb) AS n(
    id bigint, lane_id integer, excluded text[], unreadable text[], rotations integer, retries integer,
    delay double precision, why text, drop_cursor boolean), scrape_request_log r
WHERE f.id = n.id AND f.stage = 'SETTLING' AND r.id = f.request_id
"""
DECIDED = "INSERT INTO broker_decision (at, platform, seed, settled, leased, detail) VALUES (to_timestamp(%s), %s, %s, %s, %s, %s)"
# A turn that could give nothing, because calls that are out take all the room, leaves a sign that it ran; not each of them does.
TURNED = """
INSERT INTO broker_decision (at, platform, seed, settled, leased, detail)
SELECT to_timestamp(%(now)s), %(platform)s, %(seed)s, %(settled)s, 0, '{"blocked": [], "moved": 0}'
WHERE NOT EXISTS (SELECT FROM broker_decision WHERE platform = %(platform)s AND at > to_timestamp(%(now)s - 3))
"""
SETTLEMENT_BATCH = 2000
RECORDERS: WeakKeyDictionary[Database, recording.Recorder] = WeakKeyDictionary()
# Seconds within which a lease must be taken up, so that what is known of credentials and breakers when it is given still holds.
USE_WITHIN = 10.0


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
    settings = database.settings
    rng, plan, result, detail = Random(seed), Plan(), TurnResult(), dict[str, Any]()
    recorder = RECORDERS.setdefault(database, recording.Recorder())
    hit("turn.before_claim", platform.name)
    async with database.transaction() as transaction:
        async with transaction.pipeline() as pipeline:  # with the transaction's begin
            await store.lock(pipeline, platform.name)
        if begun is not None:
            await begun()
        of_platform = {"platform": platform.name}
        async with transaction.pipeline() as pipeline:
            asked_held = await pipeline.run(loading.HELD, of_platform)
            taken = await pipeline.run(TAKE_SETTLEMENTS, (platform.name, SETTLEMENT_BATCH))
            flows = await pipeline.run(SETTINGS, (platform.name,))
            tenants = await pipeline.run(SERVED, (platform.name,))
            basis = await loading.ask_basis(pipeline, platform)
        read_at = time.monotonic()
        hit("turn.after_claim", platform.name)
        held, settlements = asked_held.rows, taken.rows
        fetches = await _settling(transaction, settlements)
        await _end_unknown(transaction, platform, fetches)
        if len(settlements) == SETTLEMENT_BATCH:
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
            _settlement(row, fetches, platform, snapshot, transaction.clock)
            for row in sorted(settlements, key=lambda row: row.id)
        ]
        if any(each.outcome is Outcome.UNREACHED for each in returned):
            snapshot.witnesses = await loading.load_witnesses(transaction)
        snapshot.check_every = settings.credential_check_every
        if asked := _asked(returned):
            await loading.load_groups(transaction, platform.name, snapshot, asked)
        apply_settlements(snapshot, returned, plan, rng)
        await _move(transaction, platform, snapshot, plan, {row.id: row for row in fetches.values()}, result)
        snapshot.flows = rooms(platform, flows.rows, held)
        snapshot.served = {row.priority: row.tenant for row in tenants.rows}
        room = _room(settings, platform, held, snapshot)
        # After the moves: a fetch that goes on may have opened a lane.
        async with transaction.pipeline() as pipeline:
            woken = await pipeline.run(WAKE, (snapshot.now, platform.name, WAKE_BATCH))
            behind = await pipeline.run(BEHIND, (platform.name,))
            lanes = await loading.ask_lanes(pipeline, platform.name, snapshot, room, rng)
        result.more = woken.touched == WAKE_BATCH
        # Stages that fall behind slow the broker down, as calls that are out do: what it leases beyond them would only wait elsewhere.
        capacity = max(0, min(room, settings.broker_in_flight - int(behind.only[0])))
        if capacity:
            others = loading.choose_lanes(snapshot, lanes.rows, room, capacity, rng)
            await loading.load_served(transaction, platform.name, snapshot, capacity)
            candidates = await _candidates(transaction, snapshot, desk := Desk(snapshot, rng), capacity)
            decide(snapshot, [Candidate(*row[:3]) for row in candidates], capacity, plan, desk)
            result.more |= _goes_on(settings, plan, candidates, others, capacity)
        async with transaction.pipeline() as pipeline:
            leased = await _lease(pipeline, settings, platform, snapshot, plan) if plan.leases else None
            hopeless = await _note_lanes(pipeline, platform, snapshot, plan, rng) if capacity else None
            await _save(pipeline, platform, snapshot, plan, returned)
        if leased is not None:
            await _take_leases(transaction, plan, leased.rows, result)
            customers = {lane.id for lane in snapshot.lanes if lane.priority == CUSTOMER}
            waited_for = {row.fetch_id for row in candidates if row.lane_id in customers}
            result.urgent = {lease.call_of or lease.fetch_id for lease in plan.leases if lease.fetch_id in waited_for}
        if hopeless is not None:
            await _fail_hopeless(transaction, hopeless.rows, result)
        await _record_revivals(transaction, plan)
        result.blocked = plan.blocked
        result.settled = len(returned)
        result.more |= len(returned) == SETTLEMENT_BATCH
        if result.leased or plan.moves or plan.blocked:
            detail = {
                "moved": len(plan.moves),
                "capacity": capacity,
                "leases": recording.leases(plan.leases, snapshot.now),
                "blocked": recording.blocked(plan.blocked),
                **recorder.revision(recording.rules(settings, platform, snapshot.flows), platform.name, snapshot.now),
            }
            decided = (snapshot.now, platform.name, seed, result.settled, len(result.leased), jsonb(detail))
            await transaction.last.run(DECIDED, decided)
            hit("turn.before_commit", platform.name)
        elif lanes.rows:
            ran = {"now": snapshot.now, "platform": platform.name, "seed": seed, "settled": result.settled}
            await transaction.last.run(TURNED, ran)
    recorder.written(platform.name, detail, snapshot.now)
    if result.leased:
        hit("turn.after_commit", result.leased)
    # A time that has passed already is for the sweep: a turn at once would find what this one found.
    times = [item.until for item in plan.blocked if item.until is not None and item.until > snapshot.now]
    if clears_at := min(times, default=None):
        result.clears_in = max(0.0, clears_at - snapshot.now - (time.monotonic() - read_at))
    return result


async def _settling(transaction: Transaction, settlements: Sequence[Any]) -> dict[tuple[int, int], Any]:
    """The fetches that wait for their settlement, by (id, fence)."""
    ids = [row.fetch_id for row in settlements if row.fetch_id is not None]
    if not ids:
        return {}
    return {(row.id, row.fence): row for row in await transaction.rows(SETTLING, (ids,))}


async def _end_unknown(transaction: Transaction, platform: Platform, fetches: dict[tuple[int, int], Any]) -> None:
    """End the fetches of operations that this version does not have, and take them off: one of them must not stop the platform."""
    unknown = [key for key, row in fetches.items() if row.operation not in platform.chains]
    errors = [
        (
            fetches[key].id,
            {"code": "unknown_operation", "message": f"{platform.name} has no {fetches.pop(key).operation} any more"},
        )
        for key in unknown
    ]
    await fail_fetches(transaction, errors, stages=("SETTLING",))


def _outcome(name: str) -> Outcome:
    """What another version wrote and this one does not know says nothing but that a call was made."""
    try:
        return Outcome(name)
    except ValueError:
        return Outcome.UNKNOWN


def _settlement(
    row: Any, fetches: dict[tuple[int, int], Any], platform: Platform, snapshot: Snapshot, clock: StepWatch
) -> Settlement:
    credential = snapshot.credentials.get(row.credential_id)
    found = fetches.get((row.fetch_id, row.fence)) if row.fetch_id is not None else None
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
        at=None if row.sent_by is None else clock.moved(row.sent_by),
        fetch=None if found is None else _fetch(found, platform),
        generation=row.generation,
        facts=None if row.facts is None else Facts(**row.facts),
        began=row.began_at,
        process=row.process,
        owner=credential.breaks_for if credential is not None and row.operation in UPKEEP else row.owner,
    )


def _asked(settlements: Iterable[Settlement]) -> dict[tuple[str, str], set[str]]:
    """The groups of credentials, and for which operations, of which it matters whether they could take a fetch over."""
    wanted: dict[tuple[str, str], set[str]] = defaultdict(set)
    for settlement in settlements:
        if settlement.fetch is not None and (settlement.probe or settlement.outcome is Outcome.UNSEEN):
            for source in settlement.fetch.chain:
                for owner in {"", settlement.owner}:
                    wanted[source, owner].add(settlement.operation)
    return wanted


def _fetch(row: Any, platform: Platform) -> Fetch:
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
    )


async def _move(
    transaction: Transaction,
    platform: Platform,
    snapshot: Snapshot,
    plan: Plan,
    rows: dict[int, Any],
    result: TurnResult,
) -> None:
    waits = [move for move in plan.moves if isinstance(move, Wait)]
    keys = {wait.fetch_id: _lane_of(platform, rows[wait.fetch_id], wait) for wait in waits}
    if waits:
        ids = await lane_ids(transaction, set(keys.values()))
        moved = [
            {
                "id": wait.fetch_id,
                "lane_id": ids[keys[wait.fetch_id]],
                "excluded": wait.excluded,
                "unreadable": wait.unreadable,
                "rotations": wait.rotations,
                "retries": wait.retries,
                "delay": wait.delay,
                "why": wait.why,
                "drop_cursor": wait.drop_cursor,
            }
            for wait in waits
        ]
        result.moved = await transaction.run(MOVE, (snapshot.now, jsonb(moved)))
    fails = [
        (move.fetch_id, {"code": move.code, "message": move.message}) for move in plan.moves if isinstance(move, Fail)
    ]
    await fail_fetches(transaction, fails, stages=("SETTLING",))
    result.failed = len(fails)


def _lane_of(platform: Platform, row: Any, wait: Wait) -> LaneKey:
    pinned = row.cursor_source is not None and not wait.drop_cursor
    chain = (row.cursor_source,) if pinned else platform.chains[row.operation]
    open_sources = tuple(source for source in chain if source not in wait.excluded and source not in wait.unreadable)
    return LaneKey(platform.name, row.flow, row.operation, row.priority, open_sources or chain, row.owner or "")


def _room(settings: Settings, platform: Platform, held: Sequence[Any], snapshot: Snapshot) -> int:
    """How many leases the turn can give as far as calls that are out go: of the platform; and, in the snapshot, of each of its sources and
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


async def _candidates(transaction: Transaction, snapshot: Snapshot, desk: Desk, capacity: int) -> list[Any]:
    """Rows of CANDIDATES: of the lanes with room twice as many fetches as can be leased, over all lanes together; of the others one each."""
    with_room = [desk.has_room(lane) for lane in snapshot.lanes]
    most = min(capacity + 1, max(1, ceil(2 * (capacity + 1) / max(1, sum(with_room)))))
    wanted = [most if room else 1 for room in with_room]
    served = [snapshot.served.get(lane.priority, "") for lane in snapshot.lanes]
    return await transaction.rows(CANDIDATES, ([lane.id for lane in snapshot.lanes], served, wanted, snapshot.now))


async def _lease(
    pipeline: Pipeline, settings: Settings, platform: Platform, snapshot: Snapshot, plan: Plan
) -> Answer[Any]:
    """Write the plan's leases. The rows: the fetches that took theirs."""
    await pipeline.run(SERVE, (platform.name, list(plan.served), list(plan.served.values())))
    arrays = (
        [lease.fetch_id for lease in plan.leases],
        [lease.source for lease in plan.leases],
        [lease.credential_id for lease in plan.leases],
        [lease.probe for lease in plan.leases],
        [lease.call_of for lease in plan.leases],
        [lease.use_from for lease in plan.leases],
    )
    # Before a stage's lease can end: a worker that froze between claim and call must not call once its fetch was given up.
    use_until = snapshot.now + min(USE_WITHIN, settings.stage_lease)
    return await pipeline.run(LEASE, (use_until, *arrays))


async def _note_lanes(
    pipeline: Pipeline, platform: Platform, snapshot: Snapshot, plan: Plan, rng: Random
) -> Answer[Any] | None:
    """Note what lanes wait for. The rows: the fetches that wait longer than their deadline."""
    unblocked = {
        "platform": platform.name,
        "blocked": [item.lane_id for item in plan.blocked],
        "looked_at": [lane.id for lane in snapshot.lanes],
        "share": rng.random(),
        "most": 2 * loading.MOST_LANES,
    }
    await pipeline.run(UNBLOCK, unblocked)
    if plan.blocked:
        blocked = [_blocked_json(item) for item in plan.blocked]
        await pipeline.run(BLOCK, (snapshot.now, jsonb(blocked)))
        if dated := [item for item in blocked if item["until"] is not None]:
            return await pipeline.run(HOPELESS, (jsonb(dated),))
    return None


async def _take_leases(transaction: Transaction, plan: Plan, rows: Sequence[Any], result: TurnResult) -> None:
    """`rows`: of LEASE."""
    leased = {row.id for row in rows}
    if len(leased) < len(plan.leases):
        await _fail_ungranted(transaction, [n.fetch_id for n in plan.leases if n.fetch_id not in leased], result)
    # What was cancelled or expired at this very moment took no lease.
    plan.leases = [lease for lease in plan.leases if lease.fetch_id in leased]
    # A call is sent to the retrieve stage once, under the fetch that it was leased to; those that share it come along.
    result.leased = [lease.fetch_id for lease in plan.leases if lease.call_of is None]


def _goes_on(settings: Settings, plan: Plan, found: Sequence[Any], others: set[int], capacity: int) -> bool:
    """Whether another turn can give more at once. `found`: rows of CANDIDATES; `others`: as `choose_lanes` gives them."""
    given, blocked = len(plan.leases), {item.lane_id for item in plan.blocked}
    if given == settings.broker_batch and (others or len(found) > given):
        return True
    # Lanes that were not looked at: this turn gave what it could to those that were, or noted that they are blocked.
    if others and (blocked & others or 0 < given < capacity):
        return True
    # Many small tenants beside a large one: of the large one, more waits than was read, and there is room for it.
    return 0 < given < capacity and _is_cut_short(found, blocked)


def _is_cut_short(found: Sequence[Any], blocked: Collection[int]) -> bool:
    """Whether of some tenant in a lane that is not blocked as many fetches were read as were wanted, so that more may wait."""
    read = Counter((row.lane_id, row.tenant, row.wanted) for row in found if row.lane_id not in blocked)
    return any(count >= wanted for (_, _, wanted), count in read.items())


async def _fail_ungranted(transaction: Transaction, ids: list[int], result: TurnResult) -> None:
    """Fail fetches whose account has lost the grant of their owner since it asked."""
    errors = [(row.id, grants.taken(row.owner)) for row in await transaction.rows(UNGRANTED, (ids,))]
    await fail_fetches(transaction, errors, stages=("WAITING",))
    result.failed += len(errors)


async def _fail_hopeless(transaction: Transaction, rows: Sequence[Any], result: TurnResult) -> None:
    """Fail what would still be waiting at its deadline: the consumer learns now what it would otherwise learn then. `rows`: of HOPELESS."""
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
    await fail_fetches(transaction, errors, stages=("WAITING",))
    result.failed += len(errors)


def _for_accounts(reason: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in reason.items() if name != "hint"} | {"credential_id": None}


async def _save(
    pipeline: Pipeline, platform: Platform, snapshot: Snapshot, plan: Plan, settlements: Sequence[Settlement]
) -> None:
    calls: Counter[int] = Counter()
    for settlement in settlements:
        if settlement.credential_id and settlement.outcome not in NOT_SENT:
            calls[settlement.credential_id] += settlement.calls
    await store.save_windows(pipeline, snapshot.windows.values())
    await store.count_calls(pipeline, calls)
    await store.count_refusals(pipeline, platform.name, settlements)
    await store.save_checked(pipeline, plan.checked)
    await store.save_credentials(pipeline, snapshot.credentials.values())
    await store.save_full(pipeline, newly_full(snapshot, platform))
    breakers = [(key, snapshot.breakers[key]) for key in sorted(plan.touched_breakers)]
    await store.save_breakers(pipeline, platform.name, breakers)
    await store.save_events(pipeline, plan.events)


async def _record_revivals(transaction: Transaction, plan: Plan) -> None:
    for event in plan.events:
        if event.kind == "revived":
            target = f"credential/{event.credential_id}"
            await audit.record(transaction, actor="beat", action="credential.revive", target=target, detail=event.cause)


def _blocked_json(item: Blocked) -> dict[str, Any]:
    return {"id": item.lane_id, "until": item.until, "reasons": told(item.reasons)}
