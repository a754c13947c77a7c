"""/v1/notify: the sinks of notifications, their messages, and tests. A signing secret is only in the answer that makes it."""

from typing import Annotated, Any

import msgspec
from falcon.asgi import Request, Response

from api.access import Scopes, caller_of
from api.body import read
from api.calls import Call, Calls, answer, up_to
from api.operations.reasons import READ
from api.parameters import number, row_id, whole, word
from api.replies import send
from api.resource import Resource
from beat_actors.access.scopes import Scope
from beat_actors.errors import BadInput
from beat_actors.notify import sinks
from beat_actors.notify.kinds import GROUPS, KINDS, Definition, Route
from beat_actors.notify.sinks import NotificationSinkView, NotificationView
from beat_actors.severities import SEVERITIES
from beat_actors.shapes import one_of

SEVERITY = Annotated[str, one_of(SEVERITIES)]
GROUP = Annotated[str, one_of(GROUPS)]
STATE = Annotated[str, one_of(sinks.STATES)]


class NewNotifySink(msgspec.Struct, forbid_unknown_fields=True):
    """The body that adds a sink. `url`, `key`: its address and its secret, as the kind needs them. `to`, `sender`: of e-mail. `severity`: these and more
    severe alerts. `platforms`: none: all. `hours`, `days`: such as 8-18 and mon-fri, in `timezone`. `repeat`: seconds, 0: never."""

    name: str
    kind: Annotated[str, one_of(KINDS)]
    url: str | None = None
    key: str | None = None
    to: list[str] = []
    sender: str | None = None
    severity: SEVERITY = "warning"
    platforms: list[str] | None = None
    hours: str | None = None
    days: str | None = None
    timezone: str = "UTC"
    group_by: GROUP | None = None
    repeat: int | None = None
    resolved: bool = True


class NotifySinkChange(msgspec.Struct, forbid_unknown_fields=True):
    """A field that is left out does not change. `state`: active or paused. An empty `hours` or `days`: always; no `platforms`: all."""

    state: Annotated[str, one_of(("active", "paused"))] | msgspec.UnsetType = msgspec.UNSET
    severity: SEVERITY | msgspec.UnsetType = msgspec.UNSET
    platforms: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    hours: str | msgspec.UnsetType | None = msgspec.UNSET
    days: str | msgspec.UnsetType | None = msgspec.UNSET
    timezone: str | msgspec.UnsetType = msgspec.UNSET
    group_by: GROUP | msgspec.UnsetType = msgspec.UNSET
    repeat: int | msgspec.UnsetType = msgspec.UNSET
    resolved: bool | msgspec.UnsetType = msgspec.UNSET


class MadeNotifySink(NotificationSinkView, frozen=True, kw_only=True):
    """A sink, with the secret that signs its messages if it is a webhook."""

    secret: str | None


class NotifySinks(Resource):
    """GET: list the sinks. POST: add one."""

    scopes: Scopes = {"GET": Scope.OPERATE, "POST": Scope.OPERATE}
    calls: Calls = {
        "GET": Call(
            "List the sinks of notifications, without their secrets.",
            {200: answer("NotifySinkList", sinks=list[NotificationSinkView])},
        ),
        "POST": Call("Add a sink of notifications.", {201: MadeNotifySink}, body=NewNotifySink),
    }

    async def on_get(self, _req: Request, resp: Response) -> None:
        async with self._provider.services.database.transaction() as transaction:
            send(resp, {"sinks": await sinks.overview(transaction)})

    async def on_post(self, req: Request, resp: Response) -> None:
        given, services = await read(req, NewNotifySink), self._provider.services
        fields = msgspec.structs.asdict(given)
        name = fields.pop("name")
        definition = Definition(**{field: fields.pop(field) for field in Definition.__struct_fields__})
        async with services.database.transaction() as transaction:
            made, secret = await sinks.create(
                transaction,
                services.vault,
                name,
                definition,
                Route(**fields),
                private=services.database.settings.notify_allow_private,
                actor=caller_of(req).actor,
            )
        resp.status = 201
        resp.set_header("Location", f"/v1/notify/sinks/{made.name}")
        send(resp, msgspec.to_builtins(made) | {"secret": secret})


class NotifySink(Resource):
    """GET: one sink. PATCH: change its route, pause or resume it. DELETE: delete it with its messages."""

    scopes: Scopes = {"GET": Scope.OPERATE, "PATCH": Scope.OPERATE, "DELETE": Scope.OPERATE}
    calls: Calls = {
        "GET": Call("Get a sink of notifications.", {200: NotificationSinkView}),
        "PATCH": Call(
            "Change which alerts a sink gets and when, pause or resume it.",
            {200: NotificationSinkView},
            body=NotifySinkChange,
        ),
        "DELETE": Call(
            "Delete a sink and its messages. The audit log keeps `reason`.",
            {200: answer("NotifySinkDeleted", name=str, deleted=bool)},
            query={"reason": str},
            needs=frozenset({"reason"}),
        ),
    }

    async def on_get(self, _req: Request, resp: Response, sink: str) -> None:
        async with self._provider.services.database.transaction() as transaction:
            send(resp, await sinks.find(transaction, sink))

    async def on_patch(self, req: Request, resp: Response, sink: str) -> None:
        changes = _given(await read(req, NotifySinkChange))
        state, actor = changes.pop("state", None), caller_of(req).actor
        if state is None and not changes:
            raise BadInput("name at least one field to change")
        if state not in (None, "active", "paused"):
            raise BadInput("state can be set to active or paused", field="state")
        async with self._provider.services.database.transaction() as transaction:
            if changes:
                await sinks.change(transaction, sink, changes, actor=actor)
            if state is not None:
                await sinks.pause(transaction, sink, paused=state == "paused", actor=actor)
            send(resp, await sinks.find(transaction, sink))

    async def on_delete(self, req: Request, resp: Response, sink: str) -> None:
        reason = req.get_param("reason") or ""
        async with self._provider.services.database.transaction() as transaction:
            await sinks.remove(transaction, sink, reason=reason, actor=caller_of(req).actor)
        send(resp, {"name": sink, "deleted": True})


class NotifySinkTest(Resource):
    """POST: send a test message to this sink, whatever its route and its state."""

    scopes: Scopes = {"POST": Scope.OPERATE}
    calls: Calls = {
        "POST": Call(
            "Send a test message to a sink. The message says whether it arrived.",
            {202: answer("NotifyTest", message_id=int)},
            named="test_notify_sink",
        )
    }

    async def on_post(self, req: Request, resp: Response, sink: str) -> None:
        async with self._provider.services.database.transaction() as transaction:
            made = await sinks.send_test(transaction, sink, actor=caller_of(req).actor)
        resp.status = 202
        send(resp, {"message_id": made})


class NotifyMessages(Resource):
    """GET: list messages, newest first."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "List messages to sinks of notifications, newest first.",
            {200: answer("NotifyMessageList", messages=list[NotificationView])},
            query={"sink": str, "state": STATE, "limit": up_to(sinks.MAX_PAGE, least=1), "before": up_to(2**63 - 1)},
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        limit = whole(req, "limit", default=50, most=sinks.MAX_PAGE)
        async with self._provider.services.database.transaction() as transaction:
            found = await sinks.messages(
                transaction,
                sink=req.get_param("sink"),
                state=word(req, "state", STATE),
                limit=limit,
                before=number(req, "before"),
            )
        send(resp, {"messages": found})


class NotifyMessage(Resource):
    """GET: one message."""

    scopes = READ
    calls: Calls = {"GET": Call("Get a message to a sink of notifications.", {200: NotificationView})}

    async def on_get(self, _req: Request, resp: Response, message_id: str) -> None:
        async with self._provider.services.database.transaction() as transaction:
            send(resp, await sinks.message(transaction, row_id(message_id, "message_id")))


def _given(change: NotifySinkChange) -> dict[str, Any]:
    found = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not msgspec.UNSET}
    return found | {name: found[name] or None for name in ("hours", "days") if name in found}


ROUTES: dict[str, type[Resource]] = {
    "/v1/notify/sinks": NotifySinks,
    "/v1/notify/sinks/{sink}": NotifySink,
    "/v1/notify/sinks/{sink}/test": NotifySinkTest,
    "/v1/notify/messages": NotifyMessages,
    "/v1/notify/messages/{message_id}": NotifyMessage,
}
