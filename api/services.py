"""What the resources work with: opened when the server starts, closed when it stops."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from falcon.asgi import Request, Response

from beat_actors.database import Database

Ring = Callable[[str], Awaitable[Any]]
Ping = Callable[[], Awaitable[bool]]
Opener = Callable[[], "Services"]


@dataclass(slots=True)
class Services:
    """`ring` asks for a turn of a platform's broker and never raises; `ping` says whether Redis answers."""

    database: Database
    ring: Ring
    ping: Ping
    close: Callable[[], None] = lambda: None


class Provider:
    """Falcon middleware that holds the services for the server's life and sets the headers that every answer carries."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._services: Services | None = None

    @property
    def services(self) -> Services:
        if self._services is None:  # a server without lifespan events
            self._services = self._opener()
        return self._services

    async def process_startup(self, _scope: Any, _event: Any) -> None:
        self._services = self._opener()

    async def process_shutdown(self, _scope: Any, _event: Any) -> None:
        if self._services is not None:
            await self._services.database.close()
            self._services.close()

    async def process_response(self, _req: Request, resp: Response, _resource: Any, _succeeded: bool) -> None:
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.set_header("Cache-Control", "no-store")
        resp.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
