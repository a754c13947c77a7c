"""Accepting requests: validate, then insert request and first fetch in one statement. What is returned is committed truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import Any

import msgspec

from beat_actors.database import Database, Transaction, jsonb
from beat_actors.errors import BadInput
from beat_actors.platforms.interface import FetchSpec, Flow, Platform, Resume
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.requests.lanes import LaneKey, lane_ids
from beat_actors.text import check_text

MAX_TEXT = 2_000


class Priority(IntEnum):
    """Strict classes; a lower number goes first."""

    CUSTOMER = 1
    STANDARD = 2
    BATCH = 3

    @classmethod
    def named(cls, name: str) -> "Priority":
        try:
            return cls[name.upper()]
        except KeyError:
            raise BadInput(f"priority is customer, standard or batch, not {name!r}", field="priority") from None


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request as a consumer words it; `prepare` checks it.

    `on_demand`: it was taken from the limits of on-demand requests. `deferred_to`: it is not begun before, because of `waiting_for`.
    """

    platform: str
    flow: str
    params: Mapping[str, Any]
    priority: Priority = Priority.STANDARD
    account_id: str | None = None
    idempotency_key: str | None = None
    expires_at: datetime | None = None
    api_key_id: int | None = None
    """The key that it was asked with; `None` where it was asked on the machine itself."""
    on_demand: bool = False
    deferred_to: datetime | None = None
    waiting_for: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """`created` is false where the idempotency key had been used for the same request before."""

    id: int
    created: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    request: NewRequest
    params: dict[str, Any]
    first: FetchSpec
    lane: LaneKey
    resume: Resume | None
    worded: dict[str, Any] | None = None
    """The parameters before what was left open was filled in; `None` where nothing is."""


# The ids are drawn first, so that request and fetch go in together; a repeated idempotency key inserts neither.
# What is deferred begins to wait, and to grow older than its neighbours, when its time has come.
SUBMIT = """
WITH input AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('scrape_request_log', 'id')) AS id, i.*
    FROM jsonb_to_recordset(%s::jsonb) AS i(
        n integer, platform text, flow text, params jsonb, priority smallint, account_id text, idempotency_key text,
        expires_at timestamptz, api_key_id bigint, lane_id integer, operation text, fetch_params jsonb, cursor_source text, owner text,
        on_demand boolean, not_before timestamptz, waiting_for text)
), request AS (
    INSERT INTO scrape_request_log (
        id, platform, flow, params, priority, account_id, idempotency_key, expires_at, api_key_id, on_demand)
    OVERRIDING SYSTEM VALUE
    SELECT id, platform, flow, params, priority, account_id, idempotency_key, expires_at, api_key_id, on_demand FROM input ORDER BY n
    ON CONFLICT (coalesce(account_id, ''), idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id
), fetched AS (
    INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, cursor_source, priority, expires_at, owner,
                              not_before, waiting_for, created_at)
    SELECT id, lane_id, platform, operation, fetch_params, cursor_source, priority, expires_at, owner,
           not_before, waiting_for, coalesce(not_before, clock_timestamp())
    FROM input JOIN request USING (id) ORDER BY n
)
SELECT input.n, request.id FROM input LEFT JOIN request USING (id)
"""

EARLIER = """
SELECT i.n, r.id, r.platform = i.platform AND r.flow = i.flow AND (r.params = i.params OR r.params @> i.worded) AS same
FROM jsonb_to_recordset(%s::jsonb) AS i(
    n integer, platform text, flow text, params jsonb, worded jsonb, account_id text, idempotency_key text)
JOIN scrape_request_log r ON coalesce(r.account_id, '') = coalesce(i.account_id, '') AND r.idempotency_key = i.idempotency_key
"""


def prepare(request: NewRequest) -> Prepared:
    """Check one request against its platform and flow. Raises `BadInput` and its kinds."""
    for name, value in (("account_id", request.account_id), ("idempotency_key", request.idempotency_key)):
        if value is not None:
            check_text(value, name, longest=255, one_line=True)
    if request.expires_at is not None and request.expires_at.tzinfo is None:
        raise BadInput("expires_at needs a time zone, such as 2030-01-31T12:00:00Z", field="expires_at")
    platform = platform_named(request.platform)
    flow = platform.flow(request.flow)
    for name, value in request.params.items():
        if isinstance(value, str):
            check_text(value, f"params.{name}", longest=MAX_TEXT)
    return _with_params(request, platform, flow, request.params)


def _with_params(request: NewRequest, platform: Platform, flow: Flow, params: Mapping[str, Any]) -> Prepared:
    validated = flow.validate(params)
    first = flow.first(validated)
    chain = platform.chains[first.operation]
    lane = LaneKey(platform.name, first.operation, int(request.priority), chain, first.owner or "")
    return Prepared(request, msgspec.to_builtins(validated), first, lane, flow.resume)


async def submit(transaction: Transaction, prepared: Sequence[Prepared]) -> list[Accepted]:
    """Insert requests with their first fetches, in order. Raises `BadInput` where an idempotency key was used otherwise."""
    prepared = [await _resumed(transaction, item) if item.resume is not None else item for item in prepared]
    lanes = await lane_ids(transaction, {item.lane for item in prepared})
    rows = [_row(n, item, lanes[item.lane]) for n, item in enumerate(prepared)]
    accepted: dict[int, Accepted] = {}
    for n, request_id in await transaction.rows(SUBMIT, (jsonb(rows),)):
        if request_id is not None:
            accepted[n] = Accepted(request_id, created=True)
    repeated = [row for row in rows if row["n"] not in accepted]
    if repeated:
        for n, request_id, same in await transaction.rows(EARLIER, (jsonb(repeated),)):
            if not same:
                key = prepared[n].request.idempotency_key
                raise BadInput(f"idempotency key {key!r} was used for another request", field="idempotency_key")
            accepted[n] = Accepted(request_id, created=False)
    return [accepted[n] for n in range(len(prepared))]


async def accept(database: Database, requests: Sequence[NewRequest]) -> list[Accepted]:
    """Check and insert; when this returns, the requests are committed. Ring the broker afterwards."""
    prepared = [prepare(request) for request in requests]
    async with database.transaction() as transaction:
        return await submit(transaction, prepared)


async def _resumed(transaction: Transaction, item: Prepared) -> Prepared:
    """The request with what it leaves open filled in from where the last run ended."""
    resume = item.resume
    if resume is None:
        return item
    platform = platform_named(item.request.platform)
    entity = platform.entity_in(resume.table)
    row = await transaction.row(
        f"""SELECT clock_timestamp() AS now, (SELECT {resume.field} FROM "{entity.table}" WHERE {entity.key} = %s) AS since""",  # noqa: S608 - declared
        (item.params[resume.param],),
    )
    found = {resume.since: row.since, resume.until: row.now} if row is not None else {}
    filled = {
        name: value.isoformat() for name, value in found.items() if value is not None and item.params[name] is None
    }
    resumed = _with_params(item.request, platform, platform.flow(item.request.flow), {**item.params, **filled})
    return replace(resumed, worded={name: value for name, value in item.params.items() if value is not None})


def _row(n: int, item: Prepared, lane_id: int) -> dict[str, Any]:
    request = item.request
    return {
        "n": n,
        "platform": request.platform,
        "flow": request.flow,
        "params": item.params,
        "worded": item.worded,
        "priority": int(request.priority),
        "account_id": request.account_id,
        "idempotency_key": request.idempotency_key,
        "expires_at": request.expires_at,
        "api_key_id": request.api_key_id,
        "lane_id": lane_id,
        "operation": item.first.operation,
        "fetch_params": item.first.params,
        "cursor_source": item.first.source,
        "owner": item.first.owner,
        "on_demand": request.on_demand,
        "not_before": request.deferred_to,
        "waiting_for": request.waiting_for,
    }
