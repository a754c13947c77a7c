"""The queues in Redis, and their messages."""

from actors.queues import MessageView, QueueOverview, Requeueing
from beat_actors.cli.operators import here
from beat_actors.cli.session import who


class Here(here.Here):
    async def look(self) -> QueueOverview:
        return await self.session.queues.look()

    async def messages(self, queue: str, limit: int) -> list[MessageView]:
        return await self.session.queues.messages(queue, limit)

    async def message(self, message: str) -> MessageView:
        return await self.session.queues.message(message)

    async def requeue(self, message: str, *, reason: str) -> MessageView:
        return await self.session.queues.requeue(self.session.database, message, actor=who(), reason=reason)

    async def requeue_dead(self, queue: str, actor: str | None, rate: float, *, reason: str) -> Requeueing:
        return await self.session.queues.requeue_dead(
            self.session.database, queue, of=actor, rate=rate, actor=who(), reason=reason
        )

    async def drop(self, message: str, *, reason: str) -> MessageView:
        return await self.session.queues.drop(self.session.database, message, actor=who(), reason=reason)

    async def purge(self, queue: str, state: str, *, reason: str) -> int:
        return await self.session.queues.purge(self.session.database, queue, state, actor=who(), reason=reason)
