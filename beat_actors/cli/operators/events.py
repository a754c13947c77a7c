"""The log of events, its sinks, replays and parked events."""

from datetime import datetime
from typing import NamedTuple

import msgspec

from beat_actors.cli import operators
from beat_actors.cli.operators import named, segment
from beat_actors.events.parked import Forgotten, Parked, ParkedView
from beat_actors.events.reading import EventPage
from beat_actors.events.replays import NewReplay, ReplayView
from beat_actors.events.status import EventStatus


class ReplayList(msgspec.Struct):
    replays: list[ReplayView]


class ParkedList(msgspec.Struct):
    parked: list[ParkedView]


class Retried(msgspec.Struct):
    retried: int


class Dropped(msgspec.Struct):
    dropped: int


class Filter(NamedTuple):
    """Which events are listed."""

    after: int | None
    since: datetime | None
    type: str | None
    subject: str | None


class There(operators.There):
    async def status(self) -> EventStatus:
        return await self.client.fetch("/v1/events/sinks", EventStatus)

    async def page(self, wanted: Filter) -> EventPage:
        return await self.client.fetch("/v1/events", EventPage, wanted._asdict())

    async def replay(self, new: NewReplay, *, reason: str) -> ReplayView:
        body = named(**msgspec.structs.asdict(new)) | {"reason": reason}
        return await self.client.send("POST", "/v1/events/replays", ReplayView, body)

    async def replays(self, limit: int) -> list[ReplayView]:
        return (await self.client.fetch("/v1/events/replays", ReplayList, {"limit": limit})).replays

    async def cancel(self, replay: int, *, reason: str) -> ReplayView:
        path = f"/v1/events/replays/{segment(replay)}/cancel"
        return await self.client.send("POST", path, ReplayView, {"reason": reason})

    async def parked(self, sink: str | None, limit: int) -> list[ParkedView]:
        return (await self.client.fetch("/v1/events/parked", ParkedList, {"sink": sink, "limit": limit})).parked

    async def retry(self, wanted: Parked, *, reason: str | None) -> int:
        body = named(**msgspec.structs.asdict(wanted), reason=reason)
        return (await self.client.send("POST", "/v1/events/parked/retry", Retried, body)).retried

    async def drop(self, sink: str, seqs: list[int], *, reason: str) -> int:
        body = {"sink": sink, "seqs": seqs, "reason": reason}
        return (await self.client.send("POST", "/v1/events/parked/drop", Dropped, body)).dropped

    async def forget(self, sink: str, *, reason: str) -> Forgotten:
        path = f"/v1/events/sinks/{segment(sink)}"
        return await self.client.send("DELETE", path, Forgotten, params={"reason": reason})
