"""The metrics at an address of their own (BEAT_METRICS_LISTEN), without a key. Each scheduler serves it, also one that does not lead."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from beat_actors.database import Database
from beat_actors.errors import StorageUnavailable
from beat_actors.logger import get_logger
from beat_actors.observe.exposition import content_type
from beat_actors.observe.metrics import Metrics

log = get_logger(__name__)

PATH = "/metrics"


@asynccontextmanager
async def listening(database: Database, address: str | None) -> AsyncIterator[None]:
    """Answer at `address` (host:port) while the block runs; None: answer nowhere. An address that cannot be had is logged, and the block runs without
    it: sweeps do not wait for a port."""
    if address is None:
        yield
        return
    from aiohttp import web  # no process without this address loads a server

    metrics = Metrics(database)

    async def get(request: web.Request) -> web.Response:
        media = content_type(request.headers.get("Accept"))
        try:
            text = await metrics.text(media)
        except StorageUnavailable as error:
            return web.Response(status=503, text=f"{error}\n")
        return web.Response(body=text.encode(), headers={"Content-Type": media, "Vary": "Accept"})

    application = web.Application()
    application.router.add_get(PATH, get)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    host, _, port = address.rpartition(":")
    try:
        with contextlib.suppress(OSError):
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
            log.info("metrics_listening", address=address)
        if not runner.addresses:
            log.error("metrics_not_listening", address=address, meaning="another process has this address")
        yield
    finally:
        await runner.cleanup()
