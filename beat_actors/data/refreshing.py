"""Having something observed anew for a reader who finds it too old: which request does, why it is not done, or that it was started.

However many read what is stale, one request refreshes it: `data_refresh` remembers which. The first to find none starts it; in one
process the others wait for that one, and among processes a lock on what is asked for decides.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from beat_actors.access import grants
from beat_actors.access.reader import Reader, visible
from beat_actors.data.freshness import FRESH, PARTIAL, STALE, Freshness
from beat_actors.database import Database, Transaction, jsonb
from beat_actors.errors import BadInput, LimitsUnavailable, RateLimitError, TooManyOpen
from beat_actors.fetches.lanes import KNOWN
from beat_actors.platforms.interface import FINAL, Entity, Platform, Refetch
from beat_actors.quotas.limiter import StackedLimiter, Taken
from beat_actors.requests import intake, queries
from beat_actors.requests.explain import waits_for
from beat_actors.requests.intake import NewRequest, Prepared
from beat_actors.requests.open_requests import OpenRequests

PAUSE = 60.0
"""Seconds after a refresh that failed before the next is started. What is final, as that it does not exist, stands for the max age."""
ON_ITS_WAY = "its refresh is on its way"

# The request that refreshes it, or did so last, and what its first open fetch waits for; failing that, what holds up the lane into
# which it would come, or that its sources are out: so that the reason is told from the first read on. An account is told nothing of a
# lane for which the broker has not looked at its own fetch: others wait there.
LOOK = f"""
SELECT clock_timestamp() AS now, r.id, r.status, r.created_at, r.scraped_at, r.data->'error' AS error, f.stage, f.source, f.waiting_for,
       f.not_before, coalesce(known.blocked_until, own.blocked_until, alike.blocked_until) AS blocked_until,
       coalesce(known.reasons, own.reasons, alike.reasons, outage.reasons) AS reasons
FROM (SELECT) one
LEFT JOIN (data_refresh d JOIN scrape_request_log r ON r.id = d.request_id) ON d.work = %(work)s
LEFT JOIN LATERAL (
    SELECT * FROM scrape_fetch WHERE request_id = coalesce(r.joined_to, r.id) AND stage NOT IN ('DONE', 'FAILED', 'CANCELLED')
    ORDER BY id LIMIT 1) f ON true
LEFT JOIN LATERAL (SELECT {KNOWN} FROM lane l WHERE l.id = f.lane_id) known ON %(account)s::text IS NOT NULL
LEFT JOIN lane own ON own.id = f.lane_id AND own.reasons IS NOT NULL AND %(account)s::text IS NULL
LEFT JOIN LATERAL (
    SELECT * FROM lane WHERE %(account)s::text IS NULL AND platform = %(platform)s AND operation = %(operation)s AND sources = %(sources)s AND owner = %(owner)s
        AND (flow = %(flow)s OR NOT reasons @> '[{{"source": null}}]') AND blocked_until > clock_timestamp() ORDER BY blocked_until LIMIT 1) alike ON true
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('source', source, 'why', CASE WHEN by_hand
                         THEN 'drained by hand: nothing is sent to it' ELSE 'outage: its breaker is open' END, 'until', extract(epoch FROM open_until))
                     ORDER BY open_until) AS reasons
    FROM breaker WHERE platform = %(platform)s AND operation = %(operation)s AND source = ANY(%(sources)s) AND kind = 'upstream'
        AND open_until > clock_timestamp() HAVING count(*) = cardinality(%(sources)s)) outage ON true
"""  # noqa: S608 - a constant
UNDERWAY = """
SELECT r.id FROM data_refresh d JOIN scrape_request_log r ON r.id = d.request_id
WHERE d.work = %s AND r.status IN ('PENDING', 'PROCESSING')
"""
REMEMBER = """
INSERT INTO data_refresh (work, request_id) VALUES (%s, %s) ON CONFLICT (work) DO UPDATE SET request_id = excluded.request_id
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """The request that would observe it anew. `work` is the same for all that ask the same for the same account."""

    platform: Platform
    prepared: Prepared
    work: bytes


async def plan(
    transaction: Transaction,
    platform: Platform,
    entity: Entity,
    refetches: Sequence[Refetch],
    fields: Mapping[str, Any],
    *,
    reader: Reader,
    api_key_id: int | None,
) -> Plan | None:
    """By the first of these flows for which all is known of a thing with these fields, and that the reader may ask for."""
    for refetch in refetches:
        known = await _with_related(transaction, platform, entity, refetch, fields, reader)
        params = {param: known[name] for param, name in refetch.params.items() if known.get(name) is not None}
        if len(params) == len(refetch.params):
            found = _plan(platform, refetch, params, reader=reader, api_key_id=api_key_id)
            if found is not None and await _may(transaction, reader, found):
                return found
    return None


async def plan_unknown(
    transaction: Transaction,
    platform: Platform,
    entity: Entity,
    name: str,
    *,
    reader: Reader,
    api_key_id: int | None,
) -> Plan | None:
    """For a thing of which nothing but a key or a name is known: by the first flow that takes it, and that the reader may ask for."""
    for refetch in entity.refetch:
        if len(refetch.params) == 1 and set(refetch.params.values()) <= {entity.key, *entity.names}:
            (param,) = refetch.params
            found = _plan(platform, refetch, {param: name}, reader=reader, api_key_id=api_key_id)
            if found is not None and await _may(transaction, reader, found):
                return found
    return None


async def _may(transaction: Transaction, reader: Reader, plan: Plan) -> bool:
    """Whether the reader may have this asked of the owner whose credential it needs, if it needs one."""
    if plan.prepared.first.owner is None:
        return True
    if plan.prepared.use is None:
        return reader.operates
    return not await grants.missing(transaction, [plan.prepared.use])


@dataclass(frozen=True, slots=True)
class Renewal:
    """What can be said now, and in how many seconds the refresh can go on, where that is known."""

    freshness: Freshness
    wait: float | None = None


class Refresher:
    """One for each process and event loop."""

    def __init__(self, database: Database, limiter: StackedLimiter, open_requests: OpenRequests) -> None:
        self._database = database
        self._limiter = limiter
        self._open_requests = open_requests
        self._starting: dict[bytes, asyncio.Task[tuple[int, bool]]] = {}

    async def renew(
        self,
        freshness: Freshness,
        plan: Plan | None,
        *,
        may_start: bool,
        complete: bool = False,
    ) -> Renewal:
        """What can be said of an answer that is not fresh. Starts its refresh where it `may_start` and none is underway or just failed.

        `complete`: a refresh tells all that was changed, so that what it did not mention is as it was. Ring the broker where one was started.
        """
        older = f"it is older than {freshness.max_age:g} s" if freshness.as_of is not None else "it was never observed"
        if plan is None:
            told = f"{older}, and what is known of it does not suffice to refresh it"
            return Renewal(msgspec.structs.replace(freshness, why=told))
        row = await self._look(plan)

        def because(why: str | None, until: datetime | None = None, **changed: Any) -> Renewal:
            told = f"{older}; {why}" if why else older
            # What holds it up and clears by itself at no known time is for a person.
            wait = (
                (until - row.now).total_seconds()
                if until is not None
                else queries.PERSON
                if why and row.reasons
                else None
            )
            return Renewal(msgspec.structs.replace(freshness, why=told, next_attempt_at=until, **changed), wait)

        recent = row.status == "COMPLETE" and row.created_at >= row.now - timedelta(seconds=freshness.max_age)
        if recent and (freshness.mode == STALE or complete):
            return Renewal(msgspec.structs.replace(freshness, mode=FRESH, as_of=row.created_at))
        why, clears_at = _reasons(row)
        if row.status in ("PENDING", "PROCESSING"):
            return because(why or ON_ITS_WAY, clears_at, refresh=row.id)
        if row.status in ("FAILED", "CANCELLED"):
            again_at = row.scraped_at + timedelta(seconds=_pause(row.error, freshness.max_age))
            if again_at > row.now:
                said = (row.error or {}).get("message") or row.status.lower()
                return because(f"the last refresh failed: {said}", again_at)
        if not may_start or freshness.mode == PARTIAL:
            return because(why, clears_at)
        try:
            request_id, started = await self._started(plan)
        except RateLimitError as refusal:
            return because(str(refusal), row.now + timedelta(seconds=refusal.retry_after))
        except LimitsUnavailable as refusal:
            return because(str(refusal))
        return because(why or ON_ITS_WAY, clears_at, refresh=request_id, refresh_started=started)

    async def _started(self, plan: Plan) -> tuple[int, bool]:
        """The request, and whether it was begun for this caller: of many at once the first begins it, and the others hold no connection."""
        if (first := self._starting.get(plan.work)) is not None:
            request_id, _ = await asyncio.shield(first)
            return request_id, False
        task = self._starting[plan.work] = asyncio.create_task(self._start(plan))
        task.add_done_callback(lambda _: self._starting.pop(plan.work))
        return await asyncio.shield(task)

    async def _look(self, plan: Plan) -> Any:
        lane = plan.prepared.lane
        values = {
            "work": plan.work,
            "platform": lane.platform,
            "flow": lane.flow,
            "operation": lane.operation,
            "sources": list(lane.sources),
            "owner": lane.owner,
            "account": plan.prepared.request.account_id,
        }
        async with self._database.statements() as alone:
            return await alone.row(LOOK, values)

    async def _start(self, plan: Plan) -> tuple[int, bool]:
        """As `_begin`. A refusal stands only where no refresh is underway. Raises `TooManyOpen` too."""
        request = plan.prepared.request
        try:
            async with self._open_requests.room([(request.account_id, request.api_key_id)]):
                return await self._begin(plan)
        except (RateLimitError, LimitsUnavailable, TooManyOpen):
            # Another reader may have started it since this one looked, and a handle may be refreshed but once in some seconds.
            async with self._database.statements() as alone:
                underway = await alone.value(UNDERWAY, (plan.work,))
            if underway is None:
                raise
            return int(underway), False

    async def _begin(self, plan: Plan) -> tuple[int, bool]:
        """The request, and whether it is a new one. What the platform refreshes on demand is taken from those limits here too."""
        declared, request = plan.platform.on_demand, plan.prepared.request
        taken: Taken | None = None
        if declared is not None and declared.flow == request.flow:
            subject = str(plan.prepared.params[declared.param])
            stack = self._limiter.stack_of(plan.platform.name)
            taken = await self._limiter.take(stack, subject, request.priority, request.account_id)
        started: int | None = None
        try:
            async with self._database.transaction() as transaction:
                key = int.from_bytes(plan.work[:8], "big", signed=True)
                await transaction.run("SELECT pg_advisory_xact_lock(%s)", (key,))
                underway = await transaction.value(UNDERWAY, (plan.work,))
                if underway is not None:
                    return int(underway), False
                (accepted,) = await intake.submit(transaction, [plan.prepared])
                await transaction.run(REMEMBER, (plan.work, accepted.id))
            started = accepted.id
            return started, True
        finally:
            if taken is not None and started is None:
                await self._limiter.give_back(taken)


def _plan(
    platform: Platform, refetch: Refetch, params: Mapping[str, Any], *, reader: Reader, api_key_id: int | None
) -> Plan | None:
    on_demand = platform.on_demand is not None and platform.on_demand.flow == refetch.flow
    request = NewRequest(
        platform.name,
        refetch.flow,
        {**params, **refetch.fixed},
        account_id=reader.account_id,
        api_key_id=api_key_id,
        on_demand=on_demand,
    )
    try:
        prepared = intake.prepare(request)
    except BadInput:  # known, but not as this flow takes it
        return None
    work = jsonb([platform.name, refetch.flow, prepared.params, reader.account_id])
    return Plan(platform, prepared, hashlib.blake2b(work.encode(), digest_size=16).digest())


async def _with_related(
    transaction: Transaction,
    platform: Platform,
    entity: Entity,
    refetch: Refetch,
    fields: Mapping[str, Any],
    reader: Reader,
) -> Mapping[str, Any]:
    """The fields, and under `KIND.FIELD` those of what it belongs to that the flow needs."""
    found = dict(fields)
    for path in refetch.params.values():
        kind, dot, name = path.partition(".")
        if not dot:
            continue
        other = platform.entity_named(kind)
        listed = next(listed for listed in entity.lists if listed.under == kind)
        mine = visible(reader.sees, "p", "%(account)s::text", f"'{platform.name}'")
        found[path] = await transaction.value(
            f'SELECT {name} FROM "{other.table}" p WHERE {listed.theirs or other.key} = %(of)s AND {name} IS NOT NULL AND {mine} '  # noqa: S608
            "ORDER BY observed_at DESC LIMIT 1",
            {"of": fields.get(listed.field), "account": reader.account_id},
        )
    return found


def _reasons(row: Any) -> tuple[str | None, datetime | None]:
    """Why it waits, in words, and when the first of it clears."""
    if row.stage not in (None, "WAITING"):  # a call is out, or its answer is being read
        return None, None
    blockers, clears_at = waits_for(row)
    told = dict.fromkeys(f"{one.source}: {one.why}" if one.source else one.why for one in blockers)
    if clears_at is None:
        clears_at = min((one.until for one in blockers if one.until is not None), default=None)
    return "; ".join(told) or None, clears_at


def _pause(error: Mapping[str, Any] | None, max_age: float) -> float:
    return max(max_age, PAUSE) if (error or {}).get("code") in FINAL else PAUSE
