"""/healthz: the process lives. /readyz: it can keep its word, or which dependency is missing."""

import asyncio
from typing import Any

import psycopg
from falcon.asgi import Request, Response
from sqlalchemy.exc import SQLAlchemyError

from api.access import OPEN, Scopes
from api.calls import Call, Calls, answer
from api.patience import in_time
from api.scrape_requests import send
from api.services import Provider
from beat_actors.database import migrate
from beat_actors.errors import StorageUnavailable

PATIENCE = 1.5
SLOWER = "it does not answer; work is slower, nothing is lost"
SWEEPS = """
SELECT coalesce((SELECT seen_at < clock_timestamp() - interval '10 seconds' FROM leader WHERE name = 'scheduler'), true) AS absent,
       ARRAY(SELECT name FROM sweep WHERE ended_at < clock_timestamp() - make_interval(secs => 3 * every + deadline) ORDER BY 1) AS late
"""


READY = answer("Readiness", status=str, checks=dict[str, str])


class Healthz:
    scopes: Scopes = {"GET": OPEN}
    calls: Calls = {"GET": Call("The process lives.", {200: answer("Health", status=str)})}

    async def on_get(self, _req: Request, resp: Response) -> None:
        send(resp, {"status": "ok"})


class Readyz:
    scopes: Scopes = {"GET": OPEN}
    calls: Calls = {
        "GET": Call("It can keep its word, or which dependency is missing.", {200: READY}, refusals={503: READY})
    }

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def on_get(self, _req: Request, resp: Response) -> None:
        database, redis, scheduler = await asyncio.gather(self._database(), self._redis(), self._scheduler())
        checks = {"database": database, "redis": redis, "scheduler": scheduler}
        # Redis only hurries things: without it requests are accepted, and found by the scheduler's sweep. Without the scheduler
        # they are accepted too, and wait.
        ready = checks["database"] == "ok"
        resp.status = 200 if ready else 503
        if not ready:
            resp.set_header("Retry-After", "2")
        send(resp, {"status": "ready" if ready else "not ready", "checks": checks})

    async def _database(self) -> str:
        try:
            row = await in_time(self._asked("SELECT version_num AS revision FROM alembic_version"), within=PATIENCE)
        except (StorageUnavailable, SQLAlchemyError, psycopg.Error):
            return "it does not answer"
        expected = migrate.head()
        revision = None if row is None else row.revision
        if revision == expected:
            return "ok"
        return f"it is at revision {revision}, this code needs {expected}: run `beat migrate`"

    async def _scheduler(self) -> str:
        try:
            row = await in_time(self._asked(SWEEPS), within=PATIENCE)
        except (StorageUnavailable, SQLAlchemyError, psycopg.Error):
            return "not known, because the database does not answer"
        if row is None or row.absent:
            return "none leads: what waits for a time or lost its message is not found; start `python -m scheduler`"
        return f"late sweeps: {', '.join(row.late)}; its log says why" if row.late else "ok"

    async def _asked(self, question: str) -> Any:
        async with self._provider.services.database.statements() as alone:
            return await alone.row(question)

    async def _redis(self) -> str:
        try:
            async with asyncio.timeout(PATIENCE):
                return "ok" if await self._provider.services.ping() else SLOWER
        except TimeoutError:
            return SLOWER
