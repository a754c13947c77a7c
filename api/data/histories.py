"""/v1/KIND/PLATFORM/NAME/history and /v1/KIND/PLATFORM/NAME/LIST/history: what was observed."""

from typing import Any

from falcon.asgi import Request, Response

from api.access import caller_of, reader_of
from api.calls import Call, Calls
from api.data.answers import ANSWER_HEADERS, HISTORY, HISTORY_PAGE, IF_NONE_MATCH, TO_COME
from api.data.kinds import Demand, OfKind, Owner, within
from api.data.lists import List
from api.naming import one_of_kind
from api.parameters import moment, page_of
from api.services import Provider
from beat_actors.data import freshness, reading
from beat_actors.database import Transaction
from beat_actors.errors import NotFound
from beat_actors.platforms.interface import Entity, Platform
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.text import check_text


class History(OfKind):
    """GET: a page of the snapshots of one thing, newest first."""

    def __init__(self, provider: Provider, kind: str) -> None:
        super().__init__(provider, kind)
        does = f"List the snapshots of one {one_of_kind(kind)}, newest first."
        answers = {200: HISTORY, 202: TO_COME, 304: None}
        self.calls: Calls = {
            "GET": Call(does, answers, query=HISTORY_PAGE, headers=IF_NONE_MATCH, answer_headers=ANSWER_HEADERS)
        }

    async def on_get(self, req: Request, resp: Response, platform: str, name: str) -> None:
        where = platform_named(platform)
        entity = where.entity_named(self._kind)
        check_text(name, "name", longest=255, one_line=True)
        demand, caller = Demand.of(req, entity.max_age), caller_of(req)
        async with self._provider.services.database.statements() as alone:
            owner = await self._find(alone, caller, where, name)
            subject = owner.item.fields[entity.subject or entity.key]
            page = await snapshots(req, alone, where, entity, subject)
            demand = within(demand, self._provider.services.database.settings.served_age, where, entity, [owner.item])
            found = freshness.of_item(owner.item, demand.max_age)
            plan = await self._plan(alone, caller, found, owner, entity.refetch)
        await self._answer(req, resp, demand, found, plan, entity, _history(owner, entity, page))


class ListHistory(List):
    """GET: a page of the snapshots of a list, newest first, where they are logged under the list's owner, as insights are."""

    def __init__(self, provider: Provider, kind: str, name: str) -> None:
        super().__init__(provider, kind, name)
        does = f"List the snapshots of the {name} of one {one_of_kind(kind)}, newest first."
        answers = {200: HISTORY, 202: TO_COME, 304: None}
        self.calls = {
            "GET": Call(does, answers, query=HISTORY_PAGE, headers=IF_NONE_MATCH, answer_headers=ANSWER_HEADERS)
        }

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


async def snapshots(
    req: Request, transaction: Transaction, platform: Platform, entity: Entity, subject: Any
) -> reading.History:
    """The page of snapshots that the query asks for."""
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


def _history(owner: Owner, entity: Entity, page: reading.History) -> dict[str, Any]:
    return {
        "platform": owner.platform.name,
        "kind": entity.kind,
        "of": owner.named(),
        "snapshots": page.snapshots,
        "next_cursor": page.next_cursor,
    }
