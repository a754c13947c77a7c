"""How fetches and requests end: one place that every stage and the broker go through, a batch in one statement.

A request that is `live` has fetches that somebody wants: itself, or the requests that joined it (`joined_to`), which have none of
their own. It may end for itself, cancelled or past its deadline, while its fetches go on for the others.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from beat_actors.database import Transaction, jsonb
from beat_actors.requests.follow_ups import stands_apart, those_beside


@dataclass(frozen=True, slots=True)
class Closing:
    """One fetch of a request's `run` has ended: it adds `added` fetches and `items` records, as they were at `observed_at`.

    `error` fails the request once its last fetch has ended; `partial` is what a request may complete without.
    """

    request_id: int
    run: int
    added: int = 0
    items: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    observed_at: datetime | None = None


TOLD = "id, platform, flow, status, account_id, retry_count, tags, data"
# An event for each of the rows with the columns of `TOLD`: every request's end is told, in the statement that ends it.
TELL = """INSERT INTO outbox_event (event_id, type, subject, data)
    SELECT md5('request ' || id || ' ' || status || ' ' || retry_count)::uuid, 'beat.scrape_request.' || lower(status),
           'scrape_request/' || id, jsonb_build_object('id', id, 'platform', platform, 'flow', flow, 'status', status,
               'account_id', account_id, 'tags', tags, 'data', data)
    FROM"""

# Idempotent by its caller: the fetch's own transition, in the same transaction, happens once. A request that was cancelled
# or has expired meanwhile is left as it is; what its fetches come to is for those that joined it, if there are any.
#
# Locks are taken in one order everywhere, so that batches never deadlock: fetches, then the requests that have them in the order
# of their ids, then those that joined. The latter change only while the one that they joined is locked.
CLOSE = f"""
WITH closing AS (
    SELECT request_id, run, count(*)::integer AS closed, sum(added)::integer AS added, sum(items)::integer AS items,
           min(observed_at) AS observed_at,
           (array_agg(data ORDER BY data ? 'error'))[1] || coalesce((array_agg(data) FILTER (WHERE data ? 'partial'))[1], '{{}}')
               || coalesce((array_agg(data) FILTER (WHERE data ? 'error'))[1], '{{}}') AS data
    FROM jsonb_to_recordset(%(closings)s::jsonb) AS c(
        request_id bigint, run integer, added integer, items integer, data jsonb, observed_at timestamptz)
    GROUP BY request_id, run
), locked AS (
    SELECT r.id, r.status IN ('PENDING', 'PROCESSING') AS waits FROM scrape_request_log r JOIN closing c ON r.id = c.request_id
    WHERE r.live AND r.retry_count = c.run ORDER BY r.id FOR NO KEY UPDATE OF r
), closed AS (
    UPDATE scrape_request_log r SET
        open_fetches = r.open_fetches - c.closed + c.added,
        live = r.open_fetches - c.closed + c.added > 0,
        items = r.items + c.items,
        observed_at = least(r.observed_at, c.observed_at),
        data = CASE WHEN l.waits THEN coalesce(r.data, '{{}}') || c.data || jsonb_build_object('items', r.items + c.items)
                    ELSE r.data END,
        work_data = CASE WHEN l.waits THEN NULL
                         ELSE coalesce(r.work_data, '{{}}') || c.data || jsonb_build_object('items', r.items + c.items) END,
        status = CASE WHEN NOT l.waits OR r.open_fetches - c.closed + c.added > 0 THEN r.status
                      WHEN (coalesce(r.data, '{{}}') || c.data) ? 'error' THEN 'FAILED' ELSE 'COMPLETE' END,
        scraped_at = CASE WHEN NOT l.waits OR r.open_fetches - c.closed + c.added > 0 THEN r.scraped_at ELSE clock_timestamp() END
    FROM closing c, locked l WHERE r.id = c.request_id AND r.id = l.id AND r.retry_count = c.run
    RETURNING r.{TOLD.replace(", ", ", r.")}, l.waits AND NOT r.live AS ended, NOT r.live AND r.waiters > 0 AS awaited
), event AS (
    {TELL} closed WHERE ended
)
SELECT id, status, ended, awaited FROM closed WHERE ended OR awaited
"""  # noqa: S608 - put together from the constants above
# What joined ends with what it joined, as that would have: a statement of its own, because a request may have joined after the
# one before began, and it is the lock that tells. The counter on the locked row says whether there is any.
CLOSE_JOINED = f"""
WITH work AS (
    SELECT id, items, observed_at, coalesce(work_data, data) AS data FROM scrape_request_log WHERE id = ANY(%(ids)s)
), waiting AS (
    SELECT id FROM scrape_request_log WHERE joined_to = ANY(%(ids)s) AND status IN ('PENDING', 'PROCESSING')
    ORDER BY joined_to, id FOR NO KEY UPDATE
), closed AS (
    UPDATE scrape_request_log r SET status = CASE WHEN work.data ? 'error' THEN 'FAILED' ELSE 'COMPLETE' END,
        scraped_at = clock_timestamp(), items = work.items, observed_at = work.observed_at, data = work.data
    FROM waiting, work WHERE r.id = waiting.id AND work.id = r.joined_to
    RETURNING r.{TOLD.replace(", ", ", r.")}
), event AS (
    {TELL} closed
)
SELECT id, status FROM closed
"""  # noqa: S608 - as above

LOCK_FETCHES = """
SELECT f.id FROM scrape_fetch f JOIN (
    SELECT DISTINCT coalesce(joined_to, id) AS id FROM scrape_request_log WHERE id = ANY(%s) AND status IN ('PENDING', 'PROCESSING')
) r ON f.request_id = r.id WHERE f.stage = 'WAITING' ORDER BY f.id FOR NO KEY UPDATE OF f
"""
LOCK_REQUESTS = """
SELECT r.id FROM scrape_request_log r WHERE (r.id = ANY(%(ids)s) AND r.status IN ('PENDING', 'PROCESSING')) OR r.id = ANY(ARRAY(
    SELECT joined_to FROM scrape_request_log WHERE id = ANY(%(ids)s) AND status IN ('PENDING', 'PROCESSING')))
ORDER BY coalesce(r.joined_to, r.id), r.joined_to IS NOT NULL, r.id FOR NO KEY UPDATE
"""
# What waits never runs, once nobody wants it. A call that is out was paid for: what it brings is kept.
END = f"""
WITH target AS MATERIALIZED (
    SELECT id, joined_to FROM scrape_request_log
    WHERE id = ANY(%(ids)s) AND status IN ('PENDING', 'PROCESSING') AND (%(account_id)s::text IS NULL OR account_id = %(account_id)s)
      AND (NOT %(late)s OR expires_at <= clock_timestamp())
), leaving AS (
    SELECT joined_to AS id, count(*)::integer AS n FROM target WHERE joined_to IS NOT NULL GROUP BY 1
), changed AS (
    UPDATE scrape_request_log r SET
        status = CASE WHEN t.id IS NULL THEN r.status ELSE %(status)s END,
        scraped_at = CASE WHEN t.id IS NULL THEN r.scraped_at ELSE clock_timestamp() END,
        data = CASE WHEN t.id IS NULL THEN r.data ELSE coalesce(r.data, '{{}}') || jsonb_build_object('error', %(error)s::jsonb
            || CASE WHEN %(late)s THEN jsonb_build_object('expires_at', r.expires_at) ELSE '{{}}' END) END,
        work_data = CASE WHEN t.id IS NULL THEN r.work_data ELSE r.data END,
        waiters = r.waiters - coalesce(l.n, 0),
        live = r.live AND ((t.id IS NULL AND r.status IN ('PENDING', 'PROCESSING')) OR r.waiters > coalesce(l.n, 0))
    FROM (SELECT id FROM target UNION SELECT id FROM leaving) a LEFT JOIN target t USING (id) LEFT JOIN leaving l USING (id)
    WHERE r.id = a.id
    RETURNING r.{TOLD.replace(", ", ", r.")}, r.live, t.id IS NOT NULL AS ended
), cancelled AS (
    UPDATE scrape_fetch f SET stage = 'CANCELLED' FROM changed c WHERE f.request_id = c.id AND NOT c.live AND f.stage = 'WAITING'
), event AS (
    {TELL} changed WHERE ended
)
SELECT id FROM changed WHERE ended ORDER BY id
"""  # noqa: S608 - as above

# What goes on has the last deadline of those who still wait. Whoever joined may not have lifted it, because the fetch was just being moved
# (`beat_urge` waits for nobody, and nor does this): past the deadline of one that left, it would never be claimed.
DATE = """
WITH wanted AS (
    SELECT w.id, CASE WHEN bool_and(r.expires_at IS NOT NULL) THEN max(r.expires_at) END AS deadline
    FROM scrape_request_log w JOIN scrape_request_log r ON (r.id = w.id OR r.joined_to = w.id) AND r.status IN ('PENDING', 'PROCESSING')
    WHERE w.id = ANY(ARRAY(SELECT coalesce(joined_to, id) FROM scrape_request_log WHERE id = ANY(%s))) AND w.live GROUP BY w.id
), dated AS (
    SELECT f.id, w.deadline FROM scrape_fetch f JOIN wanted w ON f.request_id = w.id
    WHERE f.stage <> ALL ('{DONE,FAILED,CANCELLED}') AND f.expires_at IS DISTINCT FROM w.deadline ORDER BY f.id FOR NO KEY UPDATE OF f SKIP LOCKED
)
UPDATE scrape_fetch f SET expires_at = dated.deadline FROM dated WHERE f.id = dated.id RETURNING f.platform
"""

# What was read goes with it: a replay reads the payload again.
FAIL_FETCHES = """
UPDATE scrape_fetch f SET stage = 'FAILED', lease_until = NULL, waiting_for = NULL, records = NULL, error = i.error
FROM jsonb_to_recordset(%s::jsonb) AS i(id bigint, error jsonb), lane l
WHERE f.id = i.id AND f.stage = ANY(%s) AND l.id = f.lane_id
RETURNING f.id, f.request_id, f.run, f.is_first, f.error, f.platform, l.flow
"""

# A follow-up that finds nothing, or nothing public, leaves the request complete with what it has.
SOFT = frozenset({"missing", "private"})
APART = frozenset({"refused", "bad_request", "malformed", "poison"})
"""How a fetch fails, beside these, that harms none of those that stand beside it."""


async def close(transaction: Transaction, closings: Sequence[Closing]) -> list[Any]:
    """Count ended fetches off their requests; returns (id, status) of the requests that ended with them."""
    if not closings:
        return []
    rows = [
        {
            "request_id": item.request_id,
            "run": item.run,
            "added": item.added,
            "items": item.items,
            "data": item.data,
            "observed_at": item.observed_at,
        }
        for item in closings
    ]
    closed = await transaction.rows(CLOSE, {"closings": jsonb(rows)})
    awaited = [row.id for row in closed if row.awaited]
    joined = await transaction.rows(CLOSE_JOINED, {"ids": awaited}) if awaited else []
    return [(row.id, row.status) for row in closed if row.ended] + [(row.id, row.status) for row in joined]


async def cancel(
    transaction: Transaction, ids: Collection[int], *, reason: str, account_id: str | None = None
) -> list[int]:
    """End these requests, of this account if one is named, as CANCELLED where they have not ended; the ids that did.

    Fetches that another request waits for go on.
    """
    return await _end(transaction, ids, "CANCELLED", {"code": "cancelled", "message": reason}, account_id=account_id)


async def expire(transaction: Transaction, ids: Collection[int]) -> list[int]:
    """End those of these requests whose deadline has passed, as FAILED; the ids that did."""
    error = {"code": "expired", "message": "its deadline passed before it could be completed"}
    return await _end(transaction, ids, "FAILED", error, late=True)


async def _end(
    transaction: Transaction,
    ids: Collection[int],
    status: str,
    error: dict[str, Any],
    *,
    account_id: str | None = None,
    late: bool = False,
) -> list[int]:
    named = sorted(ids)
    await transaction.rows(LOCK_FETCHES, (named,))
    await transaction.rows(LOCK_REQUESTS, {"ids": named})
    values = {"ids": named, "status": status, "error": jsonb(error), "account_id": account_id, "late": late}
    ended = [row.id for row in await transaction.rows(END, values)]
    if ended:
        await date(transaction, ended)
    return ended


async def date(transaction: Transaction, request_ids: Sequence[int]) -> set[str]:
    """Give the open fetches of these requests, or of those that they joined, the last deadline of whoever still waits; their platforms."""
    return {row.platform for row in await transaction.rows(DATE, (list(request_ids),))}


async def fail_fetches(
    transaction: Transaction, errors: Sequence[tuple[int, dict[str, Any]]], *, stages: Sequence[str]
) -> list[Any]:
    """End these fetches (id, error) as FAILED if they are still in one of `stages`, and what follows for their requests."""
    if not errors:
        return []
    rows = jsonb([{"id": fetch_id, "error": error} for fetch_id, error in errors])
    failed = await transaction.rows(FAIL_FETCHES, (rows, list(stages)))
    apart = {row.id for row in failed if row.error.get("code") in APART and stands_apart(row.platform, row.flow)}
    beside = await those_beside(transaction, [row.id for row in failed if row.is_first and row.id in apart])
    closings = [
        Closing(row.request_id, row.run, beside.get(row.id, 0), data=_consequence(row, apart=row.id in apart))
        for row in failed
    ]
    return await close(transaction, closings)


def _consequence(row: Any, *, apart: bool) -> dict[str, Any]:
    soft = apart or (not row.is_first and row.error.get("code") in SOFT)
    return {"partial": row.error} if soft else {"error": row.error}
