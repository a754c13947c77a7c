"""/v1/KIND/PLATFORM: all that is known of a kind."""

from falcon.asgi import Request, Response

from api.access import caller_of, reader_of
from api.calls import Call, Calls, answer, up_to
from api.data.answers import ListedItem, item_body
from api.data.earlier import AS_OF, asked_for, those_of
from api.data.kinds import OfKind
from api.deadline import in_time
from api.parameters import page_of
from api.replies import send
from api.services import Provider
from beat_actors.data import listing, media, reading
from beat_actors.data.reading import Items
from beat_actors.platforms.interface import Entity, Platform
from beat_actors.platforms.registry import platform as platform_named

PAGE = answer("KindPage", platform=str, kind=str, items=list[ListedItem], next_cursor=str | None)


class Collection(OfKind):
    """GET: a page of the things of one kind, in the order of their ids. It starts no refresh."""

    def __init__(self, provider: Provider, kind: str) -> None:
        super().__init__(provider, kind)
        self.calls: Calls = {
            "GET": Call(
                f"List all known {kind} of a platform, in the order of their ids.",
                {200: PAGE},
                query={"limit": up_to(reading.MAX_PAGE, least=1), "cursor": str} | AS_OF,
                named=f"list_all_{kind.replace('-', '_')}",
            )
        }

    async def on_get(self, req: Request, resp: Response, platform: str) -> None:
        where = platform_named(platform)
        entity = where.entity_named(self._kind)
        limit, cursor = page_of(req, reading.MAX_PAGE)
        page = await in_time(self._page(req, where, entity, limit, cursor))
        items = [item_body(entity, one) for one in page.items]
        send(resp, {"platform": where.name, "kind": entity.kind, "items": items, "next_cursor": page.next_cursor})

    async def _page(self, req: Request, where: Platform, entity: Entity, limit: int, cursor: str | None) -> Items:
        reader, at = reader_of(caller_of(req)), asked_for(req)
        async with self._provider.services.database.statements() as alone:
            page = await listing.known(alone, where, entity, limit=limit, cursor=cursor, reader=reader)
            if at is not None:
                return Items(await those_of(req, alone, where, entity, page.items, at), page.next_cursor)
            items = await media.of_page(alone, self._provider.services.links, where, entity, page.items, reader)
        return Items(items, page.next_cursor)
