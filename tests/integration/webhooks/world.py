"""Consumers' servers, endpoints and events, a line each."""

import asyncio
import base64
import hashlib
import hmac
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import web

from beat_actors.credentials.vault import Vault
from beat_actors.database import Database, jsonb
from beat_actors.settings import Settings
from beat_actors.webhooks import endpoints
from beat_actors.webhooks.deliverer import Deliverer
from beat_actors.webhooks.endpoints import DeliveryView, Reader

ALL = Reader("test", all=True)


@dataclass
class Receiver:
    """A consumer's server. `script` says what each call is answered with; after it, 204."""

    url: str = ""
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    script: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    always: tuple[int, dict[str, str]] = (204, {})
    gate: asyncio.Event | None = None

    async def answer(self, request: web.Request) -> web.Response:
        self.calls.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        if self.gate is not None:
            await self.gate.wait()
        status, headers = self.script.pop(0) if self.script else self.always
        return web.Response(status=status, headers=headers, text="" if status == 204 else "x" * 5000)

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.calls]


@asynccontextmanager
async def receiving(answer: Callable[[web.Request], Awaitable[web.Response]] | None = None) -> AsyncIterator[Receiver]:
    """A receiver, which answers by its script or by `answer`."""
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/hook", answer or receiver.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def add(database: Database, url: str, **fields: Any) -> tuple[int, str]:
    async with database.transaction() as transaction:
        fields = {"account_id": "acme", "actor": "test", "allow_private": True} | fields
        made, secret = await endpoints.create(transaction, Vault(database.settings), url=url, **fields)
    return made.id, secret


async def tell(database: Database, account: str | None = "acme", count: int = 1, type_: str = "complete") -> list[str]:
    ids = [str(uuid4()) for _ in range(count)]
    async with database.transaction() as transaction:
        for one in ids:
            await transaction.run(
                "INSERT INTO event (event_id, type, subject, account_id, data) VALUES (%s, %s, 's', %s, %s::jsonb)",
                (one, f"beat.scrape_request.{type_}", account, jsonb({"id": 7, "account_id": account})),
            )
    return ids


async def pass_(deliverer: Deliverer) -> None:
    await deliverer.step()
    await deliverer.drain()


async def listed(database: Database, number: int) -> list[DeliveryView]:
    async with database.transaction() as transaction:
        return (await endpoints.deliveries(transaction, number, ALL, limit=200)).deliveries


async def seen(database: Database, number: int) -> endpoints.EndpointView:
    async with database.transaction() as transaction:
        return await endpoints.find(transaction, number, ALL)


def signed_by(secret: str, headers: dict[str, str], body: bytes) -> bool:
    key = base64.b64decode(secret.split("_", 1)[1])
    said = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    expected = "v1," + base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
    return expected in headers["webhook-signature"].split(" ")


@asynccontextmanager
async def process(settings: Settings, url: str, module: str, **more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m MODULE` over the test's database, with `more` settings; killed in the end if it still runs."""
    values = {"database_url": url, "redis_url": str(settings.redis_url), "redis_namespace": settings.redis_namespace}
    values |= {name: getattr(settings, name).get_secret_value() for name in ("vault_keys", "message_keys")}
    values |= {"webhook_allow_private": "true", "environment": "rehearsal"} | more
    environment = os.environ | {f"BEAT_{name.upper()}": str(value) for name, value in values.items()}
    started = await asyncio.create_subprocess_exec(sys.executable, "-m", module, env=environment)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - polling is the test
            await asyncio.sleep(0.05)
