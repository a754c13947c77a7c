"""/v1/events: the log of events, the sinks that it is published to, replays, and events that a sink did not take."""

from typing import Annotated

import msgspec
from falcon.asgi import Request, Response

from api.access import Scopes, caller_of, reader_of
from api.body import read
from api.calls import Call, Calls, answer, up_to
from api.operations.reasons import CHANGE, READ, Reason, Text
from api.parameters import moment, number, row_id, whole
from api.replies import send
from api.resource import Resource
from beat_actors.access.scopes import Scope
from beat_actors.errors import BadInput
from beat_actors.events import parked, reading, replays, status
from beat_actors.text import check_text


class ReplayToAdd(replays.NewReplay, kw_only=True, forbid_unknown_fields=True):
    """Events that are sent to a sink once more, and why."""

    reason: Text


class ParkedToRetry(parked.Parked, kw_only=True, forbid_unknown_fields=True):
    """Parked events of a sink that are sent again now. A field that is left out matches any value."""

    reason: Text | None = None


class ParkedToDrop(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Parked events of a sink that are given up, by their places in the log."""

    sink: str
    seqs: Annotated[list[int], msgspec.Meta(min_length=1, max_length=parked.MOST_NAMED)]
    reason: Text


class Events(Resource):
    """GET: events of the log, a page of its places."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "List events of the log from a place or a time on, or the last ones.",
            {200: reading.EventPage},
            query={"after": up_to(2**63 - 1), "since": str, "type": str, "subject": str},
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        subject, types = req.get_param("subject"), req.get_param("type")
        check_text(subject or "", "subject", longest=500)
        async with self._provider.services.database.statements() as alone:
            page = await reading.page(
                alone,
                after=number(req, "after"),
                since=moment(req, "since"),
                types=[types] if types is not None else [],
                subject=subject,
            )
        send(resp, page)


class Event(Resource):
    """GET: one event."""

    scopes: Scopes = {"GET": Scope.READ}
    calls: Calls = {
        "GET": Call(
            "Get an event by its place in the log, with its data: the target of `dataref`.", {200: reading.EventView}
        )
    }

    async def on_get(self, req: Request, resp: Response, seq: str) -> None:
        reader = reader_of(caller_of(req))
        async with self._provider.services.database.statements() as alone:
            send(resp, await reading.event(alone, row_id(seq, "seq"), reader))


class EventSinks(Resource):
    """GET: the sinks, and how far each is behind."""

    scopes = READ
    calls: Calls = {"GET": Call("Get the state of the log and of every sink.", {200: status.EventStatus})}

    async def on_get(self, _req: Request, resp: Response) -> None:
        send(resp, await status.status(self._provider.services.database))


class EventSink(Resource):
    """DELETE: forget a sink that is configured no more."""

    scopes: Scopes = {"DELETE": Scope.OPERATE}
    calls: Calls = {
        "DELETE": Call(
            "Forget a sink that no publisher has, with its parked events and replays.",
            {200: parked.Forgotten},
            query={"reason": str},
            needs=frozenset({"reason"}),
        )
    }

    async def on_delete(self, req: Request, resp: Response, sink: str) -> None:
        reason = req.get_param("reason") or ""
        if not reason.strip():
            raise BadInput("say why the sink is forgotten", field="reason")
        database = self._provider.services.database
        send(resp, await parked.forget(database, sink, actor=caller_of(req).actor, reason=reason))


class EventReplays(Resource):
    """GET: replays. POST: have events sent to a sink once more."""

    scopes = {**READ, **CHANGE}
    calls: Calls = {
        "GET": Call(
            "List replays, newest first.",
            {200: answer("ReplayList", replays=list[replays.ReplayView])},
            query={"limit": up_to(replays.MOST_LISTED, least=1)},
        ),
        "POST": Call("Send events to a sink once more.", {202: replays.ReplayView}, body=ReplayToAdd),
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        limit = whole(req, "limit", default=100, most=replays.MOST_LISTED)
        async with self._provider.services.database.statements() as alone:
            send(resp, {"replays": await replays.replays(alone, limit=limit)})

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, ReplayToAdd)
        async with self._provider.services.database.transaction() as transaction:
            made = await replays.replay(transaction, given, actor=caller_of(req).actor, reason=given.reason)
        resp.status = 202
        send(resp, made)


class EventReplayCancel(Resource):
    """POST: end a replay."""

    scopes = CHANGE
    calls: Calls = {"POST": Call("Cancel a replay.", {200: replays.ReplayView}, body=Reason)}

    async def on_post(self, req: Request, resp: Response, replay_id: str) -> None:
        reason = (await read(req, Reason)).reason
        async with self._provider.services.database.transaction() as transaction:
            send(
                resp,
                await replays.cancel(
                    transaction, row_id(replay_id, "replay_id"), actor=caller_of(req).actor, reason=reason
                ),
            )


class ParkedEvents(Resource):
    """GET: events that a sink did not take."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "List events that a sink did not take while it took others.",
            {200: answer("ParkedList", parked=list[parked.ParkedView])},
            query={"sink": str, "limit": up_to(parked.MOST_LISTED, least=1)},
            named="list_parked_events",
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        limit = whole(req, "limit", default=100, most=parked.MOST_LISTED)
        async with self._provider.services.database.statements() as alone:
            send(resp, {"parked": await parked.parked(alone, req.get_param("sink"), limit=limit)})


class ParkedEventsRetry(Resource):
    """POST: have parked events sent again now."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call(
            "Send parked events again now.",
            {200: answer("Retried", retried=int)},
            body=ParkedToRetry,
            named="retry_parked_events",
        )
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, ParkedToRetry)
        async with self._provider.services.database.transaction() as transaction:
            count = await parked.retry(transaction, given, actor=caller_of(req).actor, reason=given.reason)
        send(resp, {"retried": count})


class ParkedEventsDrop(Resource):
    """POST: give parked events up."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call(
            "Drop parked events: they are never sent, and later ones of their subjects are.",
            {200: answer("Dropped", dropped=int)},
            body=ParkedToDrop,
            named="drop_parked_events",
        )
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, ParkedToDrop)
        async with self._provider.services.database.transaction() as transaction:
            count = await parked.drop(
                transaction, given.sink, given.seqs, actor=caller_of(req).actor, reason=given.reason
            )
        send(resp, {"dropped": count})
