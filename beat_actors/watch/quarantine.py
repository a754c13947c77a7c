"""What was set aside, and calls that were refused for reasons unknown."""

from beat_actors.alerts import Alert
from beat_actors.database import Database

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
