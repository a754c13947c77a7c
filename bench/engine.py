"""Beat, whole, at work: as many scrapes as are asked for, from the first lease to the last commit.

Everything is switched on: broker, limits, raw payloads, trace, snapshots, events, fences. The requests are accepted before the
clock starts, as the peers' work is in their queues; the workers are up and have nothing to do.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from beat_actors.database import migrate
from beat_actors.engine import Engine
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from bench.contender import RunFailed

KEY = "bench:YmVuY2ggYmVuY2ggYmVuY2ggYmVuY2ggYmVuY2ggYmU="
# Lama allows 15 calls a second with one key.
CREDENTIALS = 400
DEADLINE = 180.0
OPEN = "SELECT count(*) FROM scrape_request_log WHERE status IN ('PENDING', 'PROCESSING')"
SPAN = """
SELECT extract(epoch FROM max(scraped_at) - min(picked_at))::float8,
       count(*) FILTER (WHERE status = 'COMPLETE') FROM scrape_request_log
"""


@dataclass(frozen=True)
class Setup:
    """Where it runs, and with how many worker processes; `upstream_url` stands where the simulator would.

    `pooled_url`: the same database through a pooler, for all that need no session of their own.
    """

    database_url: str
    redis_url: str
    upstream_url: str
    processes: int = 2
    threads: int = 8
    stage_batch: int = 100
    pooled_url: str = ""
    calls_per_host: int = 64
    defaults: bool = False
    """As an installation has it that sets nothing but where things are."""

    def env(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("BEAT_")},
            "BEAT_DATABASE_URL": self.pooled_url or self.database_url,
            "BEAT_DATABASE_DIRECT_URL": self.database_url,
            "BEAT_DATABASE_PREPARED_STATEMENTS": str(not self.pooled_url),
            "BEAT_REDIS_URL": self.redis_url,
            "BEAT_VAULT_KEYS": KEY,
            "BEAT_MESSAGE_KEYS": KEY,
            "BEAT_ENVIRONMENT": "rehearsal",
            "BEAT_SIMULATOR_URL": self.upstream_url,
            "BEAT_LOG_LEVEL": "WARNING",
            **({} if self.defaults else self._tuned()),
        }

    def _tuned(self) -> dict[str, str]:
        return {
            "BEAT_STAGE_BATCH": str(self.stage_batch),
            # An outage may cost more calls than by default: the upstream answers within a millisecond here.
            "BEAT_BROKER_IN_FLIGHT": "1000",
            "BEAT_BROKER_IN_FLIGHT_PER_SOURCE": "800",
            "BEAT_BROKER_BATCH": "400",
            "BEAT_HTTP_MAX_PER_HOST": str(self.calls_per_host),
        }


def settings_of(setup: Setup) -> Settings:
    """Of what works beside the workers."""
    return Settings(database_url=setup.database_url, redis_url=setup.redis_url, vault_keys=KEY, message_keys=KEY)


async def prepare(
    setup: Setup, handles: Sequence[str], count: int, *, source: str = "lama", credentials: int = CREDENTIALS
) -> None:
    """Credentials, and `count` requests that wait."""
    async with _engine(setup) as engine:
        for n in range(credentials):
            await engine.credentials.add(source, {"key": f"bench-{n}"})
        async with engine.database.transaction() as transaction:  # their checks are no part of the work
            await transaction.run("UPDATE credential SET check_at = clock_timestamp() + interval '1 day'")
        await _accept(engine, handles, count)


async def accept(setup: Setup, handles: Sequence[str], count: int) -> None:
    """`count` more requests."""
    async with _engine(setup) as engine:
        await _accept(engine, handles, count)


async def _accept(engine: Engine, handles: Sequence[str], count: int) -> None:
    for start in range(0, count, 1000):
        handled = [handles[n % len(handles)] for n in range(start, min(start + 1000, count))]
        await intake.accept(
            engine.database,
            [
                NewRequest("instagram", "refresh_profile_by_handle", {"handle": handle}, force=True)
                for handle in handled
            ],
        )


@asynccontextmanager
async def _engine(setup: Setup) -> AsyncIterator[Engine]:
    engine = Engine.start(settings_of(setup), name="bench")
    try:
        yield engine
    finally:
        await engine.close()


@contextmanager
def working(setup: Setup) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Workers and scheduler, as in production."""
    workers = [
        *(sys.executable, "-m", "actors"),
        *("--processes", str(setup.processes), "--threads", str(setup.threads)),
    ]
    commands = [workers, [sys.executable, "-m", "scheduler"]]
    with tempfile.TemporaryFile() as log:
        started = [
            subprocess.Popen(command, env=setup.env(), start_new_session=True, stdout=log, stderr=log)
            for command in commands
        ]
    try:
        yield started
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(30)


def run(setup: Setup, handles: Sequence[str], count: int) -> tuple[float, int]:
    """(seconds from the first lease to the last commit, requests that are complete)."""
    migrate.upgrade(setup.database_url)
    asyncio.run(prepare(setup, handles, count))
    with working(setup), psycopg.connect(setup.database_url, autocommit=True) as connection:
        until_done(connection)
        seconds, complete = connection.execute(SPAN).fetchone() or (0.0, 0)
        return seconds, complete


def until_done(connection: psycopg.Connection[Any]) -> None:
    """Raises `RunFailed` where requests are still open after `DEADLINE` seconds."""
    deadline = time.monotonic() + DEADLINE
    while left := _value(connection, OPEN):
        if time.monotonic() > deadline:
            raise RunFailed(f"beat still had {left} open requests after {DEADLINE:.0f} s")
        time.sleep(0.2)


def _value(connection: psycopg.Connection[Any], sql: str) -> Any:
    row = connection.execute(sql).fetchone()
    return row[0] if row else None
