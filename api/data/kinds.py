"""What the routes of a kind of things have in common: find the thing, plan its refresh, and answer with what is known or when it will be."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import msgspec
from falcon.asgi import Request, Response

from api.access import Scopes, caller_of, reader_of
from api.data.answers import LONGEST_AGE, freshness_block, send_marked
from api.parameters import switch, whole
from api.replies import location, send
from api.resource import Resource
from api.services import Provider
from beat_actors.access.keyring import Caller
from beat_actors.access.scopes import Scope
from beat_actors.data import reading, refreshing
from beat_actors.data.freshness import FRESH, STALE, Freshness
from beat_actors.data.items import Item
from beat_actors.data.refreshing import Plan, Renewal
from beat_actors.database import Transaction
from beat_actors.errors import Forbidden, NotFound, NotFresh, TooManyOpen
from beat_actors.platforms.interface import Entity, Platform, Refetch

READ: Scopes = {"GET": Scope.READ}
COME_BACK = 2.0
"""Seconds after which a caller should look again, where it is not known how long the refresh takes."""
LONGEST_WAIT = 3600.0
"""The longest such time, in seconds."""


@dataclass(frozen=True, slots=True)
class Demand:
    """How old an answer may be, in seconds, and whether the caller takes an older one. `limit`: the age from which on nothing is served, which all of the
    answer has."""

    max_age: float
    allow_stale: bool
    limit: float | None = None

    @classmethod
    def of(cls, req: Request, default: float) -> Self:
        max_age = whole(req, "max_age", default=math.ceil(default), most=LONGEST_AGE)
        return cls(float(max_age), switch(req, "allow_stale", default=True))


@dataclass(frozen=True, slots=True)
class Owner:
    """A thing that a path names, with its platform and its kind."""

    platform: Platform
    entity: Entity
    item: Item

    def named(self) -> dict[str, Any]:
        """The thing as the answer about its lists or history names it."""
        return {"kind": self.entity.kind, "id": self.item.fields[self.entity.key]}


def within(
    demand: Demand, limits: Mapping[str, float], platform: Platform, entity: Entity, items: Sequence[Item]
) -> Demand:
    """The demand under the installation's limit on the age of what is served, if there is one for these things. `items`: of the answer."""
    limit = limits.get(f"{platform.name}.{entity.kind}")
    if limit is None:
        return demand
    demand = replace(demand, max_age=min(demand.max_age, limit))
    if items and all(item.age > limit for item in items):
        return replace(demand, allow_stale=False, limit=limit)
    return demand


class OfKind(Resource):
    """A route of one kind of things, over all platforms that have it."""

    scopes: Scopes = READ

    def __init__(self, provider: Provider, kind: str) -> None:
        self._provider = provider
        self._kind = kind

    async def _find(self, transaction: Transaction, caller: Caller, platform: Platform, name: str) -> Owner:
        """Raises `NotFound`."""
        entity = platform.entity_named(self._kind)
        item = await reading.find(transaction, platform, entity, name, reader=reader_of(caller))
        if item is None:
            raise unknown(platform, entity, name)
        return Owner(platform, entity, item)

    async def _plan(
        self, transaction: Transaction, caller: Caller, found: Freshness, owner: Owner, refetches: Sequence[Refetch]
    ) -> Plan | None:
        """The request that would observe the thing again, where it is not fresh."""
        if found.mode == FRESH:
            return None
        return await refreshing.plan(
            transaction,
            owner.platform,
            owner.entity,
            refetches,
            owner.item.fields,
            reader=reader_of(caller),
            api_key_id=caller.key_id,
        )

    async def _answer(
        self,
        req: Request,
        resp: Response,
        demand: Demand,
        found: Freshness,
        plan: Plan | None,
        entity: Entity,
        body: Mapping[str, Any],
    ) -> None:
        """Answer 200 with what is known, or 202 where that is too old for the caller and a refresh is under way. Raises `NotFresh`, `Forbidden`."""
        services, caller = self._provider.services, caller_of(req)
        if found.mode != FRESH:
            may_start = Scope.SUBMIT in caller.scopes
            try:
                renewal = await services.refresher.renew(
                    found,
                    plan,
                    may_start=may_start,
                    complete=entity.version is not None,
                )
            except TooManyOpen as refusal:
                if found.mode == STALE and not demand.allow_stale:
                    raise
                renewal = Renewal(msgspec.structs.replace(found, why=str(refusal)))
            found = renewal.freshness
            if found.refresh_started and plan is not None:
                self._provider.wakeups.send([plan.platform.name])
            if found.mode == STALE and not demand.allow_stale:
                if found.refresh is None and plan is not None and not may_start:
                    raise Forbidden("a refresh needs a key with the scope submit", scope=Scope.SUBMIT)
                _to_come(resp, found, renewal.wait, demand.limit)
                return
        send_marked(req, resp, {**body, "freshness": freshness_block(found)})


def unknown(platform: Platform, entity: Entity, name: str) -> NotFound:
    """The error for a thing that Beat has never observed."""
    return NotFound(
        f"nothing is known of {name[:80]!r} among the {entity.kind} of {platform.name}; ask for it with POST /v1/scrape-requests"
    )


def _to_come(resp: Response, found: Freshness, wait: float | None, limit: float | None) -> None:
    """Answer 202: where to look for the refresh, and when. Raises `NotFresh` where no refresh is under way."""
    if found.refresh is None:
        otherwise = (
            "allow_stale=true returns the stored data"
            if limit is None
            else f"this installation serves nothing that is older than {limit:g} s (BEAT_SERVED_AGE)"
        )
        raise NotFresh(f"{found.why}; {otherwise}", retry_after=wait)
    resp.status = 202
    resp.set_header("Location", location(found.refresh))
    resp.set_header("Retry-After", str(math.ceil(min(max(wait or COME_BACK, 1.0), LONGEST_WAIT))))
    send(resp, {"freshness": freshness_block(found)})
