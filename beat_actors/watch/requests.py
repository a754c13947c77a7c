"""Work that waits long or stands still, and sweeps that are late."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

from beat_actors.alerts import Alert
from beat_actors.database import Database
from beat_actors.requests.intake import Priority
from beat_actors.watch.rule import listed

BACKLOG_OPENS = 50_000
BACKLOG_RESOLVES = 40_000
IDLE_BROKER = 10
"""Seconds without a turn, while work is ready, after which the broker is said to stand still."""
LONG_WAIT = 600
"""Seconds for which a request that is no batch work may wait before somebody is told."""
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
        listed([f"{reason['source']}: {reason['why']}" for reason in reasons or []])
        or "nothing known stands in its way"
    )
