"""Real servers for all tests: one PostgreSQL and one Valkey for each test process, a database of its own for each test."""

import base64
import contextlib
import gc
import os
import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
import structlog
from psycopg.conninfo import conninfo_to_dict
from xdist.scheduler import LoadScopeScheduling

from beat_actors.database import Database, migrate, roles
from beat_actors.local.home import temporary_home
from beat_actors.local.s3 import S3Server
from beat_actors.local.servers import UNSAFE_BUT_FAST, PostgresServer, ValkeyServer, running
from beat_actors.redis_keys import unusable_keys
from beat_actors.settings import Settings
from tests.databases import Databases
from tests.pgbouncer import PgBouncer

# What passes passes again, however slow the machine is. `make test ARGS=--hypothesis-profile=random` takes other examples each time.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.register_profile("random", derandomize=False, deadline=None)
hypothesis.settings.load_profile("same")


def _uncached(configure: Callable[..., None]) -> Callable[..., None]:
    """A logger that was used while a test had configured logs would keep that test's processors, and later tests would capture nothing of it."""
    return lambda **given: configure(**given | {"cache_logger_on_first_use": False})


structlog.configure = _uncached(structlog.configure)

# By default the values of all local variables are printed with a traceback, which takes minutes where a machine of Hypothesis is among them.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.dev.ConsoleRenderer(),
    ],
    # Not where a test reads what a command prints: a thread of an earlier test may log meanwhile.
    logger_factory=structlog.WriteLoggerFactory(sys.__stderr__),
)

FIXTURES = Path(__file__).parent / "fixtures"
VAULT_KEYS = f"test:{base64.b64encode(bytes(range(32))).decode()}"
MESSAGE_KEYS = f"test:{base64.b64encode(bytes(range(32, 64))).decode()}"


@dataclass(frozen=True)
class Servers:
    """`databases`: copies of the template, once there is one. `pooler`: a PgBouncer in transaction mode before PostgreSQL, where BEAT_TEST_PGBOUNCER names its binary. Where BEAT_TEST_REDIS
    names one, `valkey` is that server."""

    postgres: PostgresServer
    valkey: ValkeyServer
    databases: Databases
    pooler: PgBouncer | None = None

    def owner_url(self, database_url: str) -> str:
        """The same database, as the owner of its schema."""
        return self.postgres.url_of(conninfo_to_dict(database_url)["dbname"], "beat_owner")

    def process_url(self, database_url: str) -> str:
        """The same database, as Beat's processes connect."""
        return self.postgres.url_of(conninfo_to_dict(database_url)["dbname"], "beat_process")

    def engine_url(self, database_url: str) -> str:
        """How the engine reaches a database: through the pooler, if there is one."""
        return self.pooler.url_of(database_url) if self.pooler else database_url


IN_MEMORY, ROOM = Path("/dev/shm"), 4 << 30


def fastest() -> Path | None:
    """Where a database is copied in a quarter of the time: in memory, if there is room for tables of a million rows."""
    with contextlib.suppress(OSError):
        if os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free >= ROOM:
            return IN_MEMORY
    return None


WITHOUT_EXHAUSTIVE = ("not (exhaustive or slow)", "not exhaustive")
FUZZ = Path(__file__).parent / "integration/api/test_fuzz.py"


def pytest_configure(config: pytest.Config) -> None:
    """The plugins are named in pyproject.toml, so that no process loads those that happen to be installed. The fuzzer's is large."""
    if not _without_fuzz(config):
        config.pluginmanager.import_plugin("schemathesis.pytest.plugin")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if collection_path == FUZZ and _without_fuzz(config) else None


def _without_fuzz(config: pytest.Config) -> bool:
    return str(config.option.markexpr) in WITHOUT_EXHAUSTIVE


ON_ONE_STACK = tuple(
    Path(__file__).parent / "integration/engine" / f"test_{name}.py"
    for name in ("client", "first_minutes", "survival", "hints")
)
"""The modules that one running stack serves, one after the other in this order."""


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end, and is not looked through again and again for what can be freed."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that start servers and processes come first, so that none of them is left for one process at the end."""
    order = {path: number for number, path in enumerate(ON_ONE_STACK)}
    items.sort(key=lambda item: (order.get(item.path, len(order)), "integration" not in item.path.parts))


class Modules(LoadScopeScheduling):
    """Each module is one unit of work, and so are those that share a stack."""

    def _split_scope(self, nodeid: str) -> str:
        path = Path(__file__).parent.parent / nodeid.partition("::")[0]
        return "one stack" if path in ON_ONE_STACK else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return Modules(config, log) if config.getoption("dist") == "loadscope" else None


TEMPLATE = "beat_template"


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    binary = os.environ.get("BEAT_TEST_PGBOUNCER")
    with temporary_home(fastest()) as home:
        postgres = PostgresServer.at(home, {**UNSAFE_BUT_FAST, "max_prepared_transactions": "4"})
        valkey = ValkeyServer.at(home, binary=os.environ.get("BEAT_TEST_REDIS"))
        pooler = PgBouncer.at(home, postgres, binary) if binary else None
        with running(home, postgres, valkey, *([pooler] if pooler else [])):
            databases = Databases(postgres, TEMPLATE)
            yield Servers(postgres, valkey, databases, pooler)
            databases.close()


@pytest.fixture(scope="session")
def template(servers: Servers) -> str:
    """A database that the others are copied from, migrated by the owner."""
    owner, process = (servers.postgres.url_of(TEMPLATE, role) for role in ("beat_owner", "beat_process"))
    roles.provide(servers.postgres.url_of("postgres"), owner_url=owner, process_url=process)
    migrate.upgrade(owner, process)
    with psycopg.connect(servers.postgres.url_of(TEMPLATE), autocommit=True) as admin:
        # Only for what tests make themselves, as tables of platforms that are not Beat's.
        admin.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO beat_process")
    return TEMPLATE


@pytest.fixture
def database_url(servers: Servers, template: str) -> Iterator[str]:
    """A migrated database as a fresh copy is, as the superuser: for what a test does beside Beat."""
    with servers.databases.database(f"test_{uuid.uuid4().hex[:12]}") as url:
        yield url


@pytest.fixture
def process_url(servers: Servers, database_url: str) -> str:
    """The same database, straight and as Beat's processes connect: a missing grant fails a test."""
    return servers.process_url(database_url)


def settings_over(servers: Servers, database_url: str) -> Settings:
    """Settings of a process that works on this database, under a Redis prefix of its own."""
    return Settings(
        environment="rehearsal",
        database_url=servers.engine_url(servers.process_url(database_url)),
        database_owner_url=servers.owner_url(database_url),
        database_prepared_statements=servers.pooler is None,
        redis_url=servers.valkey.url,
        redis_namespace=f"test-{uuid.uuid4().hex[:8]}",
        limit_prefix=f"test-{uuid.uuid4().hex[:8]}-",
        vault_keys=VAULT_KEYS,
        message_keys=MESSAGE_KEYS,
    )


@pytest.fixture
def settings(database_url: str, servers: Servers) -> Settings:
    """Those of a process that works on the test's own database."""
    return settings_over(servers, database_url)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """Started for the first test that wants it."""
    with temporary_home(fastest()) as home:
        server = S3Server.at(home)
        with running(home, server):
            yield server


@pytest.fixture
def with_bucket(s3_server: S3Server, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """`settings`, with a bucket under a prefix of the test's own."""
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    bucket = {"s3_endpoint_url": s3_server.url, "s3_bucket": s3_server.bucket}
    return settings.model_copy(update={**bucket, "s3_prefix": f"{uuid.uuid4().hex[:8]}/"})


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """A command that a test runs in this process logs errors only, to the end of the process."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def own_findings() -> None:
    """The keys of Redis that this process reports are those of the test."""
    unusable_keys.cache_clear()


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings, name="test")
    yield database
    await database.close()
