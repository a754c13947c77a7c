"""/v1/KIND/PLATFORM/NAME: one thing."""

from collections.abc import Mapping, Sequence
from typing import Any

from falcon.asgi import Request, Response

from api.access import caller_of, reader_of
from api.calls import Call, Calls, up_to
from api.data.answers import (
    AGE,
    ANSWER_HEADERS,
    IF_NONE_MATCH,
    MOST_ALONG,
    THING,
    TO_COME,
    freshness_block,
    item_body,
    send_marked,
    thing_body,
)
from api.data.earlier import AS_OF, asked_for, the_thing, those_of
from api.data.kinds import Demand, OfKind, Owner, unknown, within
from api.deadline import bounds_itself, in_time, left
from api.naming import one_of_kind
from api.parameters import whole
from api.services import Provider
from beat_actors.data import catalog, freshness, media, reading, refreshing
from beat_actors.data.freshness import FRESH, Freshness
from beat_actors.data.items import Item
from beat_actors.data.reading import Asked
from beat_actors.platforms.interface import Entity, Platform
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.restoring.as_of import Moment
from beat_actors.text import check_text


class Thing(OfKind):
    """GET: one thing, with the newest items of its lists that the query names (`posts=12`)."""

    def __init__(self, provider: Provider, kind: str) -> None:
        super().__init__(provider, kind)
        lists = {name: up_to(MOST_ALONG) for name in catalog.lists_of(kind)}
        does = f"Get one {one_of_kind(kind)} by its id or any of its names."
        answers = {200: THING, 202: TO_COME, 304: None}
        self.calls: Calls = {
            "GET": Call(does, answers, query=AGE | AS_OF | lists, headers=IF_NONE_MATCH, answer_headers=ANSWER_HEADERS)
        }

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
        at = asked_for(req)
        if at is not None:
            await in_time(self._answer_earlier(req, resp, demand, asked, item, at, along))
            return
        demand = within(demand, self._provider.services.database.settings.served_age, where, entity, [item])
        found = freshness.of_item(item, demand.max_age)
        if along or found.mode != FRESH:
            await in_time(self._answer_more(req, resp, demand, asked, item, found, along))
            return
        send_marked(req, resp, {**thing_body(where, entity, item, {}), "freshness": freshness_block(found)})

    async def _answer_earlier(
        self,
        req: Request,
        resp: Response,
        demand: Demand,
        asked: Asked,
        item: Item,
        at: Moment,
        along: Mapping[str, int],
    ) -> None:
        """Answer with the thing and its lists as they were."""
        where, entity = asked.platform, asked.entity
        lists = reading.lists_under(where, self._kind)
        shown: dict[str, Sequence[Any]] = {}
        async with self._provider.services.database.statements() as alone:
            then = await the_thing(req, alone, where, entity, item, at)
            for each, count in along.items():
                other, listed = lists[each]
                of = reading.value_of(entity, listed, item.fields)
                page = await reading.items(alone, where, other, listed, of, limit=count, reader=asked.reader)
                shown[each] = [
                    item_body(other, one) for one in await those_of(req, alone, where, other, page.items, at)
                ]
        found = freshness.of_items([then], demand.max_age)
        send_marked(req, resp, {**thing_body(where, entity, then, shown), "freshness": freshness_block(found)})

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
        """Answer with the lists that the query names, and with the thing's refresh where it is not fresh."""
        where, entity, caller = asked.platform, asked.entity, caller_of(req)
        lists = reading.lists_under(where, self._kind)
        shown: dict[str, Sequence[Any]] = {}
        async with self._provider.services.database.statements() as alone:
            ages = []
            for each, count in along.items():
                other, listed = lists[each]
                of = reading.value_of(entity, listed, item.fields)
                page = await reading.items(alone, where, other, listed, of, limit=count, reader=reader_of(caller))
                links = self._provider.services.links
                items = await media.of_page(alone, links, where, other, page.items, reader_of(caller))
                shown[each] = [item_body(other, one) for one in items]
                ages.append(freshness.of_items(page.items, other.max_age))
            plan = await self._plan(alone, caller, found, Owner(where, entity, item), entity.refetch)
        is_fresh, found = found.mode == FRESH, freshness.together(found, ages)
        body = thing_body(where, entity, item, shown)
        if is_fresh:
            send_marked(req, resp, {**body, "freshness": freshness_block(found)})
        else:
            await self._answer(req, resp, demand, found, plan, entity, body)

    async def _fetch_unknown(
        self, req: Request, resp: Response, demand: Demand, where: Platform, entity: Entity, name: str
    ) -> None:
        """Answer 202 to a caller that takes no stale answer. Raises `NotFound` for any other, and where no flow takes the name."""
        caller = caller_of(req)
        async with self._provider.services.database.statements() as alone:
            plan = await refreshing.plan_unknown(
                alone, where, entity, name, reader=reader_of(caller), api_key_id=caller.key_id
            )
        if demand.allow_stale or plan is None:
            raise unknown(where, entity, name)
        await self._answer(req, resp, demand, freshness.of_items([], demand.max_age), plan, entity, {})
