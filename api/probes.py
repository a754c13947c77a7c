"""The health of a process on a listener of its own, so that a probe has its answer when no connection is left for callers."""

import asyncio
from typing import Any

from aiohttp import web

from api.health import alive, readiness
from api.services import HEADERS, Opener, Provider
from api.untaken import end_untaken


class Probed(Provider):
    """A provider that answers `/healthz` and `/readyz` on `BEAT_HEALTH_HOST` and `BEAT_HEALTH_PORT`, in the event loop of the API.

    The processes of one API share the port; the system chooses the one that answers a connection.
    """

    def __init__(self, opener: Opener) -> None:
        super().__init__(opener)
        self._runner: web.AppRunner | None = None
        self._bounding: asyncio.Task[None] | None = None

    async def process_startup(self, scope: Any, event: Any) -> None:
        """Raises `OSError` where the port is taken. The process then ends."""
        await super().process_startup(scope, event)
        listener = web.Application()
        listener.router.add_get("/healthz", self._healthz)
        listener.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(listener, access_log=None)
        await self._runner.setup()
        settings = self.services.database.settings
        await web.TCPSite(self._runner, settings.health_host, settings.health_port, reuse_port=True).start()
        self._bounding = asyncio.create_task(end_untaken((settings.api_port, settings.health_port)))

    async def process_shutdown(self, scope: Any, event: Any) -> None:
        if self._bounding is not None:
            self._bounding.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
        await super().process_shutdown(scope, event)

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response(alive(), headers=HEADERS)

    async def _readyz(self, _request: web.Request) -> web.Response:
        status, body = await readiness(self.services)
        return web.json_response(body, status=status, headers=HEADERS)
