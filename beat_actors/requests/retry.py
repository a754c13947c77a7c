"""Running again what failed or was cancelled: the same request, with fetches anew. What an earlier run still has under way counts
no more; where the same work is in flight, the request joins it."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import psycopg

from beat_actors import audit
from beat_actors.access import grants
from beat_actors.access.scopes import Scope
from beat_actors.database import Database, Transaction, jsonb
from beat_actors.errors import BadInput, BeatError, Conflict, Forbidden, NotFound, StorageUnavailable
from beat_actors.fetches.lanes import lane_ids
from beat_actors.requests.intake import NewRequest, Prepared, Priority, prepare, resumed
from beat_actors.requests.open_requests import Tenant
from beat_actors.requests.queries import Filter, cursor_after, newest_first

RETRYABLE = ("FAILED", "CANCELLED")
MAX_RETRIES = 1000
ROUNDS = 5
"""Tries of a transaction that lost a race: each time, somebody else began the same work."""

LOCK = """
SELECT id, platform, flow, params, status, priority, account_id, expires_at, apart, live, retry_count
FROM scrape_request_log WHERE id = ANY(%s) AND (%s::text IS NULL OR account_id = %s) ORDER BY id FOR NO KEY UPDATE
"""
# The rows are locked, ended, and have no fetches that count. A deadline that has passed is gone: it was the last run's.
RETRY = """
WITH input AS MATERIALIZED (
    SELECT i.*, decode(i.work_hex, 'hex') AS work, CASE WHEN i.expires_at > clock_timestamp() THEN i.expires_at END AS deadline
    FROM jsonb_to_recordset(%s::jsonb) AS i(
        id bigint, params jsonb, priority smallint, expires_at timestamptz, work_hex text, apart boolean, platform text,
        lane_id integer, operation text, fetch_params jsonb, cursor_source text, owner text)
), flying AS MATERIALIZED (
    SELECT id, work, picked_at, priority, expires_at FROM scrape_request_log
    WHERE work = ANY(ARRAY(SELECT work FROM input WHERE NOT apart)) AND live AND NOT apart ORDER BY id FOR NO KEY UPDATE
), plan AS MATERIALIZED (
    SELECT i.*, f.picked_at, f.id IS NOT NULL AS flies, nullif(coalesce(f.id, min(i.id) OVER alike), i.id) AS joined_to,
           count(*) OVER alike AS alike, min(i.priority) OVER alike AS urgency,
           first_value(lane_id) OVER (alike ORDER BY i.priority) AS urgent_lane,
           CASE WHEN bool_and(deadline IS NOT NULL) OVER alike THEN max(deadline) OVER alike END AS last_deadline,
           i.priority < f.priority OR (f.expires_at IS NOT NULL AND coalesce(i.deadline > f.expires_at, true)) AS urges
    FROM input i LEFT JOIN flying f ON f.work = i.work AND NOT i.apart
    WINDOW alike AS (PARTITION BY i.work, CASE WHEN i.apart THEN i.id END)
), again AS (
    UPDATE scrape_request_log r SET
        status = CASE WHEN p.picked_at IS NULL THEN 'PENDING' ELSE 'PROCESSING' END, picked_at = p.picked_at,
        retry_count = r.retry_count + 1, params = p.params, work = p.work, expires_at = p.deadline, joined_to = p.joined_to,
        live = p.joined_to IS NULL, open_fetches = (p.joined_to IS NULL)::integer,
        waiters = CASE WHEN p.joined_to IS NULL THEN p.alike - 1 ELSE 0 END,
        priority = CASE WHEN p.joined_to IS NULL THEN p.urgency ELSE r.priority END,
        scraped_at = NULL, observed_at = NULL, collected_at = NULL, items = 0, data = NULL, work_data = NULL
    FROM plan p WHERE r.id = p.id RETURNING r.id, r.retry_count, r.account_id, r.api_key_id
), fetched AS (
    INSERT INTO scrape_fetch (request_id, run, lane_id, platform, operation, params, cursor_source, priority, expires_at, owner, tenant)
    SELECT p.id, a.retry_count, urgent_lane, platform, operation, fetch_params, cursor_source, urgency, last_deadline, owner,
           beat_tenant(a.account_id, a.api_key_id)
    FROM plan p JOIN again a USING (id) WHERE p.joined_to IS NULL ORDER BY p.id
), counted AS (
    UPDATE scrape_request_log r SET waiters = r.waiters + c.n, priority = least(r.priority, c.urgency)
    FROM (SELECT joined_to, count(*)::integer AS n, min(priority) AS urgency FROM plan WHERE flies GROUP BY 1) c WHERE r.id = c.joined_to
)
SELECT p.id, p.flies AND p.urges AND beat_urge(p.joined_to, p.priority, p.deadline) AS urged FROM plan p JOIN again USING (id)
"""


@dataclass(frozen=True, slots=True)
class Retried:
    """One request: it runs again where there is no `error`."""

    id: int
    platform: str
    error: BeatError | None = None


@dataclass(frozen=True, slots=True)
class Many:
    """What was retried, and the cursor from which more may match."""

    outcomes: list[Retried]
    next_cursor: str | None


async def retry(
    database: Database, request_id: int, *, account_id: str | None = None, actor: str | None = None, urgent: bool = True
) -> Retried:
    """Run one request again. Ring the broker of its platform afterwards. `actor`: whose doing it is, for the audit log. `urgent`: the
    priority customer may be asked for.

    Raises `NotFound`, also for one that is not this account's where one is named, `Conflict` for one that cannot run again, and
    `Forbidden` for one of the priority customer without `urgent`.
    """
    outcomes = await retry_all(database, [request_id], account_id=account_id, actor=actor, urgent=urgent)
    if not outcomes:
        raise NotFound(f"there is no request {request_id}")
    if outcomes[0].error is not None:
        raise outcomes[0].error
    return outcomes[0]


async def retry_matching(
    database: Database,
    wanted: Filter,
    *,
    limit: int = MAX_RETRIES,
    actor: str | None = None,
    urgent: bool = True,
    room: Callable[[Iterable[Tenant]], AbstractAsyncContextManager[None]] | None = None,
) -> Many:
    """Run again what matches, the newest first and `limit` at most; of FAILED requests, unless the filter names CANCELLED.

    `room`: is entered with the tenants of the requests, one for each, and raises where one of them may have no more open requests.
    """
    if wanted.status not in RETRYABLE:
        raise BadInput(f"what can be retried is {' or '.join(RETRYABLE)}", field="status")
    if not 1 <= limit <= MAX_RETRIES:
        raise BadInput(f"limit is 1 to {MAX_RETRIES}", field="limit")
    async with database.statements() as alone:
        rows = await alone.select(newest_first(wanted).limit(limit + 1))
    ids = [row.id for row in rows]
    tenants = [(row.account_id, row.api_key_id) for row in rows[:limit]]
    async with nullcontext() if room is None else room(tenants):
        outcomes = await retry_all(database, ids[:limit], account_id=wanted.account_id, actor=actor, urgent=urgent)
    return Many(outcomes, cursor_after(ids[limit - 1]) if len(ids) > limit else None)


async def retry_all(
    database: Database,
    ids: Sequence[int],
    *,
    account_id: str | None = None,
    actor: str | None = None,
    urgent: bool = True,
) -> list[Retried]:
    """Run these requests again, those of this account if one is named; an outcome for each that exists, in the order of the ids.

    Without `urgent` the outcome of a request with the priority customer is a `Forbidden`.
    """
    for _ in range(ROUNDS):
        try:
            async with database.transaction() as transaction:
                outcomes = await _retry(transaction, ids, account_id, urgent)
                again = [one.id for one in outcomes if one.error is None]
                if actor is not None and again:
                    target = f"request/{again[0]}" if len(ids) == 1 else "request"
                    detail = {"ids": again}
                    await audit.record(transaction, actor=actor, action="request.retry", target=target, detail=detail)
                return outcomes
        except psycopg.errors.UniqueViolation:
            continue  # the same work was begun while this ran; now it can be joined
    raise StorageUnavailable(f"the retry lost {ROUNDS} races against others for the same work")


async def _retry(transaction: Transaction, ids: Sequence[int], account_id: str | None, urgent: bool) -> list[Retried]:
    rows = await transaction.rows(LOCK, (list(ids), account_id, account_id))
    errors: dict[int, BeatError] = {}
    prepared: dict[int, Prepared] = {}
    for row in rows:
        try:
            prepared[row.id] = await resumed(transaction, _prepared(row, urgent))
        except BeatError as error:
            errors[row.id] = error
    refused = await grants.missing(transaction, (item.use for item in prepared.values() if item.use is not None))
    for number in [number for number, item in prepared.items() if item.use in refused]:
        use = prepared.pop(number).use
        assert use is not None
        errors[number] = grants.refusal(use)
    lanes = await lane_ids(transaction, {item.lane for item in prepared.values()})
    again = [
        {
            "id": row.id,
            "params": item.params,
            "priority": row.priority,
            "expires_at": row.expires_at,
            "work_hex": item.work.hex(),
            "apart": row.apart,
            "platform": row.platform,
            "lane_id": lanes[item.lane],
            "operation": item.first.operation,
            "fetch_params": item.first.params,
            "cursor_source": item.first.source,
            "owner": item.first.owner,
        }
        for row in rows
        if (item := prepared.get(row.id)) is not None
    ]
    if again:
        await transaction.rows(RETRY, (jsonb(again),))
    return [Retried(row.id, row.platform, errors.get(row.id)) for row in rows]


def _prepared(row: Any, urgent: bool) -> Prepared:
    """Raises `Conflict` for what cannot run again, `Forbidden` for what is too urgent, `BadInput` for what its platform no longer takes."""
    if row.priority == Priority.CUSTOMER and not urgent:
        raise Forbidden(
            f"request {row.id} has the priority customer, and its retry needs a key with the scope urgent; ask for the same with POST and standard",
            scope=Scope.URGENT,
        )
    if row.status not in RETRYABLE:
        raise Conflict(
            f"request {row.id} is {row.status}; what FAILED or was CANCELLED can be retried, all else asked for with `force`"
        )
    if row.live:
        raise Conflict(
            f"the work of request {row.id} goes on for others that wait for it; ask for the same with POST to join it"
        )
    return prepare(
        NewRequest(row.platform, row.flow, row.params, Priority(row.priority), row.account_id, force=row.apart)
    )
