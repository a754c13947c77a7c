"""What the scheduler looks for: work whose time has come, messages that were lost, leases whose holder died. Each a batch of
idempotent SQL that may run anywhere, at any time, twice at once.

What writes takes the leader's `epoch` and does nothing for a leader that has been replaced; without one it runs for anybody.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import psycopg

from beat_actors.database import Database, clock, columns
from beat_actors.database.clock import TOLD_FOR
from beat_actors.fetches.claims import SUSPECT
from beat_actors.fetches.ending import date
from beat_actors.platforms.registry import platforms
from beat_actors.requests import lifecycle

BATCH = 1000

# Cheap enough to ask twice a second: the table of lanes, and for each platform the first row of two indexes. Only platforms with
# something to do, and a row with the time.
DUE = """
SELECT NULL AS platform, extract(epoch FROM clock_timestamp())::double precision AS now UNION ALL
SELECT p.platform, NULL FROM unnest(%s::text[]) AS p(platform)
WHERE EXISTS (SELECT FROM lane l WHERE l.platform = p.platform AND l.reasons IS NOT NULL AND l.blocked_until <= clock_timestamp())
   OR (SELECT f.not_before FROM scrape_fetch f WHERE f.platform = p.platform AND f.stage = 'WAITING' AND f.not_before IS NOT NULL
       ORDER BY f.platform, f.not_before LIMIT 1) <= clock_timestamp()
   OR (SELECT s.id FROM settlement s WHERE s.platform = p.platform ORDER BY s.platform, s.id LIMIT 1) IS NOT NULL
"""
# The safety net under every ring: a lane that has a waiting fetch, whatever anybody was told about it.
WAITING = """
SELECT DISTINCT l.platform FROM lane l CROSS JOIN LATERAL (
    SELECT FROM scrape_fetch f WHERE f.lane_id BETWEEN l.id AND l.id AND f.stage = 'WAITING' AND f.not_before IS NULL
    ORDER BY f.lane_id, f.id LIMIT 1) first
"""
# Work of a stage that nobody holds and whose message has had its time: lost with Redis, or never sent. Also work whose
# holder's lease ran out, save in LEASED, where a claimed lease may have been a call.
# An urgent lease waits for no queue's head: whatever has become of its message, or of those who take `express`, a worker of `retrieve` takes it.
UNSENT = """
WITH lost AS (
    SELECT id, stage_attempts FROM scrape_fetch
    WHERE stage IN ('LEASED', 'RETRIEVED', 'INGESTED') AND sent_at < clock_timestamp() - make_interval(secs =>
        %(grace)s + CASE WHEN stage = 'LEASED' AND priority = 1 THEN 0 WHEN stage = 'LEASED' THEN %(retrieve)s
        WHEN stage = 'RETRIEVED' THEN %(ingest)s ELSE %(process)s END)
      AND (call_of IS NULL OR stage <> 'LEASED')  -- what shares a call comes along with it
      AND (lease_until IS NULL OR (stage <> 'LEASED' AND lease_until < clock_timestamp()))
      AND beat_leads(%(epoch)s)
    ORDER BY priority, id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE scrape_fetch f SET sent_at = clock_timestamp() FROM lost WHERE f.id = lost.id
RETURNING f.id, f.stage, f.stage_attempts
"""
# A lease that was claimed, and whose holder is gone: nobody knows whether the call was made. It stays charged, is traced as
# unknown so that the books agree, and the fetch goes back to the broker. The fence rises, so the holder, if it is only late,
# writes nothing. Nothing is done where the clock is ahead of what the caller expects it to show: it may just have stepped.
ORPHANED = """
WITH orphan AS (
    SELECT id FROM scrape_fetch
    WHERE stage = 'LEASED' AND lease_until < clock_timestamp() AND coalesce(clock_timestamp() < to_timestamp(%s) + interval '2 seconds', true)
      AND beat_leads(%s) ORDER BY id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
), moved AS (
    UPDATE scrape_fetch f SET stage = 'SETTLING', fence = f.fence + 1, lease_until = NULL FROM orphan WHERE f.id = orphan.id
    RETURNING f.*
), trace AS (
    INSERT INTO trace_log (fetch_id, request_id, attempt, platform, source, operation, credential_id, method, url, outcome, detail)
    SELECT id, request_id, attempt, platform, source, operation, credential_id, '', '', 'unknown',
           'the worker was gone before it could say how the call went' FROM moved WHERE call_of IS NULL
), settled AS (
    INSERT INTO settlement (platform, fetch_id, fence, credential_id, source, operation, outcome, probe, calls, at, owner)
    SELECT platform, id, fence, CASE WHEN call_of IS NULL THEN credential_id ELSE 0 END, source, operation, 'unknown', probe,
           (call_of IS NULL)::integer, clock_timestamp(), coalesce(owner, '') FROM moved
)
SELECT DISTINCT platform FROM moved
"""
LATE = """
SELECT id FROM scrape_request_log
WHERE status IN ('PENDING', 'PROCESSING') AND expires_at <= clock_timestamp() AND beat_leads(%s) ORDER BY expires_at, id LIMIT %s
"""
# Work that is held beyond its flow's limit is taken from its holder: its lease ends and the fence rises, so the holder's next
# renewal finds nothing and breaks it off, and the other sweeps settle it as they do the work of a worker that died.
OVERDUE = """
WITH overdue AS (
    SELECT f.id FROM scrape_fetch f JOIN scrape_request_log r ON r.id = f.request_id
    JOIN unnest(%(platforms)s::text[], %(flows)s::text[], %(limits)s::double precision[]) AS l(platform, flow, seconds)
        ON l.platform = r.platform AND l.flow = r.flow
    WHERE f.stage IN ('LEASED', 'RETRIEVED', 'INGESTED') AND f.lease_until > clock_timestamp()
      AND f.claimed_at < clock_timestamp() - make_interval(secs => l.seconds) AND beat_leads(%(epoch)s)
    ORDER BY f.id LIMIT %(limit)s FOR NO KEY UPDATE OF f SKIP LOCKED
)
UPDATE scrape_fetch f SET lease_until = clock_timestamp(), fence = fence + 1 FROM overdue WHERE f.id = overdue.id RETURNING f.id
"""
# The last resort: what waits to be settled, and has nothing that could settle it, as only an edit by hand or a lost row leaves it. Its call is
# charged, perhaps a second time, since a call that nobody counts would break a limit.
STRANDED = """
WITH stranded AS (
    SELECT id FROM scrape_fetch f
    WHERE stage = 'SETTLING' AND greatest(sent_at, claimed_at) < clock_timestamp() - make_interval(secs => %(seconds)s)
      AND NOT EXISTS (SELECT FROM settlement s WHERE s.fetch_id = f.id AND s.fence = f.fence) AND beat_leads(%(epoch)s)
    ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
)
INSERT INTO settlement (platform, fetch_id, fence, credential_id, source, operation, outcome, probe, calls, at, owner)
SELECT f.platform, f.id, f.fence, CASE WHEN f.call_of IS NULL THEN f.credential_id ELSE 0 END, f.source, f.operation, 'unknown', f.probe,
       (f.call_of IS NULL)::integer, clock_timestamp(), coalesce(f.owner, '') FROM scrape_fetch f JOIN stranded USING (id)
RETURNING platform
"""
# Past a deadline that nobody who waits has: it was set anew, and missed this fetch, which was just being moved each time. One look into
# the index (lane_id, expires_at) for each lane, whatever waits in them.
FORGOTTEN = """
SELECT DISTINCT found.id FROM lane l CROSS JOIN LATERAL (
    SELECT f.request_id AS id FROM scrape_fetch f JOIN scrape_request_log r ON r.id = f.request_id
    WHERE f.lane_id BETWEEN l.id AND l.id AND f.stage = 'WAITING' AND r.live
      AND f.expires_at < (SELECT clock_timestamp() - make_interval(secs => %(seconds)s))
    ORDER BY f.lane_id, f.expires_at LIMIT %(limit)s
) found LIMIT %(limit)s
"""
PASSED_BY = 60.0
"""Seconds past a fetch's deadline until it is asked whether anybody waits for it still."""
LAST_RESORT = 900.0
"""Seconds; fifteen minutes."""
# A probe whose fetch ended some other way (cancelled at that very moment) must not keep its credential or source out.
FREE_CREDENTIALS = """
UPDATE credential c SET probing = false WHERE c.probing AND NOT EXISTS (
    SELECT FROM scrape_fetch f WHERE f.credential_id = c.id AND f.probe AND f.stage IN ('LEASED', 'SETTLING'))
  AND NOT EXISTS (SELECT FROM credential_call k WHERE k.credential_id = c.id AND k.probe)
  AND NOT EXISTS (SELECT FROM settlement s WHERE s.credential_id = c.id AND s.probe)
  AND c.updated_at < clock_timestamp() - interval '10 seconds' AND beat_leads(%s)
RETURNING c.platform
"""
FREE_BREAKERS = """
UPDATE breaker b SET probing = false WHERE b.probing AND NOT EXISTS (
    SELECT FROM scrape_fetch f WHERE f.source = b.source AND f.operation = b.operation AND f.probe
      AND f.stage IN ('LEASED', 'SETTLING', 'RETRIEVED'))
  AND NOT EXISTS (SELECT FROM credential_call k WHERE k.source = b.source AND k.operation = b.operation AND k.probe)
  AND NOT EXISTS (SELECT FROM settlement s WHERE s.source = b.source AND s.operation = b.operation AND s.probe)
  AND beat_leads(%s)
RETURNING b.platform
"""
# The same of one owner's: its fetches and its credential's own calls.
FREE_OWNERS_BREAKERS = """
UPDATE owner_breaker b SET probing = false WHERE b.probing AND NOT EXISTS (
    SELECT FROM scrape_fetch f WHERE f.source = b.source AND f.operation = b.operation AND f.probe AND f.owner = b.owner
      AND f.stage IN ('LEASED', 'SETTLING', 'RETRIEVED'))
  AND NOT EXISTS (SELECT FROM credential_call k JOIN credential c ON c.id = k.credential_id
                  WHERE k.source = b.source AND k.operation = b.operation AND k.probe AND c.owner = b.owner)
  AND NOT EXISTS (SELECT FROM settlement s WHERE s.source = b.source AND s.operation = b.operation AND s.probe AND s.owner IN ('', b.owner))
  AND beat_leads(%s)
RETURNING b.platform
"""

AHEAD = 3
"""Days ahead that have partitions."""
KEPT = {
    "raw_payload": "raw_payload_days",
    **dict.fromkeys(("trace_log", "profile_log", "post_log", "change_log", "broker_decision"), "log_days"),
}
UNMADE = """
WITH today AS (SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS day), wanted AS (
    SELECT parent, today.day + ahead AS day FROM today, beat_partitioned() parent, generate_series(0, %s) ahead
    UNION SELECT parent, d.day FROM beat_in_default() d, today WHERE d.day < today.day
)
SELECT parent, day FROM wanted WHERE to_regclass(format('%%I', parent || to_char(day, '_YYYYMMDD'))) IS NULL ORDER BY day, parent
"""
MAKE = "SELECT beat_make_partition(%s, %s)::integer WHERE beat_leads(%s)"
DROP = "SELECT beat_drop_partitions(%s, %s) WHERE beat_leads(%s)"


@dataclass(slots=True)
class Swept:
    """What a sweep found: platforms whose broker should turn, and messages to send: (stage, fetches) or (queue, credentials)."""

    ring: set[str] = field(default_factory=set)
    send: list[tuple[str, list[int]]] = field(default_factory=list)
    count: int = 0


STAGE_OF = {"LEASED": "retrieve", "RETRIEVED": "ingest", "INGESTED": "process"}


async def due(database: Database) -> Swept:
    """Waiting work whose time has come, and outcomes that nobody was told of. Notes steps of the database's clock, for the other sweeps."""
    async with database.statements() as alone:
        asked = clock.elapsed()
        rows = await alone.rows(DUE, (list(platforms()),))
        now = next(row.now for row in rows if row.now is not None)
        database.clock.look(now, asked, clock.elapsed())
    ring = {row.platform for row in rows if row.platform is not None}
    return Swept(ring=ring, count=len(ring))


async def waiting(database: Database) -> Swept:
    """Every platform on which anything waits: derives each lane's state anew, so that edits by hand take effect."""
    async with database.statements() as alone:
        rows = await alone.rows(WAITING)
    return Swept(ring={row.platform for row in rows}, count=len(rows))


async def unsent(
    database: Database, epoch: int | None = None, *, grace: float, oldest: Mapping[str, float] = MappingProxyType({})
) -> Swept:
    """Stage work without a message or a living holder, sent more than `grace` seconds ago.

    `oldest`: seconds since the message at the head of a stage's queue was sent. What was sent after that message waits behind it, and
    is not sent again, for `LAST_RESORT` seconds at most.
    What has been tried before goes in a message of its own: if it kills its worker, it kills no neighbour's try. What has been tried
    often goes to the suspects.
    """
    waits = {stage: min(max(oldest.get(stage, 0.0), 0.0), LAST_RESORT) for stage in STAGE_OF.values()}
    async with database.statements() as alone:
        rows = await alone.rows(UNSENT, {"grace": grace, "epoch": epoch, "limit": BATCH, **waits})
    fresh: dict[str, list[int]] = {}
    swept = Swept(count=len(rows))
    for row in rows:
        if row.stage_attempts >= SUSPECT and row.stage != "LEASED":
            fresh.setdefault("suspects", []).append(row.id)
        elif row.stage_attempts:
            swept.send.append((STAGE_OF[row.stage], [row.id]))
        else:
            fresh.setdefault(STAGE_OF[row.stage], []).append(row.id)
    swept.send += fresh.items()
    return swept


async def orphaned(database: Database, epoch: int | None = None) -> Swept:
    """Calls whose worker is gone."""
    if database.clock.stepped_forth(database.settings.stage_lease):
        return Swept()  # holders that live renew their leases meanwhile
    async with database.statements() as alone:
        rows = await alone.rows(ORPHANED, (database.clock.expected(), epoch, BATCH))
    return Swept(ring={row.platform for row in rows}, count=len(rows))


async def expired(database: Database, epoch: int | None = None) -> Swept:
    """Requests past their deadline."""
    async with database.statements() as alone:
        late = [row.id for row in await alone.rows(LATE, (epoch, BATCH))]
    if not late:
        return Swept()
    async with database.transaction() as transaction:
        return Swept(count=len(await lifecycle.expire(transaction, late)))


async def check_and_cancel_long_running_tasks(database: Database, epoch: int | None = None) -> Swept:
    """Work of a stage that runs for longer than its flow's `time_limit`."""
    flows = [
        (platform.name, flow.name, flow.time_limit)
        for platform in platforms().values()
        for flow in platform.flows.values()
    ]
    names = dict(zip(("platforms", "flows", "limits"), columns(flows, 3), strict=True))
    if database.clock.stepped_forth(max((limit for _, _, limit in flows), default=0.0)):
        return Swept()  # what was claimed before it seems to have been worked on for so much longer
    async with database.statements() as alone:
        rows = await alone.rows(OVERDUE, {**names, "epoch": epoch, "limit": BATCH})
    return Swept(count=len(rows))


async def stranded(database: Database, epoch: int | None = None) -> Swept:
    """Fetches that nothing else would ever move on: between a call and the broker, or past the deadline of one that left."""
    async with database.statements() as alone:
        rows = await alone.rows(STRANDED, {"seconds": LAST_RESORT, "epoch": epoch, "limit": BATCH})
        forgotten = [row.id for row in await alone.rows(FORGOTTEN, {"seconds": PASSED_BY, "limit": BATCH})]
        dated = await date(alone, forgotten) if forgotten else set()
    return Swept(ring={row.platform for row in rows} | dated, count=len(rows) + len(dated))


async def stuck_probes(database: Database, epoch: int | None = None) -> Swept:
    """Probes whose fetch ended some other way."""
    async with database.statements() as alone:
        rows = await alone.rows(FREE_CREDENTIALS, (epoch,)) + await alone.rows(FREE_BREAKERS, (epoch,))
        rows += await alone.rows(FREE_OWNERS_BREAKERS, (epoch,))
    return Swept(ring={row.platform for row in rows}, count=len(rows))


async def partitions(database: Database, epoch: int | None = None) -> Swept:
    """The days ahead get their partitions, and so do days that came into a default partition; what is past its age goes.

    Each by itself: what fails keeps no other from it, and is raised at the end.
    """
    settings = database.settings
    made, errors = 0, []
    async with database.statements() as alone:

        async def attempt(sql: str, *params: object) -> int:
            try:
                return int(await alone.value(sql, (*params, epoch)) or 0)
            except psycopg.Error as error:
                if alone.connection.closed:
                    raise
                errors.append(error)
                return 0

        # After a step forth the clock may be wrong: what it says is past its age is kept for an hour more.
        for parent, days in () if database.clock.stepped_forth(TOLD_FOR) else KEPT.items():
            await attempt(DROP, parent, getattr(settings, days))
        for row in await alone.rows(UNMADE, (AHEAD,)):
            made += await attempt(MAKE, row.parent, row.day)
    if errors:
        raise errors[0]
    return Swept(count=made)
