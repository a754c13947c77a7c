"""A process of the API over a database of its own, for tests that speak HTTP to it."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from beat_actors.access import keys
from beat_actors.access.keys import MOST_CALLS, NewKey
from beat_actors.access.scopes import Scope
from beat_actors.database import Database
from beat_actors.local.home import temporary_home
from beat_actors.settings import Settings
from bench.api import serving
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS, Servers
from tests.databases import copy_database


@contextmanager
def live_api(servers: Servers, template: str, **settings: object) -> Iterator[tuple[str, str]]:
    """The address of the API, and a key that may do everything."""
    name = f"live_{uuid.uuid4().hex[:10]}"
    url = servers.postgres.url_of(name)
    with psycopg.connect(servers.postgres.url_of("postgres"), autocommit=True) as admin:
        copy_database(admin, name, template)
        configured = Settings(
            environment="rehearsal",  # the tests' server is faster than production lets it be
            database_url=servers.process_url(url),
            redis_url=servers.valkey.url,
            vault_keys=VAULT_KEYS,
            message_keys=MESSAGE_KEYS,
            **settings,  # type: ignore[arg-type]
        )
        try:
            with temporary_home() as home, serving(home, configured, "api") as address:
                yield address, asyncio.run(_a_key(configured))
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def _a_key(configured: Settings) -> str:
    database = Database(configured, name="test")
    try:
        async with database.transaction() as transaction:
            new = NewKey("live", (Scope.ADMIN,), rate_limit=MOST_CALLS)
            return (await keys.create(transaction, new, actor="test")).minted.text
    finally:
        await database.close()
