"""P8: a secret that a hostile provider repeats, in whatever spelling and place, leaves the vault in no table, log, key, answer or webhook."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import falcon.testing
import psycopg
import pytest
import structlog
from psycopg import sql
from redis import Redis

from api.app import create_app
from api.services import Services
from beat_actors.access import grants, keys
from beat_actors.access.grants import Use
from beat_actors.access.keys import NewKey
from beat_actors.access.scopes import Scope
from beat_actors.broker.turn import turn
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.engine import Engine
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.pipeline.records import unpack
from beat_actors.pipeline.upkeep import look_after
from beat_actors.platforms.registry import platforms
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from beat_actors.transport.http import ProviderClient
from beat_actors.watch import WATCHES
from beat_actors.webhooks.deliverer import Deliverer
from tests.canaries import Case, asked_for, covering, hits, targets
from tests.conftest import Servers
from tests.extent import ALL
from tests.hostile_provider import PLACES, HostileProvider, hostile
from tests.integration.cli.conftest import Beat, beat
from tests.integration.webhooks.world import add, pass_, receiving
from tests.spellings import SPELLINGS
from tests.stages import retrieve
from tests.worlds import engine_with

__all__ = ["beat"]
ZSTD = b"\x28\xb5\x2f\xfd"
COLUMNS = """
SELECT c.table_name, c.column_name, c.data_type FROM information_schema.columns c JOIN pg_class t ON t.relname = c.table_name
WHERE c.table_schema = 'public' AND t.relkind IN ('r', 'p') AND NOT t.relispartition ORDER BY 1, 2
"""
# Between two rounds: what was asked is out of use, and nothing else waits for a time, a limit or a breaker.
NEXT_ROUND = """
UPDATE credential SET enabled = false WHERE id = ANY(%(served)s);
UPDATE credential SET disabled_till = NULL, dead_at = NULL, probing = false, denied = '{}' WHERE NOT id = ANY(%(served)s);
DELETE FROM breaker;
DELETE FROM owner_breaker;
DELETE FROM credential_usage;
UPDATE lane SET blocked_until = NULL, reasons = NULL;
UPDATE scrape_fetch SET not_before = NULL, excluded = '{}' WHERE stage = 'WAITING'
"""


class World:
    """An engine whose calls go to the hostile provider, and all that was ever in its database."""

    def __init__(self, engine: Engine, provider: HostileProvider, admin: psycopg.Connection[Any]) -> None:
        self.engine, self.provider, self.admin = engine, provider, admin
        self.seen: dict[str, None] = {}
        self.requests: list[int] = []

    async def call(self, cases: Sequence[Case]) -> None:
        """Make the call of each case: by a request, a check or a refresh."""
        added = [(await self.engine.credentials.add(case.target.source, case.secret))[0] for case in cases]
        ids = dict(zip((case.number for case in cases), added, strict=True))
        await self._look_after(
            [ids[case.number] for case in cases if case.secret.keys() != set(case.source.secret_fields)]
        )
        await self._look_after([ids[case.number] for case in cases if case.target.call != "use"])
        self.admin.execute("UPDATE credential SET check_at = now() + interval '1 day'")
        self._next_round(ids)
        await self._use(cases[0], ids)

    async def _look_after(self, ids: list[int]) -> None:
        names = list(platforms().values())
        for first in range(0, len(ids), 10):
            await look_after(self.engine, ids[first : first + 10])
            for platform in names:
                await turn(self.engine.database, platform)
            self.note("lane")
            self.admin.execute("DELETE FROM breaker; DELETE FROM owner_breaker; DELETE FROM credential_usage")

    async def _use(self, case: Case, ids: dict[int, int]) -> None:
        platform = platforms()[case.target.platform]
        flow, params, _ = asked_for(platform, case.source)
        wanted = NewRequest(platform.name, flow.name, params, account_id="acme", force=True)
        left, idle = len(ids.keys() - self.provider.served), 0
        more, leased = left, list[int]()
        while left and idle < 5:
            self.requests += [one.id for one in await intake.accept(self.engine.database, [wanted] * max(1, more))]
            leased += (await turn(self.engine.database, platform)).leased
            retrieved = await retrieve(self.engine, leased)
            await process(self.engine, (await ingest(self.engine, retrieved.next)).next)
            leased = (await turn(self.engine.database, platform)).leased
            self._next_round(ids)
            more = left - len(ids.keys() - self.provider.served)
            left, idle = left - more, 0 if more else idle + 1

    def _next_round(self, ids: dict[int, int]) -> None:
        self.note("lane", "breaker", "settlement")
        served = [ids[number] for number in ids.keys() & self.provider.served]
        for statement in NEXT_ROUND.split(";"):
            self.admin.execute(statement, {"served": served})

    def note(self, *tables: str) -> None:
        """Remember all that stands in these tables, by default in all; payloads unpacked."""
        for table, column, kind in self.admin.execute(COLUMNS).fetchall():
            if tables and table not in tables:
                continue
            if kind in ("text", "jsonb", "ARRAY", "character varying"):
                shown = sql.SQL("{}::text").format(sql.Identifier(column))
            elif kind == "bytea":
                shown = sql.Identifier(column)
            else:
                continue
            query = sql.SQL("SELECT DISTINCT {} FROM {}").format(shown, sql.Identifier(table))
            for (value,) in self.admin.execute(query).fetchall():
                if value is not None:
                    self.seen[_text(value)] = None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    data = bytes(value)
    return (unpack(data) if data.startswith(ZSTD) else data).decode("latin-1")


@contextmanager
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Every line that is logged, tracebacks with the text of all their causes."""
    lines: list[str] = []
    with structlog.testing.capture_logs() as captured, caplog.at_level("DEBUG"):
        yield lines
    for entry in captured:
        error = entry.pop("exc_info", None)
        lines.append(repr(entry))
        if isinstance(error, BaseException):
            lines.append("".join(traceback.format_exception(error)))
    lines += [record.getMessage() + (record.exc_text or "") for record in caplog.records]


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def settings(settings: Settings) -> Settings:
    changed = {"webhook_allow_private": True, "broker_in_flight_per_source": 1000, "http_total_timeout": 10.0}
    return settings.model_copy(update=changed)


@pytest.fixture
def cases() -> list[Case]:
    """A twelfth of the cases of a source with a key and of one with a grant, each spelling and place among them; in `make test-all` those of
    all sources."""
    found = covering(targets(), list(SPELLINGS), list(PLACES))
    if ALL:
        return found
    of_two = [case for case in found if case.target.source in ("lama", "ytapi")]
    some = of_two[::12]
    some += {case.place: case for case in of_two if case.place not in {one.place for one in some}}.values()
    assert {case.spelling for case in some} == SPELLINGS.keys()
    assert {case.place for case in some} == set(PLACES)
    return some


@pytest.fixture
async def world(settings: Settings, admin: psycopg.Connection[Any], cases: list[Case]) -> AsyncIterator[World]:
    async with hostile(cases) as provider:
        there = settings.model_copy(update={"simulator_url": provider.url})
        engine = engine_with(there, ProviderClient(there))
        yield World(engine, provider, admin)
        await engine.close()


@pytest.mark.slow
@pytest.mark.scaled
@pytest.mark.timeout(600)
async def test_p8_no_secret_leaves_the_vault_wherever_and_however_it_is_repeated(
    world: World,
    settings: Settings,
    servers: Servers,
    cases: list[Case],
    beat: Beat,
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = world.engine.database
    async with database.transaction() as transaction:
        for platform, owner in (("shopify", "example.myshopify.com"), ("instagram", "17841400000000001")):
            await grants.grant(transaction, Use("acme", platform, owner), reason="test", actor="test")
    with logged(caplog) as lines:
        async with receiving() as receiver:
            await add(database, receiver.url)
            await add(database, receiver.url, account_id=None)
            for source in dict.fromkeys(case.target.source for case in cases):
                await world.call([case for case in cases if case.target.source == source])
            for watch in WATCHES:
                await watch.run(database)
            deliverer = Deliverer(database, Vault(settings))
            calls = -1
            while calls < len(receiver.calls):
                calls = len(receiver.calls)
                await pass_(deliverer)
            await deliverer.close()
            told = [body.decode() for _, body in receiver.calls]
        shown = await _shown(settings, world.requests)
        typed = await _typed(beat, world.admin)
    world.note()
    kept = [text for key in _redis(servers).scan_iter() for text in (key.decode("latin-1"), _held(servers, key))]
    served = [case for case in cases if case.number in world.provider.served]
    for what in ("target", "spelling", "place"):
        assert {getattr(case, what) for case in served} == {getattr(case, what) for case in cases}
    assert len(served) > 0.95 * len(cases)
    assert min(map(len, (told, shown, typed, lines, kept, world.seen))) > 0
    assert hits(world.seen) == []
    assert hits(lines) == []
    assert hits(kept) == []
    assert hits(told) == []
    assert hits(shown) == []
    assert hits(typed) == []
    assert any("***" in text for text in world.seen)
    assert not any(f" {command} " in text for text in shown for command in ("beat flows", "beat credentials"))


async def _shown(settings: Settings, requests: Sequence[int]) -> list[str]:
    """What the API answers to a key with an account, to one that reads and to one that operates."""
    pages = [
        "scrape-requests?limit=200",
        "changes?limit=200",
        "alerts",
        "alerts?resolved=true",
        "credentials",
        "quarantine",
    ]
    pages += ["webhooks", "webhooks/1/deliveries", "webhooks/2/deliveries", "sources", "flows", "audit", "limits"]
    paths = [f"/v1/{page}" for page in pages]
    paths += [f"/v1/scrape-requests/{one}{what}" for one in requests for what in ("", "/explain")]
    paths += [f"/v1/credentials/{one}" for one in range(1, 1 + len(requests), 20)]
    database = Database(settings, name="api")

    async def silent(_platform: str) -> bool:
        return True

    app = create_app(lambda: Services(Database(settings, name="api"), silent, lambda: silent("")))
    wanted: list[tuple[tuple[Scope, ...], str | None]] = [
        ((Scope.READ, Scope.SUBMIT), "acme"),
        ((Scope.READ,), None),
        ((Scope.READ, Scope.OPERATE), None),
    ]
    texts, answered = [], 0
    async with falcon.testing.ASGIConductor(app) as conductor:
        for scopes, account in wanted:
            async with database.transaction() as transaction:
                new = NewKey("test", scopes, account_id=account, rate_limit=100_000)
                key = await keys.create(transaction, new, actor="test")
            for path in paths:
                answer = await conductor.get(path, headers={"Authorization": f"Bearer {key.minted.text}"})
                texts += [answer.text, str(dict(answer.headers))]
                answered += answer.status_code == 200
    await database.close()
    assert answered > len(requests) * 5
    return texts


async def _typed(beat: Beat, admin: psycopg.Connection[Any]) -> list[str]:
    """What the command line prints."""
    failed = admin.execute("SELECT DISTINCT ON (code) request_id FROM trace_log WHERE request_id IS NOT NULL LIMIT 15")
    lines = [["why", str(one)] for (one,) in failed.fetchall()]
    dead = admin.execute(
        "SELECT DISTINCT ON (source, dead_reason) id FROM credential WHERE dead_at IS NOT NULL LIMIT 15"
    )
    lines += [["credentials", "show", str(one), "--json"] for (one,) in dead.fetchall()]
    lines += [
        ["alerts"],
        ["alerts", "--json"],
        ["credentials", "list", "--json"],
        ["quarantine"],
        ["quarantine", "--json"],
    ]

    def run() -> list[str]:
        said = [beat(*line) for line in lines]
        assert [one.err for one in said if one.code not in (0,)] == []
        return [text for one in said for text in (one.out, one.err)]

    return await asyncio.to_thread(run)


def _redis(servers: Servers) -> "Redis[bytes]":
    return Redis.from_url(servers.valkey.url)


def _held(servers: Servers, key: bytes) -> str:
    return _redis(servers).dump(key).decode("latin-1") if _redis(servers).exists(key) else ""
