"""/healthz: the process is alive. /readyz: the process can serve calls, or which dependency is missing."""

import asyncio
from typing import Any, NamedTuple, TypeVar

import psycopg
from falcon.asgi import Request, Response
from sqlalchemy.exc import SQLAlchemyError

from api.access import OPEN, Scopes
from api.calls import Call, Calls, answer
from api.deadline import in_time
from api.replies import send
from api.resource import Resource
from api.services import Services
from beat_actors.database import Statement, Statements, revisions
from beat_actors.errors import StorageForbidden, StorageReadOnly, StorageUnavailable

WITHIN = 1.5
"""Seconds in which a dependency must answer."""
SLOWER = "it does not answer, or takes no writes; work is slower, nothing is lost"


R = TypeVar("R")


class Sweeps(NamedTuple):
    """Whether no scheduler leads, and which sweeps are late."""

    absent: bool
    late: list[str]


class Schema(NamedTuple):
    """The schema's revision, and the oldest one of code that works with it."""

    revision: str
    oldest: str | None
    read_only: bool


SQL = Statements(__file__)
SWEEPS, SCHEMA = SQL("sweeps", Sweeps), SQL("schema", Schema)
READ_ONLY = "it takes no writes: a standby, or in recovery"
READY = answer("Readiness", status=str, checks=dict[str, str])


class Healthz:
    scopes: Scopes = {"GET": OPEN}
    calls: Calls = {
        "GET": Call("Check that the process is alive.", {200: answer("Health", status=str)}, named="get_health")
    }

    async def on_get(self, _req: Request, resp: Response) -> None:
        send(resp, alive())


class Readyz(Resource):
    scopes: Scopes = {"GET": OPEN}
    calls: Calls = {
        "GET": Call(
            "Check that the process can serve calls. Names the dependency that failed.",
            {200: READY},
            refusals={503: READY},
            named="get_readiness",
        )
    }

    async def on_get(self, _req: Request, resp: Response) -> None:
        resp.status, body = await readiness(self._provider.services)
        if resp.status == 503:
            resp.set_header("Retry-After", "2")
        send(resp, body)


def alive() -> dict[str, str]:
    return {"status": "ok"}


async def readiness(services: Services) -> tuple[int, dict[str, Any]]:
    """200 or 503, and what each dependency says. All who ask at once share one look, since no key and no rate bounds them."""
    if services.looking is None or services.looking.done():
        services.looking = asyncio.create_task(_looked(services))
    return await asyncio.shield(services.looking)


async def _looked(services: Services) -> tuple[int, dict[str, Any]]:
    database, redis, scheduler = await asyncio.gather(_database(services), _redis(services), _scheduler(services))
    # Redis only hurries things: without it requests are accepted, and found by the scheduler's sweep. Without the scheduler
    # they are accepted too, and wait.
    ready = database == "ok"
    checks = {"database": database, "redis": redis, "scheduler": scheduler}
    return (200 if ready else 503), {"status": "ready" if ready else "not ready", "checks": checks}


async def _database(services: Services) -> str:
    try:
        row = await in_time(_asked(services, SCHEMA), within=WITHIN)
    except StorageReadOnly:
        return READ_ONLY
    except StorageForbidden:
        return "it refuses the login of this process, or its role lacks a privilege: `beat doctor`"
    except psycopg.errors.UndefinedTable:
        return f"its schema is older than this code, which needs {revisions.newest()}: run `beat migrate`"
    except (StorageUnavailable, SQLAlchemyError, psycopg.Error):
        return "it does not answer"
    if row is not None and row.read_only:
        services.database.connections.distrust()
        return READ_ONLY
    revision, oldest = (None, None) if row is None else (row.revision, row.oldest)
    if revisions.works_with(revision, oldest):
        return "ok"
    expected = revisions.newest()
    if revision is not None and revision > expected:
        return f"it is at revision {revision}, which code before {oldest} does not work with, and this code is of {expected}: deploy the newer code"
    return f"it is at revision {revision}, this code needs {expected}: run `beat migrate`"


async def _scheduler(services: Services) -> str:
    try:
        row = await in_time(_asked(services, SWEEPS), within=WITHIN)
    except (StorageUnavailable, SQLAlchemyError, psycopg.Error):
        return "not known, because the database does not answer"
    if row is None or row.absent:
        return "no scheduler leads, so delayed work and lost messages are not found; start `python -m scheduler`"
    return f"late sweeps: {', '.join(row.late)}; its log says why" if row.late else "ok"


async def _asked(services: Services, question: Statement[R]) -> R | None:
    async with services.database.statements() as alone:
        return await alone.row(question)


async def _redis(services: Services) -> str:
    try:
        async with asyncio.timeout(WITHIN):
            return "ok" if await services.ping() else SLOWER
    except TimeoutError:
        return SLOWER
