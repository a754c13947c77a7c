"""What is known: /v1/KIND/PLATFORM/NAME, its lists and its history, for every kind of thing that a platform declares; how fresh it is;
/v1/changes, what changed since; /v1/platforms, what there is to ask for.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self

import msgspec
from falcon.asgi import Request, Response

from api.access import Scopes, caller_of, reader_of
from api.calls import FOLLOW, Call, Calls, answer, up_to
from api.patience import bounds_itself, in_time, left
from api.scrape_requests import moment, send, whole
from api.services import Provider
from beat_actors.access.keyring import Caller
from beat_actors.access.scopes import Scope
from beat_actors.data import catalog, changes, freshness, reading, refreshing
from beat_actors.data.freshness import FRESH, PARTIAL, STALE, Freshness
from beat_actors.data.reading import Asked, Item
from beat_actors.data.refreshing import Plan, Renewal
from beat_actors.database import Transaction
from beat_actors.errors import BadInput, Forbidden, NotFound, NotFresh, TooManyOpen
from beat_actors.platforms.interface import Entity, Listed, Platform, Refetch
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.platforms.registry import platforms
from beat_actors.shapes import one_of
from beat_actors.text import check_text

READ: Scopes = {"GET": Scope.READ}
MOST_ALONG = 200
LONGEST_AGE = 366 * 86_400
COME_BACK = 2.0
"""Seconds after which to look again for a refresh that waits for nothing known."""
LONGEST_WAIT = 3600.0


class FreshnessBlock(msgspec.Struct, kw_only=True):
    """`mode`: fresh, partial or stale. `refresh`: where the request is that refreshes it."""

    mode: Annotated[str, one_of((FRESH, PARTIAL, STALE))]
    as_of: datetime | None
    source: str | None
    max_age: float
    why: str | None
    next_attempt_at: datetime | None
    refresh_started: bool
    refresh: str | None


class ListedItem(msgspec.Struct, kw_only=True):
    """One of a list."""

    id: str
    dimensions: dict[str, Any]
    metrics: dict[str, Any]
    as_of: datetime
    changed_at: datetime | None
    source: str


AGE: dict[str, Any] = {"max_age": up_to(LONGEST_AGE), "allow_stale": bool}
PAGE: dict[str, Any] = {**AGE, "limit": up_to(reading.MAX_PAGE, least=1), "cursor": str}
HISTORY_PAGE = PAGE | {"since": datetime, "until": datetime}
VALUES: dict[str, Any] = {"dimensions": dict[str, Any], "metrics": dict[str, Any]}
OF = answer("Of", kind=str, id=str)
THING = answer("Thing", platform=str, kind=str, id=str, **VALUES, changed_at=datetime | None, freshness=FreshnessBlock)
ITEMS = answer(
    "Items", platform=str, kind=str, of=OF, items=list[ListedItem], next_cursor=str | None, freshness=FreshnessBlock
)
HISTORY = answer(
    "History",
    platform=str,
    kind=str,
    of=OF,
    snapshots=list[reading.Snapshot],
    next_cursor=str | None,
    freshness=FreshnessBlock,
)
TO_COME = answer("ToCome", freshness=FreshnessBlock)
TELLS = FOLLOW | {"ETag": "What `If-None-Match` asks by."}
IF_NONE_MATCH = {"If-None-Match": "The ETag of an answer that is there already: 304 if it is still the same."}


@dataclass(frozen=True, slots=True)
class Demand:
    """How old an answer may be, in seconds, and whether an older one is better than none."""

    max_age: float
    allow_stale: bool

    @classmethod
    def of(cls, req: Request, default: float) -> Self:
        max_age = whole(req, "max_age", default=math.ceil(default), most=LONGEST_AGE)
        return cls(float(max_age), flag(req, "allow_stale", default=True))


@dataclass(frozen=True, slots=True)
class Owner:
    """A thing that others are listed under."""

    platform: Platform
    entity: Entity
    item: Item


class Resource:
    """Of one kind of things, whichever platforms have it."""

    scopes: Scopes = READ

    def __init__(self, provider: Provider, kind: str) -> None:
        self._provider = provider
        self._kind = kind

    async def _find(self, transaction: Transaction, caller: Caller, platform: Platform, name: str) -> Owner:
        entity = platform.entity_named(self._kind)
        item = await reading.find(transaction, platform, entity, name, reader=reader_of(caller))
        if item is None:
            raise unknown(platform, entity, name)
        return Owner(platform, entity, item)

    async def _plan(
        self, transaction: Transaction, caller: Caller, found: Freshness, owner: Owner, refetches: Sequence[Refetch]
    ) -> Plan | None:
        """What would observe it anew, where it is not fresh."""
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
        """200 with what is known; 202 where that is not enough and is being refreshed. Raises `NotFresh`, `Forbidden`."""
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
                self._provider.bell.ring([plan.platform.name])
            if found.mode == STALE and not demand.allow_stale:
                if found.refresh is None and plan is not None and not may_start:
                    raise Forbidden("a refresh needs a key with the scope submit", scope=Scope.SUBMIT)
                _to_come(resp, found, renewal.wait)
                return
        _send(req, resp, {**body, "freshness": told(found)})


class Thing(Resource):
    """GET one thing; along with it, where they are asked for by name, the newest of what is listed under it (`posts=12`)."""

    def __init__(self, provider: Provider, kind: str) -> None:
        super().__init__(provider, kind)
        lists = {name: up_to(MOST_ALONG) for name in catalog.lists_of(kind)}
        does = f"One of the {kind}, by its id or any of its names."
        answers = {200: THING, 202: TO_COME, 304: None}
        self.calls: Calls = {"GET": Call(does, answers, query=AGE | lists, headers=IF_NONE_MATCH, tells=TELLS)}

    @bounds_itself
    async def on_get(self, req: Request, resp: Response, platform: str, name: str) -> None:
        where, caller = platform_named(platform), caller_of(req)
        entity = where.entity_named(self._kind)
        check_text(name, "name", longest=255, one_line=True)
        demand = Demand.of(req, entity.max_age)
        lists = reading.lists_under(where, self._kind)
        along = {each: count for each in lists if (count := whole(req, each, default=0, most=MOST_ALONG))}
        asked = Asked(where, entity, name, reader_of(caller))
        item = await self._provider.services.finder.find(asked, within=left())
        if item is None:
            await in_time(self._fetch_unknown(req, resp, demand, where, entity, name))
            return
        found = freshness.of_items([item], demand.max_age)
        if along or found.mode != FRESH:
            await in_time(self._answer_more(req, resp, demand, asked, item, found, along))
            return
        _send(req, resp, {**_body(where, entity, item, {}), "freshness": told(found)})

    async def _answer_more(
        self,
        req: Request,
        resp: Response,
        demand: Demand,
        asked: Asked,
        item: Item,
        found: Freshness,
        along: Mapping[str, int],
    ) -> None:
        """With what is shown along with it, and with its refresh where it is not fresh."""
        where, entity, caller = asked.platform, asked.entity, caller_of(req)
        lists = reading.lists_under(where, self._kind)
        shown: dict[str, Sequence[Any]] = {}
        plan: Plan | None = None
        async with self._provider.services.database.statements() as alone:
            ages = []
            for each, count in along.items():
                other, listed = lists[each]
                of = reading.value_of(entity, listed, item.fields)
                page = await reading.items(alone, where, other, listed, of, limit=count, reader=reader_of(caller))
                shown[each] = [_told_item(other, one) for one in page.items]
                ages.append(freshness.of_items(page.items, other.max_age))
            if found.mode != FRESH:
                plan = await refreshing.plan(
                    alone,
                    where,
                    entity,
                    entity.refetch,
                    item.fields,
                    reader=reader_of(caller),
                    api_key_id=caller.key_id,
                )
        is_fresh, found = found.mode == FRESH, freshness.together(found, ages)
        body = _body(where, entity, item, shown)
        if is_fresh:
            _send(req, resp, {**body, "freshness": told(found)})
        else:
            await self._answer(req, resp, demand, found, plan, entity, body)

    async def _fetch_unknown(
        self, req: Request, resp: Response, demand: Demand, where: Platform, entity: Entity, name: str
    ) -> None:
        """202 for who will wait for it. Raises `NotFound` for who will not, and where no flow takes its name."""
        caller = caller_of(req)
        async with self._provider.services.database.statements() as alone:
            plan = await refreshing.plan_unknown(
                alone, where, entity, name, reader=reader_of(caller), api_key_id=caller.key_id
            )
        if demand.allow_stale or plan is None:
            raise unknown(where, entity, name)
        await self._answer(req, resp, demand, freshness.of_items([], demand.max_age), plan, entity, {})


class List(Resource):
    """GET a page of what is listed under one thing, newest first."""

    def __init__(self, provider: Provider, kind: str, name: str) -> None:
        super().__init__(provider, kind)
        self._name = name
        does, answers = f"The {name} of one of the {kind}, newest first.", {200: ITEMS, 202: TO_COME, 304: None}
        self.calls: Calls = {"GET": Call(does, answers, query=PAGE, headers=IF_NONE_MATCH, tells=TELLS)}

    def _listed(self, platform: Platform) -> tuple[Entity, Listed]:
        try:
            return reading.lists_under(platform, self._kind)[self._name]
        except KeyError:
            raise NotFound(f"{platform.name} keeps no {self._name} of {self._kind}") from None

    async def on_get(self, req: Request, resp: Response, platform: str, name: str) -> None:
        where, caller = platform_named(platform), caller_of(req)
        other, listed = self._listed(where)
        check_text(name, "name", longest=255, one_line=True)
        demand = Demand.of(req, other.max_age)
        limit, cursor = page_of(req, reading.MAX_PAGE)
        async with self._provider.services.database.statements() as alone:
            owner = await self._find(alone, caller, where, name)
            of = reading.value_of(owner.entity, listed, owner.item.fields)
            page = await reading.items(
                alone, where, other, listed, of, limit=limit, cursor=cursor, reader=reader_of(caller)
            )
            found = freshness.of_items(page.items, demand.max_age)
            plan = await self._plan(alone, caller, found, owner, listed.refetch)
        body = {
            "platform": where.name,
            "kind": other.kind,
            "of": _name(owner),
            "items": [_told_item(other, one) for one in page.items],
            "next_cursor": page.next_cursor,
        }
        await self._answer(req, resp, demand, found, plan, other, body)


class History(Resource):
    """GET the snapshots of one thing, newest first, a page at a time."""

    def __init__(self, provider: Provider, kind: str) -> None:
        super().__init__(provider, kind)
        does = f"What was observed of one of the {kind}, newest first."
        answers = {200: HISTORY, 202: TO_COME, 304: None}
        self.calls: Calls = {"GET": Call(does, answers, query=HISTORY_PAGE, headers=IF_NONE_MATCH, tells=TELLS)}

    async def on_get(self, req: Request, resp: Response, platform: str, name: str) -> None:
        where = platform_named(platform)
        entity = where.entity_named(self._kind)
        check_text(name, "name", longest=255, one_line=True)
        demand, caller = Demand.of(req, entity.max_age), caller_of(req)
        async with self._provider.services.database.statements() as alone:
            owner = await self._find(alone, caller, where, name)
            subject = owner.item.fields[entity.subject or entity.key]
            page = await snapshots(req, alone, where, entity, subject)
            found = freshness.of_items([owner.item], demand.max_age)
            plan = await self._plan(alone, caller, found, owner, entity.refetch)
        await self._answer(req, resp, demand, found, plan, entity, _history(owner, entity, page))


class ListHistory(List):
    """GET the snapshots of what is listed under one thing, where they are logged by it, as insights are."""

    def __init__(self, provider: Provider, kind: str, name: str) -> None:
        super().__init__(provider, kind, name)
        does = f"What was observed of the {name} of one of the {kind}, newest first."
        answers = {200: HISTORY, 202: TO_COME, 304: None}
        self.calls = {"GET": Call(does, answers, query=HISTORY_PAGE, headers=IF_NONE_MATCH, tells=TELLS)}

    async def on_get(self, req: Request, resp: Response, platform: str, name: str) -> None:
        where, caller = platform_named(platform), caller_of(req)
        other, listed = self._listed(where)
        if other.log is None or other.subject != listed.field:
            raise NotFound(f"the history of {other.kind} is kept of each by itself, if at all, not of a list")
        check_text(name, "name", longest=255, one_line=True)
        demand = Demand.of(req, other.max_age)
        async with self._provider.services.database.statements() as alone:
            owner = await self._find(alone, caller, where, name)
            of = reading.value_of(owner.entity, listed, owner.item.fields)
            newest = await reading.items(alone, where, other, listed, of, limit=1, reader=reader_of(caller))
            page = await snapshots(req, alone, where, other, of)
            found = freshness.of_items(newest.items, demand.max_age)
            plan = await self._plan(alone, caller, found, owner, listed.refetch)
        await self._answer(req, resp, demand, found, plan, other, _history(owner, other, page))


class Changes:
    """GET what changed since a cursor or a time."""

    scopes: Scopes = READ
    calls: Calls = {
        "GET": Call(
            "What changed since a cursor or a time, in order.",
            {200: changes.Changes},
            query={"since": str, "platform": str, "kind": str, "limit": up_to(changes.MAX_PAGE, least=1)},
        )
    }

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def on_get(self, req: Request, resp: Response) -> None:
        platform, kind = req.get_param("platform"), req.get_param("kind")
        if platform is not None:
            platform_named(platform)
        if kind is not None and kind not in catalog.kinds():
            raise BadInput(f"kind is one of {', '.join(catalog.kinds())}", field="kind")
        database = self._provider.services.database
        wanted = changes.Wanted(
            since=_since(req),
            platform=platform,
            kind=kind,
            reader=reader_of(caller_of(req)),
            limit=page_of(req, changes.MAX_PAGE, default=200)[0],
        )
        async with database.statements() as alone:
            send(resp, await changes.since(alone, wanted, kept_days=database.settings.log_days))


class Platforms:
    """GET all platforms: flows with their parameters, operations with their chains, entities."""

    scopes: Scopes = READ
    calls: Calls = {
        "GET": Call("What can be asked for.", {200: answer("PlatformList", platforms=list[catalog.PlatformView])})
    }

    async def on_get(self, _req: Request, resp: Response) -> None:
        send(resp, {"platforms": [catalog.view(platform) for platform in platforms().values()]})


class OnePlatform:
    """GET one of them."""

    scopes: Scopes = READ
    calls: Calls = {"GET": Call("What can be asked for of one platform.", {200: catalog.PlatformView})}

    async def on_get(self, _req: Request, resp: Response, platform: str) -> None:
        send(resp, catalog.view(platform_named(platform)))


def routes(provider: Provider) -> dict[str, Any]:
    """The paths of all that the platforms of this installation declare, each with its resource."""
    found: dict[str, Any] = {
        "/v1/platforms": Platforms(),
        "/v1/platforms/{platform}": OnePlatform(),
        "/v1/changes": Changes(provider),
    }
    for kind in catalog.kinds():
        one = f"/v1/{kind}/{{platform}}/{{name}}"
        found |= {one: Thing(provider, kind), f"{one}/history": History(provider, kind)}
        for name in catalog.lists_of(kind):
            found |= {
                f"{one}/{name}": List(provider, kind, name),
                f"{one}/{name}/history": ListHistory(provider, kind, name),
            }
    return found


def flag(req: Request, name: str, *, default: bool) -> bool:
    """A query parameter that is true or false. Raises `BadInput`."""
    text = req.get_param(name)
    if text not in (None, "true", "false"):
        raise BadInput(f"{name} is true or false", field=name)
    return default if text is None else text == "true"


def page_of(req: Request, most: int, *, default: int = 100) -> tuple[int, str | None]:
    """How many are wanted, and from where on. Raises `BadInput`."""
    limit = whole(req, "limit", default=default, most=most)
    if limit < 1:
        raise BadInput(f"limit is 1 to {most}", field="limit")
    return limit, req.get_param("cursor")


async def snapshots(
    req: Request, transaction: Transaction, platform: Platform, entity: Entity, subject: Any
) -> reading.History:
    limit, cursor = page_of(req, reading.MAX_PAGE)
    return await reading.history(
        transaction,
        platform,
        entity,
        subject,
        since=moment(req, "since"),
        until=moment(req, "until"),
        limit=limit,
        cursor=cursor,
        reader=reader_of(caller_of(req)),
    )


def unknown(platform: Platform, entity: Entity, name: str) -> NotFound:
    return NotFound(
        f"nothing is known of {name[:80]!r} among the {entity.kind} of {platform.name}; ask for it with POST /v1/scrape-requests"
    )


def told(found: Freshness) -> dict[str, Any]:
    """The freshness block of an answer."""
    block = msgspec.structs.asdict(found)
    return block | {"refresh": None if found.refresh is None else f"/v1/scrape-requests/{found.refresh}"}


def _to_come(resp: Response, found: Freshness, wait: float | None) -> None:
    """202: where to look for what is being refreshed, and when. Raises `NotFresh` where nothing is."""
    if found.refresh is None:
        raise NotFresh(f"{found.why}; with allow_stale=true what is known is answered", retry_after=wait)
    resp.status = 202
    resp.set_header("Location", f"/v1/scrape-requests/{found.refresh}")
    resp.set_header("Retry-After", str(math.ceil(min(max(wait or COME_BACK, 1.0), LONGEST_WAIT))))
    send(resp, {"freshness": told(found)})


def _send(req: Request, resp: Response, body: Mapping[str, Any]) -> None:
    """With an ETag; 304 to who has this very answer."""
    encoded = msgspec.json.encode(body)
    mark = hashlib.blake2b(encoded, digest_size=12).hexdigest()
    resp.etag = mark
    if any(tag in ("*", mark) for tag in (req.if_none_match or ())):
        resp.status = 304
        return
    resp.content_type = "application/json"
    resp.data = encoded


def _body(platform: Platform, entity: Entity, item: Item, along: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    dimensions, metrics = reading.split(entity, item.fields)
    return {
        "platform": platform.name,
        "kind": entity.kind,
        "id": item.fields[entity.key],
        "dimensions": dimensions,
        "metrics": metrics,
        "changed_at": item.changed_at,
        **along,
    }


def _told_item(entity: Entity, item: Item) -> dict[str, Any]:
    dimensions, metrics = reading.split(entity, item.fields)
    return {
        "id": item.fields[entity.key],
        "dimensions": dimensions,
        "metrics": metrics,
        "as_of": item.as_of,
        "changed_at": item.changed_at,
        "source": item.source,
    }


def _name(owner: Owner) -> dict[str, Any]:
    return {"kind": owner.entity.kind, "id": owner.item.fields[owner.entity.key]}


def _history(owner: Owner, entity: Entity, page: reading.History) -> dict[str, Any]:
    return {
        "platform": owner.platform.name,
        "kind": entity.kind,
        "of": _name(owner),
        "snapshots": page.snapshots,
        "next_cursor": page.next_cursor,
    }


def _since(req: Request) -> str | datetime | None:
    text = req.get_param("since")
    try:
        parsed = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if parsed is None else moment(req, "since")
