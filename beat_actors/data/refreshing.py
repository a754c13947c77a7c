"""Refreshing stale data for a reader: which request refreshes it, why that request is not done, or that it was started.

However many readers read stale data, one request refreshes it: `data_refresh` remembers which. The first to find none starts it; in one
process the others wait for that one, and among processes a lock on what is asked for decides.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from beat_actors.access import grants
from beat_actors.access.reader import Reader, visible
from beat_actors.data.freshness import FRESH, PARTIAL, STALE, Freshness
from beat_actors.database import Composed, Database, Statements, Transaction, jsonb
from beat_actors.errors import BadInput, LimitsUnavailable, RateLimitError, TooManyOpen
from beat_actors.platforms.interface import FINAL, Entity, Platform, Refetch
from beat_actors.quotas.limiter import StackedLimiter, Taken
from beat_actors.requests import intake, queries
from beat_actors.requests.explain import waits_for
from beat_actors.requests.intake import NewRequest, Prepared
from beat_actors.requests.open_requests import OpenRequests

PAUSE = 60.0
"""Seconds after a refresh that failed before the next is started. What is final, as that it does not exist, stands for the max age."""
ON_ITS_WAY = "its refresh is on its way"


class Look(NamedTuple):
    """A request that refreshes a thing, and the first open fetch of it; None without one. `reasons`, `blocked_until`: of its lane."""

    now: datetime
    id: int | None
    status: str | None
    created_at: datetime | None
    scraped_at: datetime | None
    error: dict[str, Any] | None
    stage: str | None
    source: str | None
    waiting_for: str | None
    not_before: datetime | None
    blocked_until: datetime | None
    reasons: list[dict[str, Any]] | None


SQL = Statements(__file__)
LOOK = SQL("look", Look)
LOCK = SQL("lock")
UNDERWAY = SQL("underway", int)
REMEMBER = SQL("remember")


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

        `complete`: a refresh tells all that was changed, so that what it did not mention is as it was. Wake the broker where one was started.
        """
        older = f"it is older than {freshness.max_age:g} s" if freshness.as_of is not None else "it was never observed"
        if plan is None:
            text = f"{older}, and its stored data does not suffice to refresh it"
            return Renewal(msgspec.structs.replace(freshness, why=text))
        row = await self._look(plan)

        def because(why: str | None, until: datetime | None = None, **changed: Any) -> Renewal:
            text = f"{older}; {why}" if why else older
            # What holds it up and clears by itself at no known time is for a person.
            wait = (
                (until - row.now).total_seconds()
                if until is not None
                else queries.PERSON
                if why and row.reasons
                else None
            )
            return Renewal(msgspec.structs.replace(freshness, why=text, next_attempt_at=until, **changed), wait)

        created = row.created_at if row.status == "COMPLETE" else None
        recent = created is not None and created >= row.now - timedelta(seconds=freshness.max_age)
        if recent and (freshness.mode == STALE or complete):
            return Renewal(msgspec.structs.replace(freshness, mode=FRESH, as_of=created))
        why, clears_at = _reasons(row)
        if row.status in ("PENDING", "PROCESSING"):
            return because(why or ON_ITS_WAY, clears_at, refresh=row.id)
        if row.status in ("FAILED", "CANCELLED") and row.scraped_at is not None:
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

    async def _look(self, plan: Plan) -> Look:
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
            return await alone.only(LOOK, values)

    async def _start(self, plan: Plan) -> tuple[int, bool]:
        """As `_begin`. A refusal stands only where no refresh is underway. Raises `TooManyOpen` too."""
        request = plan.prepared.request
        try:
            async with self._open_requests.room([(request.account_id, request.api_key_id)]):
                return await self._begin(plan)
        except (RateLimitError, LimitsUnavailable, TooManyOpen):
            # Another reader may have started it since this one looked, and a handle may be refreshed but once in some seconds.
            async with self._database.statements() as alone:
                underway = await alone.value(UNDERWAY, {"work": plan.work})
            if underway is None:
                raise
            return underway, False

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
                await transaction.run(LOCK, {"key": key})
                underway = await transaction.value(UNDERWAY, {"work": plan.work})
                if underway is not None:
                    return underway, False
                (accepted,) = await intake.submit(transaction, [plan.prepared])
                await transaction.run(REMEMBER, {"work": plan.work, "request": accepted.id})
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
        text = (
            f'SELECT {name} FROM "{other.table}" p WHERE {listed.theirs or other.key} = %(of)s AND {name} IS NOT NULL AND {mine} '  # noqa: S608
            "ORDER BY observed_at DESC LIMIT 1"
        )
        found[path] = await transaction.value(
            Composed("data/refreshing.belongs_to", text, object),
            {"of": fields.get(listed.field), "account": reader.account_id},
        )
    return found


def _reasons(row: Look) -> tuple[str | None, datetime | None]:
    """Why it waits, in words, and when the first of it clears."""
    if row.stage not in (None, "WAITING"):  # a call is out, or its answer is being read
        return None, None
    blockers, clears_at = waits_for(row)
    text = dict.fromkeys(f"{one.source}: {one.why}" if one.source else one.why for one in blockers)
    if clears_at is None:
        clears_at = min((one.until for one in blockers if one.until is not None), default=None)
    return "; ".join(text) or None, clears_at


def _pause(error: Mapping[str, Any] | None, max_age: float) -> float:
    return max(max_age, PAUSE) if (error or {}).get("code") in FINAL else PAUSE
