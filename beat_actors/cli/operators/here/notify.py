"""Sinks of notifications and their messages."""

from typing import Any

import msgspec

from beat_actors.cli.operators import here
from beat_actors.cli.operators.notify import AddedSink
from beat_actors.cli.session import who
from beat_actors.notify import sinks
from beat_actors.notify.kinds import Definition, Route
from beat_actors.notify.sinks import NotificationSinkView, NotificationView


class Here(here.Here):
    async def sinks(self) -> list[NotificationSinkView]:
        async with self.session.database.transaction() as transaction:
            return await sinks.overview(transaction)

    async def add(self, name: str, given: Definition, route: Route) -> AddedSink:
        async with self.session.database.transaction() as transaction:
            # Those who reach the database answer for where its sinks are.
            made, secret = await sinks.create(
                transaction, self.session.vault, name, given, route, private=True, actor=who()
            )
        return AddedSink(**msgspec.structs.asdict(made), secret=secret)

    async def change(self, name: str, changes: dict[str, Any]) -> NotificationSinkView:
        async with self.session.database.transaction() as transaction:
            return await sinks.change(transaction, name, changes, actor=who())

    async def pause(self, name: str, *, paused: bool) -> NotificationSinkView:
        async with self.session.database.transaction() as transaction:
            return await sinks.pause(transaction, name, paused=paused, actor=who())

    async def remove(self, name: str, *, reason: str) -> None:
        async with self.session.database.transaction() as transaction:
            await sinks.remove(transaction, name, reason=reason, actor=who())

    async def test(self, name: str) -> int:
        async with self.session.database.transaction() as transaction:
            return await sinks.send_test(transaction, name, actor=who())

    async def message(self, number: int) -> NotificationView:
        async with self.session.database.transaction() as transaction:
            return await sinks.message(transaction, number)

    async def messages(self, sink: str | None, state: str | None, limit: int) -> list[NotificationView]:
        async with self.session.database.transaction() as transaction:
            return await sinks.messages(transaction, sink=sink, state=state, limit=limit)
