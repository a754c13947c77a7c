"""What an operator changes waits for the broker's turns however long they take."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest

from beat_actors.broker import flows, sources
from beat_actors.broker.changes import LOCK
from beat_actors.credentials.manager import CredentialManager
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.settings import Settings

BY = {"actor": "a test", "reason": "a test"}
WAITS = "SELECT waitstart FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"


@pytest.fixture
async def hasty(settings: Settings, database_url: str) -> AsyncIterator[Database]:
    """Waits 50 ms for a lock."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {admin.info.dbname} SET lock_timeout = '50ms'")
    database = Database(settings, name="a test")
    yield database
    await database.close()


async def disable(database: Database) -> None:
    credentials = CredentialManager(database, Vault(database.settings), actor="a test")
    (one,) = await credentials.overview("lama")
    await credentials.disable(one.id, reason="a test")


async def open_breaker(database: Database) -> None:
    await sources.open_breaker(database, "lama", None, seconds=60, **BY)


async def pause(database: Database) -> None:
    await flows.change(database, "refresh_profile_basic", "instagram", paused=True, **BY)


@pytest.mark.parametrize("change", [disable, open_breaker, pause], ids=lambda change: change.__name__)
async def test_a_change_is_tried_again_where_turns_take_longer_than_a_lock_is_waited_for(
    settings: Settings, database_url: str, hasty: Database, change: Callable[[Database], Awaitable[Any]]
) -> None:
    await CredentialManager(hasty, Vault(settings), actor="a test").add("lama", {"key": "k"})
    async with await psycopg.AsyncConnection.connect(database_url) as turn:
        await turn.execute("SET lock_timeout = 0")
        await turn.execute(LOCK.text, {"platform": "instagram"})
        changing = asyncio.create_task(change(hasty))
        begun = set()
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as looking:
            while len(begun) < 2 and not changing.done():
                begun |= {row[0] for row in await (await looking.execute(WAITS)).fetchall()} - {None}
                await asyncio.sleep(0.005)
    await changing
    assert len(begun) == 2
