"""Webhooks and their deliveries."""

from datetime import datetime

import msgspec

from beat_actors.cli import operators
from beat_actors.cli.operators import named, segment
from beat_actors.webhooks.endpoints import DeliveryList, EndpointView


class WebhookList(msgspec.Struct):
    webhooks: list[EndpointView]


class Added(EndpointView, frozen=True, kw_only=True):
    """An endpoint, and the secret that signs its deliveries."""

    secret: str


class NewSecret(msgspec.Struct):
    secret: str
    old_secret_until: datetime


class Resent(msgspec.Struct):
    resent: int


class There(operators.There):
    async def webhooks(self) -> list[EndpointView]:
        return (await self.client.fetch("/v1/webhooks", WebhookList)).webhooks

    async def webhook(self, webhook: int) -> EndpointView:
        return await self.client.fetch(_path(webhook), EndpointView)

    async def add(self, url: str, events: list[str], account: str | None) -> Added:
        body = named(url=url, events=events, account_id=account)
        return await self.client.send("POST", "/v1/webhooks", Added, body)

    async def rotate(self, webhook: int) -> NewSecret:
        return await self.client.send("POST", f"{_path(webhook)}/rotate", NewSecret)

    async def pause(self, webhook: int, *, paused: bool) -> None:
        await self.client.send("PATCH", _path(webhook), EndpointView, {"state": "paused" if paused else "active"})

    async def remove(self, webhook: int, *, reason: str) -> None:
        await self.client.send("DELETE", _path(webhook), dict, params={"reason": reason})

    async def deliveries(self, webhook: int, state: str | None, limit: int, cursor: str | None) -> DeliveryList:
        wanted = {"state": state, "limit": limit, "cursor": cursor}
        return await self.client.fetch(f"{_path(webhook)}/deliveries", DeliveryList, wanted)

    async def resend(self, webhook: int, delivery: int) -> None:
        await self.client.send("POST", f"{_path(webhook)}/deliveries/{segment(delivery)}/resend", dict)

    async def resend_failed(self, webhook: int, since: datetime) -> int:
        return (await self.client.send("POST", f"{_path(webhook)}/resend", Resent, {"since": since})).resent


def _path(webhook: int) -> str:
    return f"/v1/webhooks/{segment(webhook)}"
