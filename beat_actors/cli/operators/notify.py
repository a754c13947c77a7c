"""Sinks of notifications and their messages."""

from typing import Any

import msgspec

from beat_actors.cli import operators
from beat_actors.cli.operators import named, segment
from beat_actors.notify.kinds import Definition, Route
from beat_actors.notify.sinks import NotificationSinkView, NotificationView


class SinkList(msgspec.Struct):
    sinks: list[NotificationSinkView]


class MessageList(msgspec.Struct):
    messages: list[NotificationView]


class AddedSink(NotificationSinkView, frozen=True, kw_only=True):
    """A sink, and the secret that signs its messages if it is a webhook."""

    secret: str | None


class TestMade(msgspec.Struct):
    message_id: int


class There(operators.There):
    async def sinks(self) -> list[NotificationSinkView]:
        return (await self.client.fetch("/v1/notify/sinks", SinkList)).sinks

    async def add(self, name: str, given: Definition, route: Route) -> AddedSink:
        body = named(name=name, **msgspec.structs.asdict(given), **msgspec.structs.asdict(route))
        return await self.client.send("POST", "/v1/notify/sinks", AddedSink, body)

    async def change(self, name: str, changes: dict[str, Any]) -> NotificationSinkView:
        return await self.client.send("PATCH", _path(name), NotificationSinkView, changes)

    async def pause(self, name: str, *, paused: bool) -> NotificationSinkView:
        return await self.client.send(
            "PATCH", _path(name), NotificationSinkView, {"state": "paused" if paused else "active"}
        )

    async def remove(self, name: str, *, reason: str) -> None:
        await self.client.send("DELETE", _path(name), dict, params={"reason": reason})

    async def test(self, name: str) -> int:
        return (await self.client.send("POST", f"{_path(name)}/test", TestMade)).message_id

    async def message(self, number: int) -> NotificationView:
        return await self.client.fetch(f"/v1/notify/messages/{segment(number)}", NotificationView)

    async def messages(self, sink: str | None, state: str | None, limit: int) -> list[NotificationView]:
        wanted = {"sink": sink, "state": state, "limit": limit}
        return (await self.client.fetch("/v1/notify/messages", MessageList, wanted)).messages


def _path(name: str) -> str:
    return f"/v1/notify/sinks/{segment(name)}"
