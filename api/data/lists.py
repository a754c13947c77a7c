"""/v1/KIND/PLATFORM/NAME/LIST: what is listed under one thing."""

from collections.abc import Sequence
from typing import Any

from falcon.asgi import Request, Response

from api.access import caller_of, reader_of
from api.calls import Call, Calls
from api.data.answers import (
    ANSWER_HEADERS,
    IF_NONE_MATCH,
    ITEMS,
    PAGE,
    TO_COME,
    freshness_block,
    item_body,
    send_marked,
)
from api.data.earlier import AS_OF, asked_for, those_of
from api.data.kinds import Demand, OfKind, Owner, within
from api.naming import one_of_kind
from api.parameters import page_of
from api.services import Provider
from beat_actors.data import freshness, media, reading
from beat_actors.data.items import Item
from beat_actors.errors import NotFound
from beat_actors.platforms.interface import Entity, Listed, Platform
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.text import check_text


class List(OfKind):
    """GET: a page of what is listed under one thing, newest first."""

    def __init__(self, provider: Provider, kind: str, name: str) -> None:
        super().__init__(provider, kind)
        self._name = name
        does, answers = (
            f"List the {name} of one {one_of_kind(kind)}, newest first.",
            {200: ITEMS, 202: TO_COME, 304: None},
        )
        self.calls: Calls = {
            "GET": Call(does, answers, query=PAGE | AS_OF, headers=IF_NONE_MATCH, answer_headers=ANSWER_HEADERS)
        }

    def _listed(self, platform: Platform) -> tuple[Entity, Listed]:
        """Raises `NotFound` where the platform has no such list."""
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
            at = asked_for(req)
            if at is not None:
                then = await those_of(req, alone, where, other, page.items, at)
                freshly = freshness.of_items(then, demand.max_age)
                body = _body(where, other, owner, then, page.next_cursor)
                send_marked(req, resp, {**body, "freshness": freshness_block(freshly)})
                return
            items = await media.of_page(
                alone, self._provider.services.links, where, other, page.items, reader_of(caller)
            )
            demand = within(demand, self._provider.services.database.settings.served_age, where, other, items)
            found = freshness.of_items(items, demand.max_age)
            plan = await self._plan(alone, caller, found, owner, listed.refetch)
        body = _body(where, other, owner, items, page.next_cursor)
        await self._answer(req, resp, demand, found, plan, other, body)


def _body(
    where: Platform, kind: Entity, owner: Owner, items: Sequence[Item], next_cursor: str | None
) -> dict[str, Any]:
    return {
        "platform": where.name,
        "kind": kind.kind,
        "of": owner.named(),
        "items": [item_body(kind, one) for one in items],
        "next_cursor": next_cursor,
    }
