"""The calls for a credential's own sake, checks and refreshes: which are due, the leave to make them, and what they leave behind.

Such a call is leased under the platform's lock and takes room from the credential's limits as any other; its row in
`credential_call` is its lease, and one credential has one at most. What comes of it, the broker's turn settles.
"""

from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import Any

from beat_actors.broker import loading, store
from beat_actors.broker.decision import Desk
from beat_actors.broker.turn import USE_WITHIN
from beat_actors.database import Database, Transaction, jsonb
from beat_actors.platforms.interface import CHECK, REFRESH, UPKEEP, Platform
from beat_actors.platforms.registry import platforms
from beat_actors.requests.sweeps import Swept
from beat_actors.settings import Settings

# Of a source's checks, and of its refreshes, so many are out at once: none is in a hurry, and an outage costs no more.
AT_ONCE = 10
# Seconds after which one that found no room, or that nobody heard of again, is due once more.
LATER = 30.0
BATCH = 500
# Before a token is there, or after its end, there is nothing to check. Of each source's checks and refreshes at most `most`, those that
# came due first.
DUE = """
SELECT id, platform, operation FROM (
SELECT c.id, c.platform, row_number() OVER (PARTITION BY c.source, due.refresh ORDER BY due.at NULLS FIRST, c.id) AS rank, due.at, CASE WHEN due.refresh THEN %(refresh)s ELSE %(check)s END AS operation
FROM credential c
CROSS JOIN LATERAL (SELECT
    c.refreshes AND c.source = ANY(%(refreshed)s) AND (c.refresh_at <= clock_timestamp() OR (c.refresh_at IS NULL AND c.dead_at IS NULL)) AS refresh,
    c.source = ANY(%(checked)s) AND (NOT c.refreshes OR c.expires_at > clock_timestamp())
        AND (c.check_at <= clock_timestamp() OR (c.check_at IS NULL AND c.dead_at IS NULL)) AS check, CASE WHEN c.refreshes AND (c.refresh_at IS NULL OR c.refresh_at <= clock_timestamp()) THEN c.refresh_at ELSE c.check_at END AS at
) due
WHERE (due.refresh OR due.check) AND (%(ids)s::bigint[] IS NULL OR c.id = ANY(%(ids)s))
  AND c.enabled AND NOT c.probing AND (c.disabled_till IS NULL OR c.disabled_till <= clock_timestamp())
  AND NOT EXISTS (SELECT FROM credential_call k WHERE k.credential_id = c.id)
) ranked WHERE rank <= %(most)s ORDER BY at NULLS FIRST, id LIMIT %(batch)s
"""
# The call's row is the lease. What was looked at is not due again for a while, whatever becomes of it: what the call finds out says
# when the next one is. So a message that comes twice finds nothing to do.
LEASE = """
WITH asked AS (
    SELECT * FROM jsonb_to_recordset(%(asked)s::jsonb) AS n(id bigint, operation text, probe boolean)
), later AS (
    UPDATE credential c SET
        check_at = CASE WHEN a.operation = %(check)s THEN clock_timestamp() + make_interval(secs => %(later)s) ELSE c.check_at END,
        refresh_at = CASE WHEN a.operation = %(refresh)s THEN clock_timestamp() + make_interval(secs => %(later)s) ELSE c.refresh_at END
    FROM asked a WHERE c.id = a.id
), leased AS (
    INSERT INTO credential_call (credential_id, platform, source, operation, generation, probe, lease_until)
    SELECT c.id, c.platform, c.source, a.operation, c.generation, a.probe, clock_timestamp() + make_interval(secs => %(lease)s)
    FROM asked a JOIN credential c ON c.id = a.id WHERE a.probe IS NOT NULL RETURNING *
)
SELECT l.*, c.key_id, c.secret, extract(epoch FROM clock_timestamp())::double precision AS claimed_at,
       extract(epoch FROM clock_timestamp())::double precision + %(use_within)s AS use_until, NULL::double precision AS use_from
FROM leased l JOIN credential c ON c.id = l.credential_id ORDER BY l.id
"""
# Whose row is gone was given up meanwhile, and has been traced and settled as unknown: a zombie writes nothing.
FINISH = """
WITH n AS (
    SELECT * FROM jsonb_to_recordset(%s::jsonb) AS r(
        id bigint, generation integer, fetch_id bigint, request_id bigint, attempt integer, method text, url text, status integer,
        ms real, bytes integer, outcome text, code text, detail text, retry_after double precision, reported_remaining integer,
        reported_reset double precision, at double precision, began double precision, facts jsonb, process text)
), done AS (
    DELETE FROM credential_call k USING n WHERE k.id = n.id
    RETURNING k.credential_id, k.platform, k.source, k.operation, k.probe, n.*
), trace AS (
    INSERT INTO trace_log (fetch_id, request_id, attempt, platform, source, operation, credential_id, method, url, status, ms,
                           bytes, outcome, code, detail)
    SELECT fetch_id, request_id, attempt, platform, source, operation, credential_id, method, url, status, ms, bytes, outcome,
           code, detail
    FROM done WHERE outcome NOT IN ('unused', 'unreached')
), settled AS (
    INSERT INTO settlement (platform, credential_id, source, operation, outcome, probe, code, detail, retry_after,
                            reported_remaining, reported_reset, at, began, generation, facts, process)
    SELECT platform, credential_id, source, operation, outcome, probe, code, detail, retry_after, reported_remaining,
           reported_reset, coalesce(to_timestamp(at), clock_timestamp()), to_timestamp(began), generation, facts, coalesce(process, '')
    FROM done
)
SELECT id FROM done
"""
ORPHANED = """
WITH orphan AS (
    DELETE FROM credential_call WHERE lease_until < clock_timestamp() AND beat_leads(%s) RETURNING *
), trace AS (
    INSERT INTO trace_log (platform, source, operation, credential_id, method, url, outcome, detail)
    SELECT platform, source, operation, credential_id, '', '', 'unknown', 'the worker was gone before it could say how the call went'
    FROM orphan
), settled AS (
    INSERT INTO settlement (platform, credential_id, source, operation, outcome, probe, generation, at)
    SELECT platform, credential_id, source, operation, 'unknown', probe, generation, clock_timestamp() FROM orphan
)
SELECT DISTINCT platform FROM orphan
"""


def lease_seconds(settings: Settings) -> float:
    """How long a call's lease holds: until it is begun, its time, and that of its commit."""
    return settings.http_total_timeout + 2 * USE_WITHIN


async def lease_due(database: Database, platform: Platform, credential_ids: Collection[int]) -> list[Any]:
    """Leave to check or refresh those of these credentials for which it is due, as far as there is room."""
    return await database.again(lambda: _lease_due(database, platform, credential_ids))


async def _lease_due(database: Database, platform: Platform, credential_ids: Collection[int]) -> list[Any]:
    async with database.transaction() as transaction:
        await store.lock(transaction, platform.name)
        due = await transaction.rows(DUE, _due_of(credential_ids))
        wanted = {row.id: row.operation for row in due if row.platform == platform.name}
        return await _lease(transaction, database, platform, wanted)


async def lease_checks(database: Database, platform: Platform, credential_ids: Collection[int]) -> list[Any]:
    """Leave to check these credentials now, whether it is due or not, as far as there is room."""

    async def lease() -> list[Any]:
        async with database.transaction() as transaction:
            await store.lock(transaction, platform.name)
            return await _lease(transaction, database, platform, dict.fromkeys(credential_ids, CHECK), dead=False)

    return await database.again(lease)


async def _lease(
    transaction: Transaction, database: Database, platform: Platform, wanted: Mapping[int, str], *, dead: bool = True
) -> list[Any]:
    """`dead`: also for dead credentials that are looked at again."""
    if not wanted:
        return []
    of_platform = {"platform": platform.name}
    held = await transaction.rows(loading.HELD, of_platform)
    held += await transaction.rows(loading.UNTAKEN, of_platform)
    snapshot = await loading.load_snapshot(transaction, platform, wanted.keys(), held=held)
    out = [row for row in held if row.operation in UPKEEP]
    snapshot.room = {(source, operation): AT_ONCE for source in platform.sources for operation in UPKEEP}
    for row in out:
        snapshot.room[row.source, row.operation] -= row.calls
    desk, busy = Desk(snapshot, Random(0)), {row.credential_id for row in out}
    asked = []
    for number, operation in wanted.items():  # in the order in which they came due
        credential = snapshot.credentials.get(number)
        if credential is None or number in busy or (credential.dead and not (dead and credential.unproven)):
            continue
        if snapshot.room[credential.source, operation] > 0:  # else it stays due, and is the next one's
            asked.append({"id": number, "operation": operation, "probe": desk.reserve(credential, operation)})
    values = {"asked": jsonb(asked), "check": CHECK, "refresh": REFRESH, "later": LATER, "use_within": USE_WITHIN}
    leased = await transaction.rows(LEASE, {**values, "lease": lease_seconds(database.settings)})
    await store.save_credentials(transaction, snapshot.credentials.values())
    await store.save_breakers(transaction, platform.name, [(key, snapshot.breakers[key]) for key in desk.probed])
    return leased


async def finish(transaction: Transaction, rows: Sequence[Mapping[str, Any]]) -> set[int]:
    """Trace and settle calls that came back, rows of FINISH; the ids of those that had not been given up."""
    return {row.id for row in await transaction.rows(FINISH, (jsonb(rows),))}


async def count_due(transaction: Transaction) -> int:
    """Credentials that are to be checked or refreshed, or are just now."""
    # In this order: what is leased between the two looks is counted twice, and not overlooked.
    due = await transaction.rows(DUE, _due_of(None))
    return len(due) + int(await transaction.value("SELECT count(*) FROM credential_call"))


async def due(database: Database, epoch: int | None = None) -> Swept:
    """Credentials that are to be checked or refreshed, and calls whose worker is gone."""
    async with database.statements() as alone:
        # After a step forth leases seem to have ended whose holders live.
        is_sure = not database.clock.stepped_forth(lease_seconds(database.settings))
        orphans = await alone.rows(ORPHANED, (epoch,)) if is_sure else []
        rows = await alone.rows(DUE, _due_of(None, most=AT_ONCE))
    found = [row.id for row in rows]
    send = [("credentials", found)] if found else []
    return Swept(ring={row.platform for row in orphans}, send=send, count=len(found) + len(orphans))


def _due_of(credential_ids: Collection[int] | None, *, most: int = BATCH) -> dict[str, Any]:
    """The parameters of DUE; `None`: all credentials."""
    sources = [source for platform in platforms().values() for source in platform.sources.values()]
    return {
        "ids": None if credential_ids is None else list(credential_ids),
        "checked": [source.name for source in sources if source.check is not None],
        "refreshed": [source.name for source in sources if source.refresh is not None],
        "check": CHECK,
        "refresh": REFRESH,
        "batch": BATCH,
        "most": most,
    }
