"""The CredentialBroker's turn: one transaction under the platform's lock, around a decision that does no I/O.

Load, settle what came back, decide, write, commit; then say what is to be sent. Turns of one platform never overlap,
wherever they run, so nothing here guards against another turn.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Any

from beat_actors.credentials import store
from beat_actors.credentials.alerts import watch
from beat_actors.credentials.decision import Desk, apply_settlements, decide
from beat_actors.credentials.flows import load_rooms
from beat_actors.credentials.state import (
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
)
from beat_actors.database import Database, Transaction, jsonb
from beat_actors.errors import NoAvailableSources
from beat_actors.failpoints import hit
from beat_actors.platforms.interface import Outcome, Platform
from beat_actors.requests.lanes import LaneKey, lane_ids
from beat_actors.requests.lifecycle import fail_fetches

TAKE_SETTLEMENTS = "DELETE FROM settlement WHERE id IN (SELECT id FROM settlement WHERE platform = %s ORDER BY id LIMIT %s) RETURNING *, extract(epoch FROM at)::double precision AS sent_by"
# The fence: a settlement of an earlier try of the fetch changes credentials, never the fetch.
SETTLING = """
SELECT f.id, f.fence, f.operation, f.priority, f.source, f.cursor_source, f.excluded, f.unreadable, f.rotations, f.retries, f.owner, l.flow
FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id WHERE f.id = ANY(%s) AND f.stage = 'SETTLING'
"""
WAKE = """
UPDATE scrape_fetch SET not_before = NULL, waiting_for = NULL
WHERE stage = 'WAITING' AND not_before <= to_timestamp(%s) AND platform = %s
"""
# The oldest rows of each lane, through the partial index. With `lane_id = l.id` the planner, which knows only the average
# lane, may walk the primary key instead and read a million rows for a small one; an order by a range leaves it no choice.
# A lane without room shows one row, to know whether anything waits. What is past its deadline is never claimed, and takes nobody's
# place while it waits for the sweep that ends it.
CANDIDATES = """
SELECT f.id AS fetch_id, l.id AS lane_id, extract(epoch FROM f.created_at)::double precision AS created_at
FROM unnest(%s::integer[], %s::integer[]) AS l(id, rows)
CROSS JOIN LATERAL (
    SELECT id, created_at FROM scrape_fetch
    WHERE lane_id BETWEEN l.id AND l.id AND stage = 'WAITING' AND not_before IS NULL
      AND (expires_at IS NULL OR expires_at > to_timestamp(%s)) ORDER BY lane_id, id LIMIT l.rows
) f
"""
LEASE = """
WITH lease AS (
    SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::boolean[], %s::bigint[])
        AS n(fetch_id, source, credential_id, probe, call_of)
), fetched AS (
    UPDATE scrape_fetch f SET stage = 'LEASED', source = n.source, credential_id = n.credential_id, probe = n.probe,
        call_of = n.call_of, use_until = to_timestamp(%s), lease_until = NULL, stage_attempts = 0,
        waiting_for = NULL, sent_at = clock_timestamp()
    FROM lease n WHERE f.id = n.fetch_id AND f.stage = 'WAITING'
    RETURNING f.id, f.request_id
), begun AS (
    -- An array and not a join, so that the rows are found by their ids whatever the table's statistics say.
    SELECT id FROM scrape_request_log WHERE id = ANY(ARRAY(SELECT request_id FROM fetched)) AND picked_at IS NULL
    ORDER BY id FOR NO KEY UPDATE
), request AS (
    UPDATE scrape_request_log SET status = CASE WHEN status = 'PENDING' THEN 'PROCESSING' ELSE status END, picked_at = clock_timestamp()
    WHERE id = ANY(ARRAY(SELECT id FROM begun)) RETURNING id, waiters
), joined AS (
    UPDATE scrape_request_log SET status = 'PROCESSING', picked_at = clock_timestamp()
    WHERE joined_to = ANY(ARRAY(SELECT id FROM request WHERE waiters > 0)) AND status = 'PENDING'
)
SELECT id FROM fetched
"""
BLOCK = """
UPDATE lane l SET blocked_until = to_timestamp(n.until), reasons = n.reasons, checked_at = to_timestamp(%s)
FROM jsonb_to_recordset(%s::jsonb) AS n(id integer, until double precision, reasons jsonb) WHERE l.id = n.id
"""
UNBLOCK = "UPDATE lane SET blocked_until = NULL, reasons = NULL WHERE platform = %s AND reasons IS NOT NULL AND NOT (id = ANY(%s))"
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
# What happens to a credential and may open or resolve an alert.
LIFE = frozenset({"dead", "revived"})
# Seconds within which a lease must be taken up, so that what is known of credentials and breakers when it is given still holds.
USE_WITHIN = 10.0


@dataclass(slots=True)
class TurnResult:
    """What the turn did, and what is to be sent: fetches to retrieve, and whether another turn would find more to do."""

    leased: list[int] = field(default_factory=list)
    settled: int = 0
    moved: int = 0
    failed: int = 0
    blocked: list[Blocked] = field(default_factory=list)
    more: bool = False


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
    settings = database.settings
    seed = SystemRandom().getrandbits(62) if seed is None else seed
    rng, plan, result = Random(seed), Plan(), TurnResult()
    hit("turn.before_claim", platform.name)
    async with database.transaction() as transaction:
        await store.lock(transaction, platform.name)
        if begun is not None:
            await begun()
        of_platform = {"platform": platform.name}
        held = await transaction.rows(store.HELD, of_platform)
        settlements = await transaction.rows(TAKE_SETTLEMENTS, (platform.name, SETTLEMENT_BATCH))
        hit("turn.after_claim", platform.name)
        fetches = await _settling(transaction, settlements)
        await _end_unknown(transaction, platform, fetches)
        snapshot = await store.load_snapshot(
            transaction, platform, budgets=Budgets(settings.rotation_budget, settings.retry_budget)
        )
        if len(settlements) == SETTLEMENT_BATCH:
            held += await transaction.rows(store.UNTAKEN, of_platform)
        returned = [_settlement(row, fetches, platform) for row in sorted(settlements, key=lambda row: row.id)]
        snapshot.check_every = settings.credential_check_every
        store.hold(snapshot, held)
        apply_settlements(snapshot, returned, plan, rng)
        await _move(transaction, platform, snapshot, plan, {row.id: row for row in fetches.values()}, result)
        await transaction.run(WAKE, (snapshot.now, platform.name))
        if any(isinstance(move, Wait) for move in plan.moves):  # a moved fetch may have opened a new lane
            snapshot.lanes = await store.load_lanes(transaction, platform.name)
        ready = await _lease(transaction, database, platform, snapshot, held, plan, rng, result)
        await _save(transaction, platform, snapshot, plan, returned)
        result.settled = len(returned)
        result.more |= len(returned) == SETTLEMENT_BATCH
        if result.leased or plan.moves or plan.blocked:
            detail = {"blocked": [_blocked_json(item) for item in plan.blocked], "moved": len(plan.moves)}
            decided = (snapshot.now, platform.name, seed, result.settled, len(result.leased), jsonb(detail))
            await transaction.run(DECIDED, decided)
            hit("turn.before_commit", platform.name)
        elif ready:
            ran = {"now": snapshot.now, "platform": platform.name, "seed": seed, "settled": result.settled}
            await transaction.run(TURNED, ran)
    if result.leased:
        hit("turn.after_commit", result.leased)
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


def _settlement(row: Any, fetches: dict[tuple[int, int], Any], platform: Platform) -> Settlement:
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
        at=row.sent_by,
        fetch=None if found is None else _fetch(found, platform),
        generation=row.generation,
        facts=None if row.facts is None else Facts(**row.facts),
    )


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


async def _lease(
    transaction: Transaction,
    database: Database,
    platform: Platform,
    snapshot: Snapshot,
    held: Sequence[Any],
    plan: Plan,
    rng: Random,
    result: TurnResult,
) -> bool:
    """Give what there is room for; whether anything is ready."""
    settings = database.settings
    out: Counter[tuple[str, str]] = Counter()
    for row in held:
        out[row.source, row.operation] += row.calls
    capacity = max(0, min(settings.broker_batch, settings.broker_in_flight - out.total()))
    snapshot.room = {
        (source.name, operation): settings.broker_in_flight_per_source - out[source.name, operation]
        for source in platform.sources.values()
        for operation in source.endpoints
    }
    snapshot.flows = await load_rooms(transaction, platform, held)
    desk = Desk(snapshot, rng)
    rows = [capacity + 1 if desk.has_room(lane) else 1 for lane in snapshot.lanes]
    found = await transaction.rows(CANDIDATES, ([lane.id for lane in snapshot.lanes], rows, snapshot.now))
    candidates = [Candidate(row.fetch_id, row.lane_id, row.created_at) for row in found]
    if capacity == 0:
        return bool(candidates)  # the stages ring again when they have room
    decide(snapshot, candidates, capacity, plan, desk)
    given = len(plan.leases)
    if plan.leases:
        arrays = (
            [lease.fetch_id for lease in plan.leases],
            [lease.source for lease in plan.leases],
            [lease.credential_id for lease in plan.leases],
            [lease.probe for lease in plan.leases],
            [lease.call_of for lease in plan.leases],
        )
        # Before a stage's lease can end: a worker that froze between claim and call must not call once its fetch was given up.
        use_until = snapshot.now + min(USE_WITHIN, settings.stage_lease)
        leased = {row.id for row in await transaction.rows(LEASE, (*arrays, use_until))}
        # What was cancelled or expired at this very moment took no lease.
        plan.leases = [lease for lease in plan.leases if lease.fetch_id in leased]
        # A call is sent to the retrieve stage once, under the fetch that it was leased to; those that share it come along.
        result.leased = [lease.fetch_id for lease in plan.leases if lease.call_of is None]
    blocked = [_blocked_json(item) for item in plan.blocked]
    await transaction.run(UNBLOCK, (platform.name, [item.lane_id for item in plan.blocked]))
    if blocked:
        await transaction.run(BLOCK, (snapshot.now, jsonb(blocked)))
        await _fail_hopeless(transaction, blocked, result)
    result.blocked = plan.blocked
    result.more = given == settings.broker_batch and len(candidates) > given
    return bool(candidates)


async def _fail_hopeless(transaction: Transaction, blocked: list[dict[str, Any]], result: TurnResult) -> None:
    """Fail what would still be waiting at its deadline: the consumer learns now what it would otherwise learn then."""
    dated = [item for item in blocked if item["until"] is not None]
    rows = await transaction.rows(HOPELESS, (jsonb(dated),)) if dated else []
    errors = [
        (
            row.id,
            {
                "code": NoAvailableSources.code,
                "message": NoAvailableSources.MESSAGE,
                "earliest_at": row.until,
                "reasons": row.reasons,
            },
        )
        for row in rows
    ]
    await fail_fetches(transaction, errors, stages=("WAITING",))
    result.failed += len(errors)


async def _save(
    transaction: Transaction, platform: Platform, snapshot: Snapshot, plan: Plan, settlements: Sequence[Settlement]
) -> None:
    calls: Counter[int] = Counter()
    for settlement in settlements:
        if settlement.credential_id and settlement.outcome is not Outcome.UNUSED:
            calls[settlement.credential_id] += settlement.calls
    await store.save_windows(transaction, snapshot.windows.values())
    await store.count_calls(transaction, calls)
    await store.save_checked(transaction, plan.checked)
    await store.save_credentials(transaction, snapshot.credentials.values())
    breakers = [(key, snapshot.breakers[key]) for key in sorted(plan.touched_breakers)]
    await store.save_breakers(transaction, platform.name, breakers)
    await store.save_events(transaction, plan.events)
    if plan.checked or any(event.kind in LIFE for event in plan.events):
        await watch(transaction, platform.name)


def _blocked_json(item: Blocked) -> dict[str, Any]:
    return {"id": item.lane_id, "until": item.until, "reasons": [reason.to_json() for reason in item.reasons]}
