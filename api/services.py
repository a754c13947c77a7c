"""The services that the resources use, from the start to the stop of the server, and the headers of every answer."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from falcon.asgi import Request, Response

from actors.queues import Queues
from api.cold import Cold
from api.limits import Limiter
from api.room import Room
from api.waiting import Waiting
from api.wakeups import Wakeups
from beat_actors.access.keyring import Keyring
from beat_actors.assets.serving.bodies import Bodies
from beat_actors.assets.serving.cloudfront import places_of
from beat_actors.assets.serving.links import Links
from beat_actors.assets.serving.places import Places
from beat_actors.assets.serving.shelf import Shelf
from beat_actors.credentials.vault import Vault
from beat_actors.data.finder import Finder
from beat_actors.data.refreshing import Refresher
from beat_actors.database import Database
from beat_actors.database.reporting import Reporter
from beat_actors.logger import get_logger
from beat_actors.logs import AT_EXIT, buffer
from beat_actors.observe.counts import Counts
from beat_actors.observe.metrics import Metrics
from beat_actors.quotas.limiter import StackedLimiter
from beat_actors.requests import batches, queries
from beat_actors.requests.open_requests import OpenRequests
from beat_actors.running_code import own
from beat_actors.whole import start_threads

log = get_logger(__name__)

Wake = Callable[[str], Awaitable[Any]]
WantVariant = Callable[[bytes, int, str], Awaitable[object]]
Ping = Callable[[], Awaitable[bool]]
Opener = Callable[[], "Services"]

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def _nothing(_content: bytes, _width: int, _media_type: str) -> None:
    """Where nobody makes smaller pictures."""


@dataclass(slots=True)
class Services:
    """`wake` wakes the broker of a platform, or those who upload assets, and never raises. `ping` returns whether Redis answers. `want_variant` asks for a
    smaller picture of some content, by width and media type; it never raises.

    The rest is made of the database's settings: `limiter` holds keys to their rates, `limits` on-demand requests to their stack.
    """

    database: Database
    wake: Wake
    ping: Ping
    hang_up: Callable[[], None] = lambda: None
    want_variant: WantVariant = _nothing
    vault: Vault = field(init=False)
    queues: Queues = field(init=False)
    keyring: Keyring = field(init=False)
    limiter: Limiter = field(init=False)
    limits: StackedLimiter = field(init=False)
    open_requests: OpenRequests = field(init=False)
    links: Links = field(init=False)
    finder: Finder = field(init=False)
    refresher: Refresher = field(init=False)
    reporter: Reporter = field(init=False)
    metrics: Metrics = field(init=False)
    shelf: Shelf = field(init=False)
    places: Places = field(init=False)
    bodies: Bodies | None = field(init=False)
    looking: asyncio.Task[tuple[int, dict[str, Any]]] | None = field(init=False, default=None)
    """The check of the dependencies that runs, or the last one."""

    def __post_init__(self) -> None:
        settings = self.database.settings
        self.vault = Vault(settings)
        self.queues = Queues(settings)
        self.keyring = Keyring(self.database)
        self.limiter = Limiter(settings)
        self.limits = StackedLimiter(self.database)
        self.open_requests = OpenRequests(self.database)
        self.places = places_of(settings)
        self.links = Links(settings, self.places)
        self.finder = Finder(self.database, self.links)
        self.refresher = Refresher(self.database, self.limits, self.open_requests)
        self.reporter = Reporter(self.database, name="api", code=own())
        self.metrics = Metrics(self.database)
        self.shelf = Shelf(self.database)
        self.bodies = Bodies.of(settings)

    async def close(self) -> None:
        await self.keyring.close()
        await self.limiter.close()
        await self.limits.close()
        await self.finder.close()
        await self.shelf.close()
        if self.bodies is not None:
            await self.bodies.close()
        await self.reporter.close()
        await self.database.close()
        self.queues.close()
        self.hang_up()


class Provider:
    """Falcon middleware that holds the services while the server runs, and sets the headers of every answer."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._services: Services | None = None
        self.wakeups = Wakeups(lambda platform: self.services.wake(platform))
        self.room = Room()
        self.waiting = Waiting(lambda ids: queries.ended(self.services.database, ids))
        self.waiting_batches = Waiting(lambda ids: batches.ended(self.services.database, ids), self.waiting)
        self.cold = Cold(lambda: self.services, self.wakeups)

    @property
    def services(self) -> Services:
        if self._services is None:  # a server without lifespan events
            self._services = self._opener()
        return self._services

    @property
    def counts(self) -> Counts | None:
        """What this process counts for the metrics; None before the services are opened."""
        return None if self._services is None else self._services.database.metrics.counts

    async def process_startup(self, _scope: Any, _event: Any) -> None:
        """Raises `NotWhole` where the process cannot have its threads. The process then ends and serves no call."""
        try:
            start_threads("api")
            self._services = self._opener()
            self._services.reporter.start()
        except Exception as error:
            log.critical("process_not_whole", error=str(error), meaning="it does no work and exits")
            buffer().drain(AT_EXIT)  # a child of the server ends without the functions of `atexit`
            raise

    async def process_shutdown(self, _scope: Any, _event: Any) -> None:
        await self.waiting.close()
        await self.waiting_batches.close()
        await self.cold.close()
        await self.wakeups.close()
        if self._services is not None:
            await self._services.close()

    async def process_response(self, _req: Request, resp: Response, _resource: Any, _succeeded: bool) -> None:
        for name, value in HEADERS.items():
            if resp.get_header(name) is None:  # a resource may set another value
                resp.set_header(name, value)
