"""Webhooks and their deliveries."""

from datetime import datetime

import msgspec

from beat_actors.cli.operators import here
from beat_actors.cli.operators.webhooks import Added, NewSecret
from beat_actors.cli.session import who
from beat_actors.webhooks import endpoints
from beat_actors.webhooks.endpoints import DeliveryList, EndpointView, Reader


class Here(here.Here):
    async def webhooks(self) -> list[EndpointView]:
        async with self.session.database.transaction() as transaction:
            return await endpoints.overview(transaction, _me())

    async def webhook(self, webhook: int) -> EndpointView:
        async with self.session.database.transaction() as transaction:
            return await endpoints.find(transaction, webhook, _me())

    async def add(self, url: str, events: list[str], account: str | None) -> Added:
        async with self.session.database.transaction() as transaction:
            made, secret = await endpoints.create(
                transaction,
                self.session.vault,
                url=url,
                events=events,
                account_id=account,
                actor=who(),
                allow_private=self.session.settings.webhook_allow_private,
            )
        return Added(**msgspec.structs.asdict(made), secret=secret)

    async def rotate(self, webhook: int) -> NewSecret:
        async with self.session.database.transaction() as transaction:
            return NewSecret(*await endpoints.rotate(transaction, self.session.vault, webhook, _me()))

    async def pause(self, webhook: int, *, paused: bool) -> None:
        allow = self.session.settings.webhook_allow_private
        async with self.session.database.transaction() as transaction:
            await endpoints.change(transaction, webhook, _me(), allow_private=allow, paused=paused)

    async def remove(self, webhook: int, *, reason: str) -> None:
        async with self.session.database.transaction() as transaction:
            await endpoints.delete(transaction, webhook, _me(), reason=reason)

    async def deliveries(self, webhook: int, state: str | None, limit: int, cursor: str | None) -> DeliveryList:
        async with self.session.database.transaction() as transaction:
            return await endpoints.deliveries(transaction, webhook, _me(), state=state, limit=limit, cursor=cursor)

    async def resend(self, webhook: int, delivery: int) -> None:
        async with self.session.database.transaction() as transaction:
            await endpoints.resend(transaction, webhook, delivery, _me())

    async def resend_failed(self, webhook: int, since: datetime) -> int:
        async with self.session.database.transaction() as transaction:
            return await endpoints.resend_failed(transaction, webhook, since, _me())


def _me() -> Reader:
    return Reader(who(), all=True)
