"""/healthz: the process lives. /readyz: it can keep its word, or which dependency is missing."""

import asyncio

from falcon.asgi import Request, Response
from sqlalchemy.exc import SQLAlchemyError

from api.scrape_requests import send
from api.services import Provider
from beat_actors.database import migrate
from beat_actors.errors import StorageUnavailable

PATIENCE = 1.5
SLOWER = "it does not answer; work is slower, nothing is lost"


class Healthz:
    async def on_get(self, _req: Request, resp: Response) -> None:
        send(resp, {"status": "ok"})


class Readyz:
    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def on_get(self, _req: Request, resp: Response) -> None:
        checks = {"database": await self._database(), "redis": await self._redis()}
        # Redis only hurries things: without it requests are accepted, and found by the scheduler's sweep.
        ready = checks["database"] == "ok"
        resp.status = 200 if ready else 503
        if not ready:
            resp.set_header("Retry-After", "2")
        send(resp, {"status": "ready" if ready else "not ready", "checks": checks})

    async def _database(self) -> str:
        try:
            async with asyncio.timeout(PATIENCE), self._provider.services.database.transaction() as transaction:
                revision = await transaction.value("SELECT version_num FROM alembic_version")
        except (StorageUnavailable, SQLAlchemyError, TimeoutError):
            return "it does not answer"
        expected = migrate.head()
        if revision == expected:
            return "ok"
        return f"it is at revision {revision}, this code needs {expected}: run `beat migrate`"

    async def _redis(self) -> str:
        try:
            async with asyncio.timeout(PATIENCE):
                return "ok" if await self._provider.services.ping() else SLOWER
        except TimeoutError:
            return SLOWER
