"""The whole of Beat as real processes, and the counts that are compared after each run."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import psycopg
import pytest
from psycopg.rows import namedtuple_row

from beat_actors.database import migrate
from beat_actors.engine import Engine
from beat_actors.local.servers import UNSAFE_BUT_FAST
from beat_actors.local.stack import Stack
from beat_actors.platforms.registry import platforms
from beat_actors.settings import Settings
from beat_actors.simulator.client import SimulatorClient
from tests.conftest import ON_ONE_STACK
from tests.events import ENDS, LIVES, lives

CREDENTIALS = {"graphapi": 4, "arraybobo": 4, "jotucker": 4, "lama": 4, "bestsolutions": 2}
DEADLINE = 90.0


@dataclass
class System:
    """A running stack, and questions to ask of it."""

    stack: Stack

    def rows(self, sql: str, *params: Any) -> list[Any]:
        with psycopg.connect(self.stack.postgres.url, autocommit=True, row_factory=namedtuple_row) as connection:
            return connection.execute(sql, params).fetchall()

    def value(self, sql: str, *params: Any) -> Any:
        return self.rows(sql, *params)[0][0]

    async def submit(self, count: int, *, start: int = 0, **fields: Any) -> list[int]:
        """Ask for so many profiles through the API; the ids of the requests."""
        requests = [
            {
                "platform": "instagram",
                "flow": "refresh_profile_by_handle",
                "params": {"handle": f"creator_{n:06d}"},
                **fields,
            }
            for n in range(start, start + count)
        ]
        url = f"{self.stack.api_url}/v1/scrape-requests"
        headers = self.stack.authorization
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(url, json={"requests": requests}) as response,
        ):
            assert response.status == 202, await response.text()
            return [outcome["id"] for outcome in (await response.json())["outcomes"]]

    async def until(self, condition: Callable[[], bool], *, every: float = 0.1) -> None:
        """Poll until it holds; fails with the state of the requests where it does not in time."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            if time.monotonic() > deadline:
                stages = self.rows(
                    "SELECT stage, count(*), min(lease_until) AS lease_until, min(sent_at) AS sent_at FROM scrape_fetch GROUP BY 1"
                )
                lanes = self.rows("SELECT sources, blocked_until, reasons FROM lane WHERE reasons IS NOT NULL")
                pytest.fail(f"it did not come to an end: {stages} {lanes}")
            await asyncio.sleep(every)

    def ended(self, ids: list[int]) -> int:
        statuses = ["COMPLETE", "FAILED", "CANCELLED"]
        return int(
            self.value("SELECT count(*) FROM scrape_request_log WHERE id = ANY(%s) AND status = ANY(%s)", ids, statuses)
        )

    async def all_ended(self, ids: list[int]) -> None:
        await self.until(lambda: self.ended(ids) == len(ids))
        await self.all_settled()

    async def all_settled(self) -> None:
        """No call is out, and each that came back is charged."""
        left = (
            "SELECT (SELECT count(*) FROM settlement) + (SELECT count(*) FROM credential_call) + "
            "(SELECT count(*) FROM scrape_fetch WHERE stage IN ('LEASED', 'SETTLING'))"
        )
        await self.until(lambda: self.value(left) == 0)

    async def all_checked(self) -> None:
        """Every credential that can be checked has been, and is not to be again for hours."""
        sources = [s.name for s in platforms()["instagram"].sources.values() if s.check is not None]
        left = (
            "SELECT count(*) FROM credential WHERE source = ANY(%s) AND dead_at IS NULL "
            "AND (check_at IS NULL OR check_at < clock_timestamp() + interval '10 minutes')"
        )
        await self.until(lambda: self.value(left, sources) == 0)
        await self.all_settled()

    async def with_simulator(self, work: Callable[[SimulatorClient], Awaitable[Any]]) -> Any:
        async with SimulatorClient(self.stack.simulator.url) as simulator:
            return await work(simulator)

    def worker_processes(self) -> list[int]:
        """The worker processes that live now, by id; what is starting or ending may be gone while it is looked at."""
        (workers,) = [status for status in self.stack.supervisor.status() if status.name == "workers"]
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(workers.pid).children(recursive=True) if workers.pid is not None else []:
                with contextlib.suppress(psutil.NoSuchProcess):
                    found += [child.pid] if "-m actors" in " ".join(child.cmdline()) else []
        return found

    def dump(self) -> bytes:
        """All of the database, as a thief of a backup would have it."""
        with psycopg.connect(self.stack.postgres.url, autocommit=True) as connection:
            tables = connection.execute(
                "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
            dumped = []
            for (table,) in tables.fetchall():
                with connection.cursor().copy(f"COPY {table} TO STDOUT") as copy:
                    dumped += [table.encode(), *copy]
            return b"".join(bytes(part) for part in dumped)

    def forget_the_outage(self) -> None:
        """Close the breakers that an earlier test opened, as an operator may by hand."""
        with psycopg.connect(self.stack.postgres.url, autocommit=True) as connection:
            connection.execute("DELETE FROM breaker")

    def assert_nothing_lost_or_doubled(self, ids: list[int]) -> None:
        """Every request complete, every effect there once."""
        failed = self.rows(
            "SELECT id, status, data FROM scrape_request_log WHERE id = ANY(%s) AND status <> 'COMPLETE'", ids
        )
        assert failed == []
        doubled = self.rows(
            "SELECT fetch_id, profile_id, count(*) FROM profile_log WHERE request_id = ANY(%s) GROUP BY 1, 2 HAVING count(*) > 1"
            " UNION ALL "
            "SELECT fetch_id, post_id, count(*) FROM post_log WHERE request_id = ANY(%s) GROUP BY 1, 2 HAVING count(*) > 1",
            ids,
            ids,
        )
        assert doubled == []
        assert self.value("SELECT count(DISTINCT request_id) FROM profile_log WHERE request_id = ANY(%s)", ids) == len(
            ids
        )
        subjects = [f"scrape_request/{request}" for request in ids]
        assert self.value(f"SELECT count(*) FROM event WHERE {ENDS} AND subject = ANY(%s)", subjects) == len(ids)
        lives(self.rows(LIVES))
        assert self.value("SELECT count(*) FROM scrape_request_log WHERE id = ANY(%s) AND open_fetches <> 0", ids) == 0

    async def assert_the_books_agree(self) -> None:
        """Simulator's ledger = credential_usage = trace_log, save for calls of unknown outcome, which may not have arrived."""
        ledger = await self.with_simulator(lambda simulator: simulator.ledger())
        charged = self.value("SELECT coalesce(sum(calls), 0)::bigint FROM credential_usage WHERE limit_name = 'total'")
        traced = self.value("SELECT count(*) FROM trace_log")
        unknown = self.value("SELECT count(*) FROM trace_log WHERE outcome = 'unknown'")
        assert charged == traced
        counted = "SELECT coalesce(sum(calls), 0)::bigint FROM call_total WHERE outcome <> 'unreached'"
        assert self.value(counted) == charged
        assert traced - unknown <= ledger["calls"] <= traced
        assert ledger["over_limit"] == 0


@contextlib.contextmanager
def stack_in(root: Path, **more: str) -> Iterator[System]:
    """Short leases and timeouts, so that what dies is missed soon. `more`: variables of its processes."""
    stack = Stack(
        root,
        postgres_settings=UNSAFE_BUT_FAST,
        extra_env={"BEAT_STAGE_LEASE": "4", "BEAT_HTTP_TOTAL_TIMEOUT": "5", "BEAT_STAGE_BATCH": "10", **more},
    )
    try:
        with stack.running(migrate=migrate.upgrade):
            system = System(stack)
            asyncio.run(_add_credentials(stack))
            asyncio.run(system.all_checked())
            yield system
    finally:
        stack.home.erase()


SHARED = contextlib.ExitStack()
"""Holds the stack that the modules of `ON_ONE_STACK` share, from the first of them to the last."""


@pytest.fixture(scope="session")
def shared_system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return SHARED.enter_context(stack_in(tmp_path_factory.mktemp("stack") / "beat"))


@pytest.fixture(scope="module")
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A stack of the module's own, or the shared one."""
    if request.path in ON_ONE_STACK:
        yield request.getfixturevalue("shared_system")
    else:
        with stack_in(tmp_path_factory.mktemp("stack") / "beat") as system:
            yield system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Iterator[None]:
    yield
    if nextitem is None or nextitem.path not in ON_ONE_STACK:
        SHARED.close()


def engine_of(stack: Stack) -> Engine:
    """An engine of this process, over the stack's database."""
    settings = Settings(
        database_url=stack.env["BEAT_DATABASE_URL"],
        redis_url=stack.env["BEAT_REDIS_URL"],
        vault_keys=stack.env["BEAT_VAULT_KEYS"],
        message_keys=stack.env["BEAT_MESSAGE_KEYS"],
    )
    return Engine.start(settings, name="test")


async def _add_credentials(stack: Stack) -> None:
    engine = engine_of(stack)
    for source, count in CREDENTIALS.items():
        for i in range(count):
            secret = {"key": f"test-{source}-{i}"}
            if source == "graphapi":
                secret = {"token": f"test-token-{i}", "user_id": str(17_841_400_000_000_001 + i)}
            await engine.credentials.add(source, secret)
    await engine.close()
