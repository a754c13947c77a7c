"""The log of events, its sinks, replays and parked events."""

from beat_actors.cli.operators import here
from beat_actors.cli.operators.events import Filter
from beat_actors.cli.session import who
from beat_actors.events import parked, reading, replays, status
from beat_actors.events.parked import Forgotten, Parked, ParkedView
from beat_actors.events.reading import EventPage
from beat_actors.events.replays import NewReplay, ReplayView
from beat_actors.events.status import EventStatus


class Here(here.Here):
    async def status(self) -> EventStatus:
        return await status.status(self.session.database)

    async def page(self, wanted: Filter) -> EventPage:
        types = [wanted.type] if wanted.type is not None else []
        async with self.session.database.statements() as alone:
            return await reading.page(
                alone, after=wanted.after, since=wanted.since, types=types, subject=wanted.subject
            )

    async def replay(self, new: NewReplay, *, reason: str) -> ReplayView:
        async with self.session.database.transaction() as transaction:
            return await replays.replay(transaction, new, actor=who(), reason=reason)

    async def replays(self, limit: int) -> list[ReplayView]:
        async with self.session.database.statements() as alone:
            return await replays.replays(alone, limit=limit)

    async def cancel(self, replay: int, *, reason: str) -> ReplayView:
        async with self.session.database.transaction() as transaction:
            return await replays.cancel(transaction, replay, actor=who(), reason=reason)

    async def parked(self, sink: str | None, limit: int) -> list[ParkedView]:
        async with self.session.database.statements() as alone:
            return await parked.parked(alone, sink, limit=limit)

    async def retry(self, wanted: Parked, *, reason: str | None) -> int:
        async with self.session.database.transaction() as transaction:
            return await parked.retry(transaction, wanted, actor=who(), reason=reason)

    async def drop(self, sink: str, seqs: list[int], *, reason: str) -> int:
        async with self.session.database.transaction() as transaction:
            return await parked.drop(transaction, sink, seqs, actor=who(), reason=reason)

    async def forget(self, sink: str, *, reason: str) -> Forgotten:
        return await parked.forget(self.session.database, sink, actor=who(), reason=reason)
