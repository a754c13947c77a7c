"""Small worlds for tests: a platform with three sources and no parser worth the name, a scripted provider, and a clock that tests move."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import msgspec
import psycopg

from beat_actors.credentials.manager import CredentialManager
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
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


class ScriptedClient:
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


def simulated_client(url: str) -> ProviderClient:
    """The HTTP client as it asks the simulator at `url`, with little patience, and with neither a database nor Redis behind it."""
    settings = Settings(
        database_url="postgresql://nobody@localhost/none",
        redis_url="redis://localhost",
        vault_keys=VAULT_KEYS,
        message_keys=MESSAGE_KEYS,
        simulator_url=url,
        http_total_timeout=0.5,
    )
    return ProviderClient(settings)


def engine_with(settings: Settings, client: Any, *, name: str = "test") -> Engine:
    """An engine whose calls go to `client`."""
    database, vault = Database(settings, name=name), Vault(settings)
    return Engine(settings, database, vault, CredentialManager(database, vault), client)


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
        """)
        name = self._connection.info.dbname
        self._connection.execute(f"ALTER DATABASE {name} SET search_path = travel, pg_catalog, public")

    def advance(self, seconds: float) -> None:
        self._connection.execute("UPDATE travel.by SET seconds = seconds + %s", (seconds,))

    def now(self) -> float:
        row = self._connection.execute("SELECT extract(epoch FROM travel.clock_timestamp())::float8").fetchone()
        assert row is not None
        return float(row[0])

    def close(self) -> None:
        self._connection.close()
