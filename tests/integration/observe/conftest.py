"""Troubles as the rules see them: rows that each fault leaves behind, without the minutes that it takes to come about."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import psycopg
import pytest

from beat_actors.alerts import Alert, report
from beat_actors.database import Database
from beat_actors.engine import Engine
from beat_actors.observe.brief import brief
from beat_actors.observe.page import Brief
from beat_actors.settings import Settings
from beat_actors.watch import WATCHES
from tests.integration.cli.conftest import beat
from tests.worlds import TOY, ScriptedClient, answer, engine_with, registered

__all__ = ["beat"]

LED = "INSERT INTO leader (name, holder, seen_at, elected_at) VALUES ('scheduler', 'test', now(), now())"
PROCESS = """
INSERT INTO process (id, name, host, pid, seen_at, statements, statement_p99, pool_used, pool_most, pool_exhausted, claims, claim_p50, claim_p99, troubles)
VALUES (%s, %s, 'h', 1, clock_timestamp(), 100, %s, 0, 12, 0, 10, %s, %s, %s::jsonb)
"""
BREAKER = """
INSERT INTO breaker (platform, source, operation, kind, trips, calls, failures, open_until, since, opened_by)
VALUES ('toy', %s, 'look', %s, 1, 0, 0, clock_timestamp() + interval '30 seconds', clock_timestamp(), '{"calls": 9, "failures": 7, "codes": {"503": 7}}')
"""


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """The database, with a scheduler that leads."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(LED)
        yield connection


@pytest.fixture
async def engine(settings: Settings, admin: psycopg.Connection[Any]) -> AsyncIterator[Engine]:
    engine = engine_with(settings, ScriptedClient(lambda source, call: answer()))
    with registered(TOY):
        yield engine
    await engine.close()


@pytest.fixture
def process(admin: psycopg.Connection[Any]) -> Callable[..., None]:
    """A process that lives and reports so."""

    def living(name: str = "worker", *, p99: float = 0.01, claims: float = 0.01, troubles: str = "{}") -> None:
        number = admin.execute("SELECT count(*) FROM process").fetchone()
        admin.execute(PROCESS, (f"{name}{number}", name, p99, claims, claims, troubles))

    return living


async def looked(database: Database) -> Brief:
    """The page after every rule has looked."""
    for watch in WATCHES:
        await watch.run(database)
    return await brief(database)


async def reported(database: Database, rule: str, *alerts: Alert) -> None:
    """What the scheduler reports of servers that it alone asks."""
    async with database.statements() as alone:
        await report(alone, rule, alerts)
