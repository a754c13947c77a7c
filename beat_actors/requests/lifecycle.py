"""How fetches and requests end: one place that every stage and the broker go through, a batch in one statement."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from beat_actors.database import Transaction, jsonb

SUSPECT = 3
"""Tries of a stage after which a fetch is sent and claimed alone: it may be what kills the workers."""


@dataclass(frozen=True, slots=True)
class Closing:
    """One fetch of a request has ended: it adds `added` fetches and `items` records.

    `error` fails the request once its last fetch has ended; `partial` is what a request may complete without.
    """

    request_id: int
    added: int = 0
    items: int = 0
    data: dict[str, Any] = field(default_factory=dict)


# Idempotent by its caller: the fetch's own transition, in the same transaction, happens once. A request that was cancelled
# or has expired meanwhile is left as it is. Requests are locked in the order of their ids, so that batches never deadlock.
CLOSE = """
WITH closing AS (
    SELECT request_id, count(*)::integer AS closed, sum(added)::integer AS added, sum(items)::integer AS items,
           (array_agg(data ORDER BY data ? 'error'))[1] || coalesce((array_agg(data) FILTER (WHERE data ? 'error'))[1], '{}') AS data
    FROM jsonb_to_recordset(%(closings)s::jsonb) AS c(request_id bigint, added integer, items integer, data jsonb)
    GROUP BY request_id
), locked AS (
    SELECT r.id FROM scrape_request_log r JOIN closing c ON r.id = c.request_id
    WHERE r.status IN ('PENDING', 'PROCESSING') ORDER BY r.id FOR UPDATE OF r
), ended AS (
    UPDATE scrape_request_log r SET
        open_fetches = r.open_fetches - c.closed + c.added,
        items = r.items + c.items,
        data = coalesce(r.data, '{}') || c.data || jsonb_build_object('items', r.items + c.items),
        status = CASE WHEN r.open_fetches - c.closed + c.added > 0 THEN r.status
                      WHEN (coalesce(r.data, '{}') || c.data) ? 'error' THEN 'FAILED' ELSE 'COMPLETE' END,
        scraped_at = CASE WHEN r.open_fetches - c.closed + c.added > 0 THEN NULL ELSE clock_timestamp() END
    FROM closing c, locked WHERE r.id = c.request_id AND r.id = locked.id
    RETURNING r.id, r.platform, r.flow, r.status, r.account_id, r.retry_count, r.data
), event AS (
    INSERT INTO outbox_event (event_id, type, subject, data)
    SELECT md5('request ' || id || ' ' || status || ' ' || retry_count)::uuid, 'beat.scrape_request.' || lower(status), 'scrape_request/' || id,
           jsonb_build_object('id', id, 'platform', platform, 'flow', flow, 'status', status, 'account_id', account_id, 'data', data)
    FROM ended WHERE status IN ('COMPLETE', 'FAILED')
)
SELECT id, status FROM ended WHERE status IN ('COMPLETE', 'FAILED')
"""

# What waits never runs. A call that is out was paid for: what it brings is kept, and adds nothing to the request.
CANCEL = """
WITH ended AS (
    UPDATE scrape_request_log SET status = 'CANCELLED', scraped_at = clock_timestamp(),
        data = coalesce(data, '{}') || jsonb_build_object('error', jsonb_build_object('code', 'cancelled', 'message', %(reason)s::text))
    WHERE id = ANY(%(ids)s) AND status IN ('PENDING', 'PROCESSING') AND (%(account_id)s::text IS NULL OR account_id = %(account_id)s)
    RETURNING id, platform, flow, account_id, retry_count, data
), cancelled AS (
    UPDATE scrape_fetch f SET stage = 'CANCELLED' FROM ended WHERE f.request_id = ended.id AND f.stage = 'WAITING'
), event AS (
    INSERT INTO outbox_event (event_id, type, subject, data)
    SELECT md5('request ' || id || ' CANCELLED ' || retry_count)::uuid, 'beat.scrape_request.cancelled', 'scrape_request/' || id,
           jsonb_build_object('id', id, 'platform', platform, 'flow', flow, 'status', 'CANCELLED', 'account_id', account_id, 'data', data)
    FROM ended
)
SELECT id FROM ended
"""

FAIL_FETCHES = """
UPDATE scrape_fetch f SET stage = 'FAILED', lease_until = NULL, waiting_for = NULL, error = i.error
FROM jsonb_to_recordset(%s::jsonb) AS i(id bigint, error jsonb)
WHERE f.id = i.id AND f.stage = ANY(%s)
RETURNING f.id, f.request_id, f.is_first, f.error
"""

# A follow-up that finds nothing, or nothing public, leaves the request complete with what it has.
SOFT = frozenset({"missing", "private"})


async def close(transaction: Transaction, closings: Sequence[Closing]) -> list[Any]:
    """Count ended fetches off their requests; returns (id, status) of the requests that ended with them."""
    if not closings:
        return []
    rows = [
        {"request_id": item.request_id, "added": item.added, "items": item.items, "data": item.data}
        for item in closings
    ]
    return await transaction.rows(CLOSE, {"closings": jsonb(rows)})


async def cancel(
    transaction: Transaction, ids: Collection[int], *, reason: str, account_id: str | None = None
) -> list[int]:
    """End these requests, of this account if one is named, as CANCELLED where they have not ended; the ids that did."""
    values = {"ids": sorted(ids), "reason": reason, "account_id": account_id}
    return [row.id for row in await transaction.rows(CANCEL, values)]


async def fail_fetches(
    transaction: Transaction, errors: Sequence[tuple[int, dict[str, Any]]], *, stages: Sequence[str]
) -> list[Any]:
    """End these fetches (id, error) as FAILED if they are still in one of `stages`, and what follows for their requests."""
    if not errors:
        return []
    rows = jsonb([{"id": fetch_id, "error": error} for fetch_id, error in errors])
    failed = await transaction.rows(FAIL_FETCHES, (rows, list(stages)))
    return await close(transaction, [Closing(row.request_id, data=_consequence(row)) for row in failed])


def _consequence(row: Any) -> dict[str, Any]:
    soft = not row.is_first and row.error.get("code") in SOFT
    return {"partial": row.error} if soft else {"error": row.error}
