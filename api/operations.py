"""What operators look at and steer: credentials, sources, queues, quarantine, alerts, the audit log. Every change wants a reason."""

from typing import Annotated

import msgspec
from falcon.asgi import Request, Response

from actors import queues
from api.access import Scopes, caller_of
from api.body import read
from api.calls import Call, Calls, answer, up_to
from api.scrape_requests import row_id, send, switch, whole
from api.services import Provider
from beat_actors import alerts, audit, quarantine
from beat_actors.access.scopes import Scope
from beat_actors.broker import flows, sources
from beat_actors.credentials.info import CredentialEvent, CredentialInfo
from beat_actors.credentials.manager import CredentialManager
from beat_actors.errors import NotFound
from beat_actors.shapes import between, one_of
from beat_actors.text import check_text

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
READ: Scopes = {"GET": Scope.OPERATE}
CHANGE: Scopes = {"POST": Scope.OPERATE}


class Reason(msgspec.Struct, forbid_unknown_fields=True):
    """Why something is changed; it is kept in the audit log."""

    reason: Text


class NewCredential(msgspec.Struct, forbid_unknown_fields=True):
    """`secret`: the fields that the source wants, as `beat credentials add` asks for them. `account_id`: the account that is granted
    the credential's owner. `shared`: whether it also serves calls that need no owner; if not given, only without an account."""

    source: str
    secret: dict[str, str]
    label: str = ""
    weight: int = 1
    account_id: str | None = None
    shared: bool | None = None


class NewSecret(msgspec.Struct, forbid_unknown_fields=True):
    secret: dict[str, str]
    reason: Text


class Opening(msgspec.Struct, forbid_unknown_fields=True):
    """`operation`: without one, all of the source's. `seconds`: how long; then one probe decides."""

    reason: Text
    operation: str | None = None
    seconds: float = 3600.0


class Closing(msgspec.Struct, forbid_unknown_fields=True):
    reason: Text
    operation: str | None = None


class FlowChange(msgspec.Struct, forbid_unknown_fields=True):
    """What is left out stays as it is; `null` for a number goes back to what the flow declares.

    `platform`: needed where several have a flow of that name.
    """

    reason: Text
    workers: int | msgspec.UnsetType | None = msgspec.UNSET
    concurrency: int | msgspec.UnsetType | None = msgspec.UNSET
    paused: bool | None = None
    platform: str | None = None


class Purge(msgspec.Struct, forbid_unknown_fields=True):
    """`state`: waiting, delayed or dead."""

    reason: Text
    state: Annotated[str, one_of(queues.PURGED)]


class Requeue(msgspec.Struct, forbid_unknown_fields=True):
    """Dead letters that are to be worked on again; `actor`: of this one alone. `rate`: messages a second."""

    reason: Text
    actor: str | None = None
    rate: Annotated[float, between(0, queues.MOST_A_SECOND)] = 10.0


class Resolution(msgspec.Struct, forbid_unknown_fields=True):
    """A cluster of the quarantine, as it was seen: nothing after `newest` is touched. What is not named may be any; `path`: empty names none."""

    reason: Text
    kind: Annotated[str, one_of(quarantine.KINDS)]
    newest: int
    platform: str | None = None
    source: str | None = None
    operation: str | None = None
    path: str | None = None
    parser_version: int | None = None


class Replay(msgspec.Struct, forbid_unknown_fields=True):
    """A cluster that is to be read anew, as it was seen; `rate`: entries a second."""

    reason: Text
    kind: Annotated[str, one_of(quarantine.REPLAYABLE)]
    newest: int
    platform: str | None = None
    source: str | None = None
    operation: str | None = None
    path: str | None = None
    parser_version: int | None = None
    rate: float = 10.0


class Silence(msgspec.Struct, forbid_unknown_fields=True):
    reason: Text
    silenced: bool = True


class _Resource:
    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def _manager(self, req: Request) -> CredentialManager:
        services = self._provider.services
        return CredentialManager(services.database, services.vault, actor=caller_of(req).actor)


class Credentials(_Resource):
    """GET lists credentials, without their secrets; POST adds one, which its check looks at within seconds."""

    scopes: Scopes = {**READ, **CHANGE}
    calls: Calls = {
        "GET": Call(
            "Credentials, never their secrets.",
            {200: answer("CredentialList", credentials=list[CredentialInfo])},
            query={"source": str},
        ),
        "POST": Call("Add a credential.", {200: CredentialInfo, 201: CredentialInfo}, body=NewCredential),
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        source = req.get_param("source")
        check_text(source or "", "source", longest=100)
        send(resp, {"credentials": await self._manager(req).overview(source)})

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, NewCredential)
        manager = self._manager(req)
        number, new = await manager.add(
            given.source,
            given.secret,
            label=given.label,
            weight=given.weight,
            account_id=given.account_id,
            shared=given.shared,
        )
        info = await manager.info(number)
        self._provider.bell.ring([info.platform])
        resp.status = 201 if new else 200
        resp.set_header("Location", f"/v1/credentials/{number}")
        send(resp, info)


class Credential(_Resource):
    """GET one, with what happened to it."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "One credential, with what happened to it.",
            {200: answer("CredentialHistory", credential=CredentialInfo, history=list[CredentialEvent])},
            query={"limit": up_to(1000)},
        )
    }

    async def on_get(self, req: Request, resp: Response, credential_id: str) -> None:
        manager, number = self._manager(req), row_id(credential_id)
        info = await manager.info(number)
        history = await manager.history(number, limit=whole(req, "limit", default=50, most=1000))
        send(resp, {"credential": info, "history": history})


class CredentialSecret(_Resource):
    """POST gives a credential a new secret; a dead one lives again when its check is well."""

    scopes = CHANGE
    calls: Calls = {"POST": Call("Give a credential a new secret.", {200: CredentialInfo}, body=NewSecret)}

    async def on_post(self, req: Request, resp: Response, credential_id: str) -> None:
        given, number = await read(req, NewSecret), row_id(credential_id)
        manager = self._manager(req)
        await manager.replace(number, given.secret, reason=given.reason)
        info = await manager.info(number)
        self._provider.bell.ring([info.platform])
        send(resp, info)


class CredentialChange(_Resource):
    """POST enable, disable, reset (which ends a cooldown), share (with calls that need no owner) or unshare."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call("Enable, disable, reset, share or unshare a credential.", {200: CredentialInfo}, body=Reason)
    }

    async def on_post(self, req: Request, resp: Response, credential_id: str, change: str) -> None:
        manager = self._manager(req)
        changes = {
            "enable": manager.enable,
            "disable": manager.disable,
            "reset": manager.reset,
            "share": manager.share,
            "unshare": manager.unshare,
        }
        if change not in changes:
            raise NotFound(f"a credential can be changed by {', '.join(changes)}")
        given, number = await read(req, Reason), row_id(credential_id)
        await changes[change](number, reason=given.reason)
        info = await manager.info(number)
        self._provider.bell.ring([info.platform])
        send(resp, info)


class Sources(_Resource):
    """GET every source: how many of its credentials can be used, what is out, which breakers are not at rest."""

    scopes = READ
    calls: Calls = {
        "GET": Call("Sources and their breakers.", {200: answer("SourceList", sources=list[sources.SourceView])})
    }

    async def on_get(self, _req: Request, resp: Response) -> None:
        send(resp, {"sources": await sources.overview(self._provider.services.database)})


class SourceBreaker(_Resource):
    """POST open (a drain: nothing more is sent, what is out ends) or close (ask again at once)."""

    scopes = CHANGE
    calls: Calls = {"POST": Call("Open or close the breaker of a source.", {200: sources.SourceView}, body=Opening)}

    async def on_post(self, req: Request, resp: Response, source: str, change: str) -> None:
        services, actor = self._provider.services, caller_of(req).actor
        check_text(source, "source", longest=100)
        if change == "open":
            opening = await read(req, Opening)
            await sources.open_breaker(
                services.database,
                source,
                opening.operation,
                seconds=opening.seconds,
                actor=actor,
                reason=opening.reason,
            )
        elif change == "close":
            closing = await read(req, Closing)
            await sources.close_breaker(
                services.database, source, closing.operation, actor=actor, reason=closing.reason
            )
        else:
            raise NotFound("a breaker is changed by open or close")
        (view,) = await sources.overview(services.database, source)
        self._provider.bell.ring([view.platform])
        send(resp, view)


class Flows(_Resource):
    """GET every flow: how many calls of it may be out at once, how many are, how much waits."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "Flows: how many calls may be out, are out, and wait.",
            {200: answer("FlowList", flows=list[flows.FlowView])},
            query={"platform": str},
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        platform = req.get_param("platform")
        check_text(platform or "", "platform", longest=100)
        send(resp, {"flows": await flows.overview(self._provider.services.database, platform=platform)})


class Flow(_Resource):
    """PATCH how many calls of a flow may be out at once, or let it wait; in force at once."""

    scopes: Scopes = {"PATCH": Scope.OPERATE}
    calls: Calls = {
        "PATCH": Call(
            "Change how many calls of a flow may be out, or pause it.", {200: flows.FlowView}, body=FlowChange
        )
    }

    async def on_patch(self, req: Request, resp: Response, flow: str) -> None:
        given, services = await read(req, FlowChange), self._provider.services
        check_text(flow, "flow", longest=100)
        view = await flows.change(
            services.database,
            flow,
            given.platform,
            workers=given.workers,
            concurrency=given.concurrency,
            paused=given.paused,
            actor=caller_of(req).actor,
            reason=given.reason,
        )
        self._provider.bell.ring([view.platform])
        send(resp, view)


class Queues(_Resource):
    """GET what lies in Redis: depth, who holds what, dead letters, the age of the oldest, how fast it drains."""

    scopes = READ
    calls: Calls = {"GET": Call("What lies in Redis.", {200: queues.Look})}

    async def on_get(self, _req: Request, resp: Response) -> None:
        send(resp, await self._provider.services.queues.look())


class Queue(_Resource):
    """GET messages of a queue: what workers hold, what waits the longest, what died last."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "Messages of a queue.",
            {200: answer("MessageList", messages=list[queues.MessageView])},
            query={"limit": up_to(queues.MOST_LISTED)},
        )
    }

    async def on_get(self, req: Request, resp: Response, queue: str) -> None:
        limit = whole(req, "limit", default=50, most=queues.MOST_LISTED)
        send(resp, {"messages": await self._provider.services.queues.messages(queue, limit)})


class QueuePurge(_Resource):
    """POST takes away all messages of one state."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call(
            "Take away all messages of one state.",
            {200: answer("Purged", queue=str, state=str, purged=int)},
            body=Purge,
        )
    }

    async def on_post(self, req: Request, resp: Response, queue: str) -> None:
        given, services = await read(req, Purge), self._provider.services
        count = await services.queues.purge(
            services.database, queue, given.state, actor=caller_of(req).actor, reason=given.reason
        )
        send(resp, {"queue": queue, "state": given.state, "purged": count})


class QueueRequeue(_Resource):
    """POST lets dead letters be worked on again, at a pace; the leading scheduler does it."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call("Let dead letters be worked on again, at a pace.", {202: queues.Requeueing}, body=Requeue)
    }

    async def on_post(self, req: Request, resp: Response, queue: str) -> None:
        given, services = await read(req, Requeue), self._provider.services
        found = await services.queues.requeue_dead(
            services.database,
            queue,
            of=given.actor,
            rate=given.rate,
            actor=caller_of(req).actor,
            reason=given.reason,
        )
        resp.status = 202
        send(resp, found)


class QueueMessage(_Resource):
    """GET one message and what is in it."""

    scopes = READ
    calls: Calls = {"GET": Call("One message and what is in it.", {200: queues.MessageView})}

    async def on_get(self, _req: Request, resp: Response, message_id: str) -> None:
        send(resp, await self._provider.services.queues.message(message_id))


class QueueMessageChange(_Resource):
    """POST requeue or drop; the answer is the message as it was before."""

    scopes = CHANGE
    calls: Calls = {"POST": Call("Requeue or drop a message.", {200: queues.MessageView}, body=Reason)}

    async def on_post(self, req: Request, resp: Response, message_id: str, change: str) -> None:
        services = self._provider.services
        changes = {"requeue": services.queues.requeue, "drop": services.queues.drop}
        if change not in changes:
            raise NotFound(f"a message can be changed by {', '.join(changes)}")
        given = await read(req, Reason)
        found = await changes[change](services.database, message_id, actor=caller_of(req).actor, reason=given.reason)
        send(resp, found)


class Quarantine(_Resource):
    """GET what stands in quarantine, by what looks alike."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "What could not be used, by what looks alike.",
            {200: answer("ClusterList", clusters=list[quarantine.Cluster])},
            query={"limit": up_to(1000)},
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        limit = whole(req, "limit", default=100, most=1000)
        async with self._provider.services.database.transaction() as transaction:
            send(resp, {"clusters": await quarantine.clusters(transaction, limit=limit)})


class QuarantineEntry(_Resource):
    """GET one entry."""

    scopes = READ
    calls: Calls = {"GET": Call("One entry of the quarantine.", {200: quarantine.Entry})}

    async def on_get(self, _req: Request, resp: Response, entry_id: str) -> None:
        async with self._provider.services.database.transaction() as transaction:
            send(resp, await quarantine.entry(transaction, row_id(entry_id)))


class QuarantineResolve(_Resource):
    """POST takes a cluster that has been dealt with off the list."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call(
            "Take a cluster that has been dealt with off the list.",
            {200: answer("Resolved", resolved=int)},
            body=Resolution,
        )
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, Resolution)
        async with self._provider.services.database.transaction() as transaction:
            count = await quarantine.resolve(
                transaction,
                given.kind,
                newest=given.newest,
                platform=given.platform,
                source=given.source,
                operation=given.operation,
                path=given.path,
                parser_version=given.parser_version,
                actor=caller_of(req).actor,
                reason=given.reason,
            )
        send(resp, {"resolved": count})


class QuarantineReplay(_Resource):
    """POST has a cluster read anew, some entries a second: the payloads that are kept, and the provider only for the others."""

    scopes = CHANGE
    calls: Calls = {"POST": Call("Read a cluster anew, some entries a second.", {202: quarantine.Replay}, body=Replay)}

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, Replay)
        async with self._provider.services.database.transaction() as transaction:
            found = await quarantine.replay(
                transaction,
                given.kind,
                newest=given.newest,
                platform=given.platform,
                source=given.source,
                operation=given.operation,
                path=given.path,
                parser_version=given.parser_version,
                rate=given.rate,
                actor=caller_of(req).actor,
                reason=given.reason,
            )
        resp.status = 202
        send(resp, found)


class Alerts(_Resource):
    """GET the open alerts, the gravest first; with `?resolved=true` those that are over too."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "Open alerts, the gravest first.",
            {200: answer("AlertList", alerts=list[alerts.AlertView])},
            query={"resolved": bool, "limit": up_to(1000)},
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        limit, resolved = whole(req, "limit", default=200, most=1000), switch(req, "resolved")
        async with self._provider.services.database.transaction() as transaction:
            found = await alerts.list_alerts(transaction, resolved=resolved, limit=limit)
        send(resp, {"alerts": found})


class AlertSilence(_Resource):
    """POST tells nobody of this alert any more, or with `silenced: false` again."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call(
            "Silence an alert, or end that.", {200: answer("Silenced", id=int, key=str, silenced=bool)}, body=Silence
        )
    }

    async def on_post(self, req: Request, resp: Response, alert_id: str) -> None:
        given, number = await read(req, Silence), row_id(alert_id)
        async with self._provider.services.database.transaction() as transaction:
            key = await alerts.silence(
                transaction, number, silenced=given.silenced, actor=caller_of(req).actor, reason=given.reason
            )
        send(resp, {"id": number, "key": key, "silenced": given.silenced})


class Audit(_Resource):
    """GET who changed what, newest first."""

    scopes: Scopes = {"GET": Scope.ADMIN}
    calls: Calls = {
        "GET": Call(
            "Who changed what, newest first.",
            {200: answer("AuditLog", entries=list[audit.Entry])},
            query={"target": str, "actor": str, "limit": up_to(1000)},
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        target, actor = req.get_param("target"), req.get_param("actor")
        for name, value in (("target", target), ("actor", actor)):
            check_text(value or "", name, longest=300)
        limit = whole(req, "limit", default=50, most=1000)
        async with self._provider.services.database.transaction() as transaction:
            send(resp, {"entries": await audit.entries(transaction, target=target, actor=actor, limit=limit)})


ROUTES: dict[str, type[_Resource]] = {
    "/v1/credentials": Credentials,
    "/v1/credentials/{credential_id}": Credential,
    "/v1/credentials/{credential_id}/secret": CredentialSecret,
    "/v1/credentials/{credential_id}/change/{change}": CredentialChange,
    "/v1/sources": Sources,
    "/v1/sources/{source}/breaker/{change}": SourceBreaker,
    "/v1/flows": Flows,
    "/v1/flows/{flow}": Flow,
    "/v1/queues": Queues,
    "/v1/queues/{queue}": Queue,
    "/v1/queues/{queue}/purge": QueuePurge,
    "/v1/queues/{queue}/requeue": QueueRequeue,
    "/v1/messages/{message_id}": QueueMessage,
    "/v1/messages/{message_id}/{change}": QueueMessageChange,
    "/v1/quarantine": Quarantine,
    "/v1/quarantine/{entry_id}": QuarantineEntry,
    "/v1/quarantine/resolve": QuarantineResolve,
    "/v1/quarantine/replay": QuarantineReplay,
    "/v1/alerts": Alerts,
    "/v1/alerts/{alert_id}/silence": AlertSilence,
    "/v1/audit": Audit,
}
