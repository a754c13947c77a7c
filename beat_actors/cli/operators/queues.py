"""The queues in Redis, and their messages."""

import msgspec

from actors.queues import MessageView, QueueOverview, Requeueing
from beat_actors.cli import operators
from beat_actors.cli.operators import named, segment


class MessageList(msgspec.Struct):
    messages: list[MessageView]


class Purged(msgspec.Struct):
    purged: int


class There(operators.There):
    async def look(self) -> QueueOverview:
        return await self.client.fetch("/v1/queues", QueueOverview)

    async def messages(self, queue: str, limit: int) -> list[MessageView]:
        return (await self.client.fetch(f"/v1/queues/{segment(queue)}", MessageList, {"limit": limit})).messages

    async def message(self, message: str) -> MessageView:
        return await self.client.fetch(f"/v1/messages/{segment(message)}", MessageView)

    async def requeue(self, message: str, *, reason: str) -> MessageView:
        return await self._change(message, "requeue", reason)

    async def requeue_dead(self, queue: str, actor: str | None, rate: float, *, reason: str) -> Requeueing:
        body = named(actor=actor, rate=rate, reason=reason)
        return await self.client.send("POST", f"/v1/queues/{segment(queue)}/requeue", Requeueing, body)

    async def drop(self, message: str, *, reason: str) -> MessageView:
        return await self._change(message, "drop", reason)

    async def purge(self, queue: str, state: str, *, reason: str) -> int:
        body = {"state": state, "reason": reason}
        return (await self.client.send("POST", f"/v1/queues/{segment(queue)}/purge", Purged, body)).purged

    async def _change(self, message: str, change: str, reason: str) -> MessageView:
        path = f"/v1/messages/{segment(message)}/{change}"
        return await self.client.send("POST", path, MessageView, {"reason": reason})
