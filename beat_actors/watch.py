"""What is watched, and which alerts stand because of it. A rule looks at rows and returns all of its alerts that are due now.

Each alert names its cause, whom it touches, what Beat does by itself, and one thing that is safe to do.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Any

from beat_actors.alerts import SOURCE_RULE, Alert, report
from beat_actors.broker.windows import Window
from beat_actors.credentials.alerts import troubles
from beat_actors.database import Database, columns, upkeep
from beat_actors.database.vitals import Vitals, processes
from beat_actors.platforms.registry import platforms
from beat_actors.process_alerts import processes_in_trouble
from beat_actors.quotas.limiter import StackedLimiter
from beat_actors.quotas.overview import LimitView, overview
from beat_actors.requests.intake import Priority
from beat_actors.webhooks import alerts as webhooks

DAY = 86_400.0
QUOTA_LEVELS = ((0.8, "warning"), (0.5, "info"))
BACKLOG_OPENS = 50_000
BACKLOG_RESOLVES = 40_000
SLOW_QUERY = 1.0
"""Seconds of the slowest hundredth of statements from which on the database is said to be slow."""
SLOW_CLAIM, FEW_CLAIMS = 5.0, 5
"""Seconds for which the median claim of a process may have waited, where it made so many in the last minute."""
IDLE_BROKER = 10
"""Seconds without a turn, while work is ready, after which the broker is said to stand still."""
CONNECTIONS_SHARE = 0.8
MEMORY_LEVELS = ((0.9, "critical"), (0.7, "warning"))
LONG_WAIT = 600
"""Seconds for which a request that is no batch work may wait before somebody is told."""

MOST_QUOTAS = 200
"""Limits that are told of by themselves: those of which most is used."""

# Parameters: sources, names of their daily limits, from how many calls on each is told, how many rows.
QUOTAS = """
WITH told(source, limit_name, least) AS (SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[])), used AS (
    SELECT subject, limit_name, head, counts, (SELECT sum(n) FROM unnest(counts) n) AS calls FROM credential_usage
    WHERE limit_name IN (SELECT limit_name FROM told)
)
SELECT used.subject, used.limit_name, used.head, used.counts, told.source, extract(epoch FROM clock_timestamp())::double precision AS now
FROM used LEFT JOIN credential c ON c.id = CASE WHEN subject LIKE 'credential:%%' THEN substr(subject, 12)::bigint END
JOIN told ON told.limit_name = used.limit_name AND told.source = coalesce(c.source, substr(subject, 8))
WHERE used.calls >= told.least ORDER BY used.calls / told.least DESC, used.subject, used.limit_name LIMIT %s
"""
SOURCES = """
SELECT platform, source, array_agg(operation ORDER BY operation) AS operations, max(trips) AS trips, min(open_until) AS open_until
FROM breaker WHERE kind = %s AND open_until IS NOT NULL AND NOT by_hand GROUP BY 1, 2
"""
OWNERS = """
SELECT platform, source, count(DISTINCT owner) AS count, (array_agg(DISTINCT owner))[1:5] AS some FROM owner_breaker
WHERE open_until IS NOT NULL GROUP BY 1, 2
"""
CREDENTIALS = """
SELECT platform, source, count(*) AS of, count(*) FILTER (WHERE gone) AS gone, count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead,
       min(disabled_till) FILTER (WHERE gone AND enabled AND dead_at IS NULL) AS back_at
FROM (SELECT *, NOT enabled OR dead_at IS NOT NULL OR coalesce(disabled_till > clock_timestamp(), false) AS gone FROM credential) c
GROUP BY 1, 2 HAVING count(*) FILTER (WHERE gone) * 2 > count(*)
"""
BACKLOG = """
SELECT (SELECT count(*) FROM (SELECT FROM asset_log WHERE status = 'PENDING' LIMIT %s) pending) AS pending,
       EXISTS (SELECT FROM alert WHERE key = 'backlog:assets' AND resolved_at IS NULL) AS stands
"""
# While nobody led nothing ran; whoever is elected has the same time as ever. What is said to be late stays so until it ended well.
LATE = """
SELECT name, extract(epoch FROM clock_timestamp() - ended_at)::integer AS ago, every, error FROM sweep s
WHERE ended_at < clock_timestamp() - make_interval(secs => 3 * every + deadline)
  AND (NOT EXISTS (SELECT FROM leader WHERE name = 'scheduler'
                   AND elected_at >= clock_timestamp() - make_interval(secs => 3 * s.every + s.deadline))
       OR EXISTS (SELECT FROM alert WHERE key = 'sweep:' || s.name AND resolved_at IS NULL))
"""
# One row of an index for each lane; what is batch work may wait.
WAITING = """
SELECT l.platform, l.flow, min(first.created_at) AS since, extract(epoch FROM clock_timestamp() - min(first.created_at))::float8 AS seconds,
       (array_agg(first.request_id ORDER BY first.created_at))[1] AS request_id,
       (array_agg(l.reasons ORDER BY first.created_at))[1] AS reasons, min(l.blocked_until) AS until
FROM lane l CROSS JOIN LATERAL (
    SELECT f.created_at, f.request_id FROM scrape_fetch f
    WHERE f.lane_id BETWEEN l.id AND l.id AND f.stage = 'WAITING' AND f.not_before IS NULL ORDER BY f.lane_id, f.id LIMIT 1) first
WHERE l.priority < %s AND first.created_at < clock_timestamp() - make_interval(secs => %s)
GROUP BY l.platform, l.flow ORDER BY 1, 2
"""
STANDSTILL = """
SELECT l.platform, count(*) AS lanes FROM lane l CROSS JOIN LATERAL (
    SELECT f.created_at FROM scrape_fetch f
    WHERE f.lane_id BETWEEN l.id AND l.id AND f.stage = 'WAITING' AND f.not_before IS NULL ORDER BY f.lane_id, f.id LIMIT 1) first
WHERE (l.blocked_until IS NULL AND l.reasons IS NULL OR l.blocked_until < clock_timestamp() - make_interval(secs => %(idle)s))
  AND first.created_at < clock_timestamp() - make_interval(secs => %(idle)s)
  AND NOT EXISTS (SELECT FROM broker_decision d WHERE d.platform = l.platform AND d.at > (SELECT clock_timestamp() - make_interval(secs => %(idle)s)))
GROUP BY 1
"""
# Steps from one kind, platform, source and operation to the next in the index `quarantine_told`, and counts of each the newest thousand,
# so that what nobody resolves makes no look dearer. Payloads count for an hour, poison and messages until they are resolved.
QUARANTINE = """
WITH RECURSIVE sets AS (
    (SELECT kind, coalesce(platform, '-') AS platform, coalesce(source, '-') AS source, coalesce(operation, '-') AS operation
     FROM quarantine WHERE resolved_at IS NULL ORDER BY 1, 2, 3, 4 LIMIT 1)
    UNION ALL
    SELECT next.* FROM sets s CROSS JOIN LATERAL (
        SELECT kind, coalesce(platform, '-'), coalesce(source, '-'), coalesce(operation, '-') FROM quarantine
        WHERE resolved_at IS NULL AND (kind, coalesce(platform, '-'), coalesce(source, '-'), coalesce(operation, '-'))
              > (s.kind, s.platform, s.source, s.operation)
        ORDER BY 1, 2, 3, 4 LIMIT 1
    ) next
)
SELECT s.kind, s.platform, s.source, s.operation, newest.of, newest.error
FROM (SELECT *, kind IN ('poison', 'message') AS lasts FROM sets LIMIT %(sets)s) s
CROSS JOIN LATERAL (
    SELECT count(*) AS of, max(error) AS error FROM (
        SELECT error FROM quarantine q
        WHERE q.resolved_at IS NULL AND q.kind = s.kind AND coalesce(q.platform, '-') = s.platform
          AND coalesce(q.source, '-') = s.source AND coalesce(q.operation, '-') = s.operation
          AND q.at > CASE WHEN s.lasts THEN '-infinity' ELSE (SELECT clock_timestamp() - interval '1 hour') END
        ORDER BY q.at DESC LIMIT %(most)s
    ) one
) newest
WHERE newest.of >= CASE WHEN s.lasts THEN 1 ELSE 5 END
UNION ALL
SELECT 'refused', platform, source, operation, calls, code FROM refusal WHERE calls >= 5 AND at > clock_timestamp() - interval '1 hour'
"""
QUARANTINE_SETS, QUARANTINE_COUNTED = 500, 1000
"""Kinds, platforms, sources and operations that are looked at, and rows of each that are counted."""

# The transaction before which the feed of changes and webhooks stop, where something has waited behind it for `seconds`. No row where
# nothing has. Only locks tell a plain role which session of another role, in any database, has written what.
HOLDER = """
SELECT extract(epoch FROM clock_timestamp() - since)::integer AS waits, a.pid, p.gid, coalesce(a.datname, p.database) AS database,
       coalesce(a.usename, p.owner) AS role, nullif(a.application_name, '') AS application, a.state,
       extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared))::integer AS age, quote_literal(p.gid) AS quoted
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::xid AS xid, least(
        (SELECT occurred_at FROM outbox_event WHERE xid >= beat_xid_in_era(pg_snapshot_xmin(pg_current_snapshot())) ORDER BY xid, id LIMIT 1),
        (SELECT at FROM change_log WHERE xid >= beat_xid_in_era(pg_snapshot_xmin(pg_current_snapshot())) ORDER BY xid, id LIMIT 1)) AS since) oldest
LEFT JOIN pg_prepared_xacts p ON p.transaction = oldest.xid
LEFT JOIN pg_locks l ON l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.transactionid = oldest.xid
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE since < clock_timestamp() - make_interval(secs => %(seconds)s) AND (a.pid IS NOT NULL OR p.gid IS NOT NULL) LIMIT 1
"""
RESTORED = "SELECT restored_at FROM database_cluster WHERE restored_at > clock_timestamp() - interval '1 day'"
HELD_UP = 15.0
"""Seconds for which events or changes may wait for a transaction before somebody is told."""

IN_DEFAULT = "SELECT parent, sum(held)::bigint AS held, min(day) AS since, max(day) AS until FROM beat_in_default() GROUP BY 1 ORDER BY 1"

Rule = Callable[[Database], Awaitable[Sequence[Alert]]]


@dataclass(frozen=True, slots=True)
class Watch:
    """A rule, and the name that its alerts' keys begin with. `every`: seconds between two looks."""

    name: str
    rule: Rule
    every: float = 15.0

    async def run(self, database: Database, epoch: int | None = None) -> int:
        """Look, and open or resolve; how many changed."""
        standing = await self.rule(database)
        async with database.statements() as alone:
            return await report(alone, self.name, standing, epoch=epoch)


async def sources_down(database: Database) -> list[Alert]:
    """Providers that fail: one alert for each, whatever the number of its operations."""
    async with database.statements() as alone:
        rows = await alone.rows(SOURCES, ("upstream",))
    return [
        Alert(
            key=f"{SOURCE_RULE}:{row.source}",
            severity="critical" if _alone(row.platform, row.source, row.operations) else "warning",
            cause=f"{row.source} does not answer as it should: {_list(row.operations)}",
            impact=_impact(row.platform, row.source, row.operations),
            automatic="its calls go to the next source of each chain; one probe after each rest (30 s to 5 min) finds out when it is back",
            action="look at the provider's status page; nothing has to be done for recovery: beat sources",
            source=row.source,
        )
        for row in rows
    ]


async def unreadable(database: Database) -> list[Alert]:
    """Providers whose answers their parsers cannot read: either side may have changed."""
    async with database.statements() as alone:
        rows = await alone.rows(SOURCES, ("parser",))
    return [
        Alert(
            key=f"parser:{row.source}",
            severity="critical" if _alone(row.platform, row.source, row.operations) else "warning",
            cause=f"what {row.source} answers cannot be read: {_list(row.operations)}",
            impact=_impact(row.platform, row.source, row.operations),
            automatic="the answers are kept in quarantine, the next sources are asked, no credential is blamed; a probe tries again",
            action="compare a quarantined payload with the parser: SELECT error, path FROM quarantine WHERE resolved_at IS NULL",
            source=row.source,
        )
        for row in rows
    ]


async def owners_out(database: Database) -> list[Alert]:
    """Single owners whose calls fail or cannot be read, while their source answers others."""
    async with database.statements() as alone:
        rows = await alone.rows(OWNERS)
    return [
        Alert(
            key=f"owners:{row.source}",
            severity="warning",
            cause=f"calls for {row.count} {'owner' if row.count == 1 else 'owners'} of {row.source} fail or cannot be read: {_list(row.some)}",
            impact=f"what is asked of them on {row.platform} waits; other owners are served",
            automatic="one probe for each owner after each rest (30 s to 5 min) finds out when its calls go well again",
            action=f"beat sources {row.source}, then look at the owner's store or account at the provider",
            source=row.source,
        )
        for row in rows
    ]


async def credentials_in_trouble(database: Database) -> list[Alert]:
    """What time alone brings about: an end that comes near, a token that nobody refreshed, an edit by hand."""
    async with database.statements() as alone:
        return await troubles(alone)


async def credentials_out(database: Database) -> list[Alert]:
    """Sources of whose credentials more than half are out."""
    async with database.statements() as alone:
        rows = await alone.rows(CREDENTIALS)
    return [
        Alert(
            key=f"credentials:{row.source}",
            severity="critical" if row.gone == row.of else "warning",
            cause=f"{row.gone} of {row.of} credentials of {row.source} are out ({row.dead} of them dead)",
            impact="its operations go to other sources or wait" if row.gone == row.of else "it has less than half its capacity",
            automatic=f"the first comes back at {row.back_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, with one probe"
            if row.back_at is not None
            else "nothing: none of them comes back by itself",
            action=f"beat credentials list --source {row.source}; add one, or replace the dead",
            source=row.source,
        )
        for row in rows
    ]  # fmt: skip


async def quotas(database: Database) -> list[Alert]:
    """Daily limits that are half, or four fifths, used: one alert for a window, told once at each level."""
    daily = {
        (source.name, limit.name): limit
        for platform in platforms().values()
        for source in platform.sources.values()
        for limit in source.limits
        if limit.calendar is not None or limit.seconds >= DAY
    }
    least = min(share for share, _ in QUOTA_LEVELS)
    wanted = [(source, name, ceil(limit.calls * least)) for (source, name), limit in daily.items()]
    async with database.statements() as alone:
        rows = await alone.rows(QUOTAS, (*columns(wanted, 3), MOST_QUOTAS))
    return [
        alert
        for row in rows
        for alert in _quota(
            Window(row.subject, daily[row.source, row.limit_name], row.now, row.head, row.counts), row.source
        )
    ]


def _quota(window: Window, source: str) -> list[Alert]:
    limit, used = window.limit, window.used
    severity = next((severity for share, severity in QUOTA_LEVELS if used >= limit.calls * share), None)
    if severity is None:
        return []
    day = f":{window.head}" if limit.calendar is not None else ""
    resets = (
        f"at midnight in {limit.calendar}" if limit.calendar is not None else "as the oldest calls leave the window"
    )
    return [
        Alert(
            key=f"quota:{window.subject}:{limit.name}{day}",
            severity=severity,
            cause=f"{used:,} of {limit.calls:,} calls of {window.subject}'s limit {limit.name!r} are used ({source})",
            impact="when it is used up, this credential waits, and its work goes to others or waits too",
            automatic=f"{limit.reserve:.0%} are kept for customer-facing requests; room comes back {resets}",
            action=f"beat credentials list --source {source}; add a credential, or move batch work to another hour",
            source=source,
            again_after=max(limit.seconds, DAY),
        )
    ]  # fmt: skip


async def limits(database: Database) -> list[Alert]:
    """Daily limits on on-demand requests that are half, or four fifths, used: one alert for a window, told once at each level."""
    limiter = StackedLimiter(database)
    try:
        views = await overview(limiter)
    finally:
        await limiter.close()
    return [alert for view in views if view.seconds >= DAY for alert in _limit(view)]


def _limit(view: LimitView) -> list[Alert]:
    used = view.used or 0
    severity = next((severity for share, severity in QUOTA_LEVELS if used >= view.calls * share), None)
    if severity is None:
        return []
    window = f":{view.renews_at:%Y-%m-%d}" if view.window == "calendar" and view.renews_at is not None else ""
    end = (
        f"at {view.rate:,.0f} calls an hour nothing is left at {view.exhausted_at:%m-%d %H:%M} UTC"
        if view.exhausted_at is not None
        else "at the rate of late it lasts"
    )
    return [
        Alert(
            key=f"limit:{view.name}{window}",
            severity=severity,
            cause=f"{used:,} of {view.calls:,} on-demand requests of {view.platform} are used ({view.name}); {end}",
            impact="when it is used up, on-demand requests are refused with 429; all other work goes on",
            automatic="requests that are not customer-facing are paced; batch work leaves a reserve to the others and is deferred to off-peak hours",
            action=f"beat limits; send what can wait with priority batch, or beat limits reset {view.name} --reason …",
            again_after=float(view.seconds),
        )
    ]


async def backlog(database: Database) -> list[Alert]:
    """Media that wait to be stored. It opens at 50,000 and is resolved below 40,000, so that it does not flutter."""
    async with database.statements() as alone:
        row = await alone.row(BACKLOG, (BACKLOG_OPENS,))
    if row is None or row.pending < (BACKLOG_RESOLVES if row.stands else BACKLOG_OPENS):
        return []
    return [
        Alert(
            key="backlog:assets",
            severity="warning",
            cause=f"{'at least ' if row.pending == BACKLOG_OPENS else ''}{row.pending:,} media files wait to be stored",
            impact="pictures are served from the provider's URLs, which expire; data is not affected",
            automatic="pictures of profiles go before those of posts; work on data is not held up",
            action="add workers: nothing is lost by waiting, save URLs that expire",
        )
    ]


async def late_sweeps(database: Database) -> list[Alert]:
    """Sweeps that have not ended well for three of their intervals and a deadline, under this leader too."""
    async with database.statements() as alone:
        rows = await alone.rows(LATE)
    return [
        Alert(
            key=f"sweep:{row.name}",
            severity="critical",
            cause=f"the sweep {row.name!r} has not ended well for {row.ago} s (it runs every {row.every:g} s)",
            impact="what it looks for is found late; nothing is lost",
            automatic="it is tried again at each interval, and does not hold up the other sweeps",
            action=f"look into the scheduler's log; it last said: {row.error or 'nothing'}",
        )
        for row in rows
    ]


async def standstill(database: Database) -> list[Alert]:
    """Platforms on which work is ready and the broker does not turn."""
    async with database.statements() as alone:
        rows = await alone.rows(STANDSTILL, {"idle": IDLE_BROKER})
    return [
        Alert(
            key=f"claims:{row.platform}",
            severity="critical",
            cause=f"work of {row.platform} has been ready in {row.lanes} lanes for more than {IDLE_BROKER} s, and no turn took it",
            impact="requests of this platform stand still; none is lost",
            automatic="the broker is rung every 2 s; the first worker that is free takes its turn",
            action="see that workers run and reach PostgreSQL and Redis: beat doctor",
        )
        for row in rows
    ]


async def waiting(database: Database) -> list[Alert]:
    """Flows of which a request that somebody waits for has not been leased anything for long."""
    async with database.statements() as alone:
        rows = await alone.rows(WAITING, (Priority.BATCH, LONG_WAIT))
    return [
        Alert(
            key=f"waiting:{row.platform}:{row.flow}",
            severity="warning",
            cause=f"{row.flow} of {row.platform}: the first request has waited for {row.seconds / 60:.0f} min ({_blockers(row.reasons)})",
            impact="who asked for it waits, or is answered with older data; nothing is lost",
            automatic="it goes on by itself"
            if row.until is None
            else f"it goes on at {row.until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, when the first of its blockers clears",
            action=f"beat why {row.request_id} names every blocker; add a credential, or let it wait",
        )
        for row in rows
    ]


def _blockers(reasons: Sequence[Mapping[str, Any]] | None) -> str:
    return (
        _list([f"{reason['source']}: {reason['why']}" for reason in reasons or []]) or "nothing known stands in its way"
    )


async def slow_database(database: Database) -> list[Alert]:
    """What processes say of their last minute: slow statements, pools that were used up, work that lay until it was taken up. Also the
    transaction, of any database of the server, that holds up the feed of changes and webhooks; and that the database was restored."""
    living = await processes(database)
    async with database.statements() as alone:
        holder = await alone.row(HOLDER, {"seconds": HELD_UP})
        restored_at = await alone.value(RESTORED)
    found = (
        _held_up(holder) if holder is not None else None,
        _restored(restored_at) if restored_at is not None else None,
        _slow_statements(living),
        _exhausted_pools(living, database.settings.database_pool_timeout),
        _slow_claims(living),
    )
    return [alert for alert in found if alert is not None]


def _held_up(row: Any) -> Alert:
    where = f"database {row.database}, role {row.role}"
    if row.gid is not None:
        who = f"prepared transaction {row.quoted} ({where}, prepared {row.age} s ago)"
        action = f"in the database {row.database}: COMMIT PREPARED {row.quoted}, or ROLLBACK PREPARED {row.quoted}"
    else:
        age = "" if row.age is None else f", began {row.age} s ago"
        details = f"application {row.application or 'without a name'}{f', {row.state}' if row.state else ''}{age}"
        who = f"a transaction of session {row.pid} ({where}, {details})"
        action = f"end it where it began, or as an administrator: SELECT pg_terminate_backend({row.pid})"
    return Alert(
        key="database:held",
        severity="critical",
        cause=f"{who} is open and has written; events and changes have waited for it for {row.waits} s",
        impact="/v1/changes and webhooks tell nothing that was written since it began; requests themselves go on, and nothing is lost",
        automatic="all of it is told in order as soon as this transaction ends; Beat ends no transaction of others",
        action=action,
    )


def _restored(at: datetime) -> Alert:
    return Alert(
        key="database:restored",
        severity="warning",
        cause=f"this database was restored into another cluster, found at {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        impact="what was accepted or told after the dump was made is not in it; webhooks that were sent after it are sent again, and "
        "cursors of /v1/changes that were given after it are answered with 410",
        automatic="webhooks and /v1/changes go on behind all that was restored; this alert ends after a day",
        action="tell consumers to read anew what they follow, and accounts to ask again for what they miss",
    )


def _slow_statements(living: Sequence[Vitals]) -> Alert | None:
    slow = [each for each in living if each.statement_p99 >= SLOW_QUERY]
    if not slow:
        return None
    worst = max(each.statement_p99 for each in slow)
    return Alert(
        key="database:slow",
        severity="warning" if worst < 5 * SLOW_QUERY else "critical",
        cause=f"the slowest hundredth of statements takes up to {worst:.1f} s ({_kinds(slow)})",
        impact="everything takes longer, and the API may answer 503",
        automatic="connections and statements are bounded, workers wait and come back by themselves",
        action="beat db processes; look for long transactions and locks: beat db connections",
    )


def _exhausted_pools(living: Sequence[Vitals], timeout: float) -> Alert | None:
    short = [each for each in living if each.pool_exhausted]
    if not short:
        return None
    times = sum(each.pool_exhausted for each in short)
    return Alert(
        key="database:pool",
        severity="warning",
        cause=f"{times} times within the minute no connection of the process's own pool came free in {timeout:g} s ({_kinds(short)})",
        impact="what found none was put back or answered with 503; nothing is lost",
        automatic="it is tried again; no process takes more connections than its pool has",
        action="beat db processes; where statements are not slow, raise BEAT_DATABASE_POOL_SIZE or run more processes",
    )


def _slow_claims(living: Sequence[Vitals]) -> Alert | None:
    slow = [each for each in living if each.claims >= FEW_CLAIMS and each.claim_p50 >= SLOW_CLAIM]
    if not slow:
        return None
    worst = max(each.claim_p50 for each in slow)
    return Alert(
        key="database:claims",
        severity="warning",
        cause=f"half of the work that is taken up has waited for more than {worst:.0f} s since it was handed over ({_kinds(slow)})",
        impact="everything takes longer; leases that are not taken up within 10 s go back to the broker, uncharged",
        automatic="nothing is lost; the broker gives out no more than may be in flight",
        action="beat queues and beat db processes say where it waits; run more workers, or mend the database",
    )


def _kinds(found: Sequence[Vitals]) -> str:
    """How many of each kind of process, and one of them."""
    counted = Counter(each.name for each in found)
    return (
        _list([f"{count} of {name}" for name, count in sorted(counted.items())]) + f"; {found[0].host}:{found[0].pid}"
    )


async def connections(database: Database) -> list[Alert]:
    """PostgreSQL's connections, when they are nearly used up."""
    found = await upkeep.connections(database)
    if found.used < found.most * CONNECTIONS_SHARE:
        return []
    return [
        Alert(
            key="connections:postgresql",
            severity="critical" if found.used >= found.most else "warning",
            cause=f"{found.used} of {found.most} connections of PostgreSQL are taken: "
            + _list([f"{each.name} {each.connections}" for each in found.clients]),
            impact="whoever finds none free waits, and the API answers 503",
            automatic="each process of Beat keeps to its own pool (BEAT_DATABASE_POOL_SIZE) and comes back by itself",
            action="beat db connections; end what is not Beat's, make pools smaller, or put PgBouncer before PostgreSQL",
        )
    ]


async def quarantined(database: Database) -> list[Alert]:
    """What was set aside and not dealt with: any poison or message, and payloads that came in numbers within the hour. Also calls that were
    refused in numbers within the hour, for a reason that no rule knows."""
    async with database.statements() as alone:
        rows = await alone.rows(QUARANTINE, {"sets": QUARANTINE_SETS, "most": QUARANTINE_COUNTED})
    return [
        Alert(
            key=f"quarantine:{row.kind}:{row.source}:{row.operation}",
            severity="warning",
            cause=f"{row.source} refused {row.of:,} calls of {row.operation} within an hour for a reason that Beat does not know, the last "
            f"with {row.error or 'no code'}",
            impact="these calls went to the next source; where none was left, their requests failed with the code refused",
            automatic="each source is asked twice at most for the same fetch; no credential is blamed",
            action="look at what it said: SELECT code, detail FROM trace_log WHERE outcome = 'refused' ORDER BY at DESC LIMIT 20; "
            "then add a rule to the source's error table",
            source=row.source,
        )
        if row.kind == "refused"
        else Alert(
            key=f"quarantine:{row.kind}:{row.source}:{row.operation}",
            severity="critical" if row.kind == "poison" else "warning",
            cause=f"{row.of:,}{' or more' if row.of == QUARANTINE_COUNTED else ''} {row.kind} in quarantine ({row.platform} {row.source} {row.operation}): {row.error[:200]}",
            impact="the requests that these belong to went on with other sources, or failed with this reason",
            automatic="each was set aside with its payload; its neighbours were not harmed",
            action="beat quarantine; once it is dealt with, beat quarantine resolve",
            source=None if row.source == "-" else row.source,
        )
        for row in rows
    ]


async def partitions(database: Database) -> list[Alert]:
    """Tables of which rows came into the default partition, because their day had none."""
    async with database.statements() as alone:
        rows = await alone.rows(IN_DEFAULT)
    return [
        Alert(
            key=f"partition:{row.parent}",
            severity="warning",
            cause=f"{row.held:,} rows of {row.parent} lie in its default partition (of {row.since} to {row.until})",
            impact="nothing is lost; they are read more slowly, and their day is not dropped as a whole",
            automatic="each ten minutes their days get partitions and they are moved; past retention they are deleted",
            action="see that a scheduler runs; SELECT error FROM sweep WHERE name = 'partitions' says what stands in the way",
        )
        for row in rows
    ]


def redis(info: Mapping[str, Any] | None) -> list[Alert]:
    """Redis, by what it says of itself: away (`None`), or near the memory that it may take."""
    if info is None:
        return [
            Alert(
                key="redis:away",
                severity="critical",
                cause="Redis does not answer the scheduler",
                impact="no message is sent, so work stands still; on-demand requests are refused with 503; none is lost",
                automatic="what was not sent is sent when it is back, and what was lost with it is sent again from the rows",
                action="start Redis, or see that BEAT_REDIS_URL reaches it: beat doctor",
            )
        ]
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    severity = next((severity for share, severity in MEMORY_LEVELS if most and used >= most * share), None)
    if severity is None:
        return []
    return [
        Alert(
            key="redis:memory",
            severity=severity,
            cause=f"Redis uses {used >> 20} of the {most >> 20} MB that it may",
            impact="at the limit it takes no message, and work stands still",
            automatic="messages are hints of a few bytes each: what was not sent is sent later, from the rows",
            action="raise maxmemory; beat queues says what lies there, dead letters among it",
        )
    ]


def workers(listening: int) -> list[Alert]:
    """Worker processes, when there is none."""
    if listening:
        return []
    return [
        Alert(
            key="workers:none",
            severity="critical",
            cause="no worker listens",
            impact="requests are accepted and wait; none is lost",
            automatic="they go on as soon as a worker runs",
            action="start workers: beat up, or python -m actors; see that they reach Redis: beat doctor",
        )
    ]


WATCHES = (
    Watch(SOURCE_RULE, sources_down),
    Watch("parser", unreadable),
    Watch("owners", owners_out),
    Watch("credential", credentials_in_trouble),
    Watch("credentials", credentials_out),
    Watch("quota", quotas, every=60),
    Watch("limit", limits, every=60),
    Watch("backlog", backlog),
    Watch("sweep", late_sweeps),
    Watch("claims", standstill),
    Watch("waiting", waiting),
    Watch("database", slow_database, every=30),
    Watch("process", processes_in_trouble, every=45),
    Watch("connections", connections),
    Watch("quarantine", quarantined),
    Watch("webhook", webhooks.in_trouble, every=30),
    Watch("partition", partitions, every=60),
)


def _alone(platform: str, source: str, operations: Sequence[str]) -> bool:
    """Whether some of these operations have no other source."""
    chains = platforms()[platform].chains if platform in platforms() else {}
    return any(chains.get(operation) == (source,) for operation in operations)


def _impact(platform: str, source: str, operations: Sequence[str]) -> str:
    chains = platforms()[platform].chains if platform in platforms() else {}
    only = [operation for operation in operations if chains.get(operation) == (source,)]
    if only:
        return (
            f"{_list(only)} of {platform} have no other source: they wait, and the last known data is served as stale"
        )
    return f"{platform} goes on with the other sources of {_list(operations)}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
