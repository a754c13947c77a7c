"""Real servers for all tests: one PostgreSQL and one Valkey for each test process, a database of its own for each test."""

import base64
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from beat_actors.database import Database, migrate
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import UNSAFE_BUT_FAST, PostgresServer, ValkeyServer, running
from beat_actors.settings import Settings
from tests.pgbouncer import PgBouncer

FIXTURES = Path(__file__).parent / "fixtures"
VAULT_KEYS = f"test:{base64.b64encode(bytes(range(32))).decode()}"
MESSAGE_KEYS = f"test:{base64.b64encode(bytes(range(32, 64))).decode()}"


@dataclass(frozen=True)
class Servers:
    """`pooler`: a PgBouncer in transaction mode before PostgreSQL, where BEAT_TEST_PGBOUNCER names its binary. Where BEAT_TEST_REDIS
    names one, `valkey` is that server."""

    postgres: PostgresServer
    valkey: ValkeyServer
    pooler: PgBouncer | None = None

    def engine_url(self, database_url: str) -> str:
        """How the engine reaches a database: through the pooler, if there is one."""
        return self.pooler.url_of(database_url) if self.pooler else database_url


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    binary = os.environ.get("BEAT_TEST_PGBOUNCER")
    with temporary_home() as home:
        postgres = PostgresServer.at(home, UNSAFE_BUT_FAST)
        valkey = ValkeyServer.at(home, binary=os.environ.get("BEAT_TEST_REDIS"))
        pooler = PgBouncer.at(home, postgres, binary) if binary else None
        with running(home, postgres, valkey, *([pooler] if pooler else [])):
            yield Servers(postgres, valkey, pooler)


@pytest.fixture(scope="session")
def template(servers: Servers) -> str:
    """A migrated database that the others are copied from."""
    with psycopg.connect(servers.postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE beat_template")
    migrate.upgrade(servers.postgres.url_of("beat_template"))
    return "beat_template"


@pytest.fixture
def database_url(servers: Servers, template: str) -> Iterator[str]:
    """A fresh, migrated database."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(servers.postgres.url_of("postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield servers.postgres.url_of(name)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def settings(database_url: str, servers: Servers) -> Settings:
    """Settings of a process that works on the test's own database, under a Redis prefix of its own."""
    return Settings(
        database_url=servers.engine_url(database_url),
        database_prepared_statements=servers.pooler is None,
        redis_url=servers.valkey.url,
        redis_namespace=f"test-{uuid.uuid4().hex[:8]}",
        limit_prefix=f"test-{uuid.uuid4().hex[:8]}-",
        vault_keys=VAULT_KEYS,
        message_keys=MESSAGE_KEYS,
    )


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings, name="test")
    yield database
    await database.close()
