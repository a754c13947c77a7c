"""/v1/queues and /v1/messages: look at the messages in Redis and change them."""

from typing import Annotated

import msgspec
from falcon.asgi import Request, Response

from actors import queues
from api.access import caller_of
from api.body import read
from api.calls import Call, Calls, answer, up_to
from api.operations.reasons import CHANGE, READ, Reason, Text
from api.parameters import whole
from api.replies import send
from api.resource import Resource
from beat_actors.errors import NotFound
from beat_actors.shapes import between, one_of


class Purge(msgspec.Struct, forbid_unknown_fields=True):
    """`state`: waiting, delayed or dead."""

    reason: Text
    state: Annotated[str, one_of(queues.PURGED)]


class Requeue(msgspec.Struct, forbid_unknown_fields=True):
    """Which dead letters are requeued. `actor`: only those of this actor. `rate`: messages a second."""

    reason: Text
    actor: str | None = None
    rate: Annotated[float, between(0, queues.MOST_A_SECOND)] = 10.0


class Queues(Resource):
    """GET: each queue, with its depth, the workers that hold messages, its dead letters, the age of its oldest message and its rate."""

    scopes = READ
    calls: Calls = {
        "GET": Call("List queues with depth, in-flight messages and dead letters.", {200: queues.QueueOverview})
    }

    async def on_get(self, _req: Request, resp: Response) -> None:
        send(resp, await self._provider.services.queues.look())


class Queue(Resource):
    """GET: messages of a queue: those that workers hold, those that wait longest, and the newest dead letters."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "List messages of a queue.",
            {200: answer("MessageList", messages=list[queues.MessageView])},
            query={"limit": up_to(queues.MOST_LISTED, least=1)},
            named="list_queue_messages",
        )
    }

    async def on_get(self, req: Request, resp: Response, queue: str) -> None:
        limit = whole(req, "limit", default=50, most=queues.MOST_LISTED)
        send(resp, {"messages": await self._provider.services.queues.messages(queue, limit)})


class QueuePurge(Resource):
    """POST: delete all messages of one state."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call(
            "Delete all messages of one state.",
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


class QueueRequeue(Resource):
    """POST: send dead letters again, at a rate. The leading scheduler sends them."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call("Requeue dead letters at `rate` messages a second.", {202: queues.Requeueing}, body=Requeue)
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


class QueueMessage(Resource):
    """GET: one message and its content."""

    scopes = READ
    calls: Calls = {"GET": Call("Get a message and its content.", {200: queues.MessageView})}

    async def on_get(self, _req: Request, resp: Response, message_id: str) -> None:
        send(resp, await self._provider.services.queues.message(message_id))


class QueueMessageChange(Resource):
    """POST: requeue or drop a message. The answer is the message as it was before."""

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
