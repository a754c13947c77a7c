"""What the resources work with: opened when the server starts, closed when it stops; and the headers that every answer carries."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from falcon.asgi import Request, Response

from actors.queues import Queues
from api.limits import Limiter
from beat_actors.access.keyring import Keyring
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.limits.limiter import StackedLimiter

Ring = Callable[[str], Awaitable[Any]]
Ping = Callable[[], Awaitable[bool]]
Opener = Callable[[], "Services"]

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(slots=True)
class Services:
    """`ring` asks for a turn of a platform's broker and never raises; `ping` says whether Redis answers."""

    database: Database
    vault: Vault
    queues: Queues
    keyring: Keyring
    limiter: Limiter
    ring: Ring
    ping: Ping
    close: Callable[[], None] = lambda: None
    limits: StackedLimiter = field(init=False)

    def __post_init__(self) -> None:
        self.limits = StackedLimiter(self.database)


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
            await self._services.keyring.close()
            await self._services.limiter.close()
            await self._services.limits.close()
            await self._services.database.close()
            self._services.queues.close()
            self._services.close()

    async def process_response(self, _req: Request, resp: Response, _resource: Any, _succeeded: bool) -> None:
        resp.set_headers(HEADERS)
