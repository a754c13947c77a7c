"""Small worlds for tests: a platform with three sources and no parser worth the name, a scripted provider, and a clock that tests move."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast
from uuid import uuid4

import msgspec
import psycopg

from beat_actors.credentials.manager import CredentialManager
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database, clock
from beat_actors.engine import Engine
from beat_actors.platforms.interface import (
    Answer,
    Call,
    Check,
    Endpoint,
    ErrorRule,
    FetchSpec,
    Flow,
    Health,
    Limit,
    Outcome,
    Parsed,
    Platform,
    Source,
)
from beat_actors.platforms.registry import platforms
from beat_actors.settings import Settings
from beat_actors.transport.http import Exchange, ProviderClient
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS

ERRORS = (
    ErrorRule(Outcome.RATE_LIMITED, status=429),
    ErrorRule(Outcome.QUOTA_EXHAUSTED, status=402, wait=7200),
    ErrorRule(Outcome.CREDENTIAL_DEAD, status=401),
    ErrorRule(Outcome.PERMISSION_MISSING, status=403),
    ErrorRule(Outcome.MISSING, status=404),
    ErrorRule(Outcome.BAD_REQUEST, status=400),
)


def _build(spec: FetchSpec, secret: Mapping[str, str]) -> Call:
    return Call(f"/{spec.operation}", query={"of": str(spec.params["name"])}, secret_query={"key": secret["key"]})


def _parse(body: bytes, _spec: FetchSpec) -> Parsed:
    msgspec.json.decode(body)
    return Parsed(())


def _read_check(answer: Answer) -> Health:
    return Health(First().classify(answer))


class First(Source):
    name = "toy-first"
    base_url = "http://first.invalid"
    secret_fields = ("key",)
    limits = (Limit("second", 3, 1), Limit("hour", 40, 3600))
    errors = ERRORS
    endpoints = {"look": Endpoint(_build, _parse)}
    check = Check(lambda secret: Call("/check", secret_query={"key": secret["key"]}), _read_check)


class Second(First):
    name = "toy-second"
    limits = (Limit("minute", 10, 60), Limit("shared", 15, 60, scope="source"))


class Third(First):
    name = "toy-third"
    limits = (Limit("day", 30, 86_400, calendar="UTC", reserve=0.2),)


class Look(msgspec.Struct, forbid_unknown_fields=True):
    name: str


TOY = Platform(
    name="toy",
    sources={source.name: source for source in (First(), Second(), Third())},
    chains={"look": ("toy-first", "toy-second", "toy-third")},
    flows={
        "look": Flow("look", Look, lambda params: FetchSpec("look", {"name": params.name}), lambda *_: ()),
    },
    entities=(),
)


@contextmanager
def registered(platform: Platform) -> Iterator[Platform]:
    """Add a platform for the length of a block, as an entry point would."""
    known = cast("dict[str, Platform]", platforms())
    known[platform.name] = platform
    try:
        yield platform
    finally:
        del known[platform.name]


Script = Callable[[Source, Call], Answer]


class Unbounded:
    """Slots of hosts that take any number of calls."""

    @asynccontextmanager
    async def slot(self, _source: Source, _call: Call, *, urgent: bool = False) -> AsyncIterator[None]:
        yield


class ScriptedClient(Unbounded):
    """Stands where the HTTP client stands: answers by `script`, and remembers each call."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.calls: list[tuple[str, str]] = []

    async def exchange(self, source: Source, call: Call) -> Exchange:
        self.calls.append((source.name, call.secret_query.get("key", "")))
        return Exchange(source.base_url + call.path, call.method, 1.0, answer=self.script(source, call))

    async def close(self) -> None:
        pass


def answer(status: int = 200, body: bytes = b"{}", **headers: Any) -> Answer:
    return Answer(status, {name.replace("_", "-"): str(value) for name, value in headers.items()}, body)


def simulated_client(url: str, *, timeout: float = 20.0) -> ProviderClient:
    """The HTTP client as it asks the simulator at `url`, with neither a database nor Redis behind it. `timeout`: seconds for a call."""
    settings = Settings(
        database_url="postgresql://nobody@localhost/none",
        redis_url="redis://localhost",
        vault_keys=VAULT_KEYS,
        message_keys=MESSAGE_KEYS,
        environment="rehearsal",
        simulator_url=url,
        http_total_timeout=timeout,
    )
    return ProviderClient(settings)


def engine_with(settings: Settings, client: Any, *, name: str = "test") -> Engine:
    """An engine whose calls go to `client`."""
    database, vault = Database(settings, name=name), Vault(settings)
    return Engine(settings, database, vault, CredentialManager(database, vault), client)


@asynccontextmanager
async def toy_engine(settings: Settings, client: Any, keys: str) -> AsyncIterator[Engine]:
    """The platform `toy` and an engine with a credential of its first source for each letter of `keys`."""
    engine = engine_with(settings, client)
    with registered(TOY):
        for key in keys:
            await engine.credentials.add("toy-first", {"key": key})
        yield engine
    await engine.close()


class MovableClock:
    """The database's clock, moved by the test: `clock_timestamp()` and `now()` resolve to ours, ahead by so many seconds."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute("""
            CREATE SCHEMA travel;
            CREATE TABLE travel.by (seconds double precision NOT NULL);
            INSERT INTO travel.by VALUES (0);
            CREATE FUNCTION travel.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
                'SELECT pg_catalog.clock_timestamp() + make_interval(secs => (SELECT seconds FROM travel.by))';
            GRANT USAGE ON SCHEMA travel TO PUBLIC;
            GRANT SELECT ON travel.by TO PUBLIC;
        """)
        self._moved = 0.0
        self._elapsed = clock.elapsed
        clock.elapsed = lambda: self._elapsed() + self._moved
        name = self._connection.info.dbname
        self._connection.execute(f"ALTER DATABASE {name} SET search_path = travel, pg_catalog, public")

    def advance(self, seconds: float) -> None:
        """So much time passes, for this process too."""
        self._moved += seconds
        self.step(seconds)

    def step(self, seconds: float) -> None:
        """The database's clock steps, forth or back, and no time passes."""
        self._connection.execute("UPDATE travel.by SET seconds = seconds + %s", (seconds,))

    def now(self) -> float:
        row = self._connection.execute("SELECT extract(epoch FROM travel.clock_timestamp())::float8").fetchone()
        assert row is not None
        return float(row[0])

    def close(self) -> None:
        clock.elapsed = self._elapsed
        self._connection.close()


YOUNGER = """
UPDATE event_sequence SET marked_in = (coalesce(marked_in, '3')::text::bigint + 1000000)::text::xid8,
                          mark_until = (mark_until::text::bigint + 1000000)::text::xid8;
UPDATE database_cluster SET identifier = 1;
"""


def lost_log_lines(connection: psycopg.Connection) -> None:
    """A live worker that has reported lost lines of its log."""
    connection.execute(
        "INSERT INTO process (id, name, host, pid, seen_at, statements, statement_p99, pool_used, pool_most, pool_exhausted, claims, claim_p50, "
        "claim_p99, troubles) VALUES ('x', 'worker', 'h', 1, clock_timestamp(), 0, 0, 0, 0, 0, 0, 0, 0, "
        """'{"logs": "3 lines of its log could not be written"}')"""
    )


def restored_into_a_younger_cluster(database_url: str) -> None:
    """Make the database what a dump is in a cluster that is a million transactions behind the one that it is from."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(YOUNGER)


@contextmanager
def open_transaction(database_url: str, *, prepared: bool = False) -> Iterator[None]:
    """A transaction of somebody else, which has written something and does not end. `prepared`: it belongs to no session."""
    gid = f"left {uuid4()}"
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("BEGIN")
        other.execute("SELECT pg_current_xact_id()")
        if prepared:
            other.execute(f"PREPARE TRANSACTION '{gid}'")
        try:
            yield
        finally:
            other.execute(f"ROLLBACK PREPARED '{gid}'" if prepared else "ROLLBACK")
