"""Every process does its work and ends in good order, whatever becomes of its log: a full device, or a pipe that nobody reads."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import psycopg
import pytest
import redis

from beat_actors.alerts import list_alerts
from beat_actors.database import Database
from beat_actors.process_alerts import processes_in_trouble
from beat_actors.settings import Settings
from beat_actors.watch.rule import Watch
from tests.integration.actors.test_parent import environment
from tests.integration.local.processes import eventually

pytestmark = pytest.mark.slow

LISTENING = ("127.0.0.1", 0)


@contextmanager
def full_device() -> Iterator[int]:
    device = os.open("/dev/full", os.O_WRONLY)
    try:
        yield device
    finally:
        os.close(device)


@contextmanager
def full_pipe() -> Iterator[int]:
    """Nothing more goes into it, and nobody reads."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x")
    os.set_blocking(writer, True)
    try:
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


@contextmanager
def started(log: int, settings: Settings, *words: str, **env: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        env=environment(settings) | {"BEAT_LOG_LEVEL": "DEBUG", **env},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        process_group=0,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def found(settings: Settings, query: str) -> bool:
    with psycopg.connect(str(settings.database_url)) as connection:
        return bool(connection.execute(query).fetchall())


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(LISTENING)
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as response:
        return bool(response.status == 200)
    return False


OTHERS = [pytest.param(one, marks=pytest.mark.exhaustive) for one in ("scheduler", "scheduler.deliverer")]


@pytest.mark.parametrize(
    "log", [pytest.param(full_device, marks=pytest.mark.exhaustive), full_pipe], ids=["full device", "full pipe"]
)
@pytest.mark.parametrize("module", ["actors", pytest.param("api", marks=pytest.mark.exhaustive), *OTHERS])
def test_a_process_works_and_ends_whatever_becomes_of_its_log(
    settings: Settings, module: str, log: Callable[[], AbstractContextManager[int]]
) -> None:
    """A worker sets a message aside that none can use, the API answers, the scheduler sweeps, the deliverer reports."""
    port = free_port()
    works = {
        "actors": lambda: found(settings, "SELECT FROM quarantine WHERE kind = 'message'"),
        "api": lambda: answers(port),
        "scheduler": lambda: found(settings, "SELECT FROM sweep WHERE name = 'waiting'"),
        "scheduler.deliverer": lambda: found(settings, "SELECT FROM process WHERE name = 'deliverer'"),
    }[module]
    words = ["actors", "--processes", "1", "--threads", "1"] if module == "actors" else [module]
    with redis.Redis.from_url(str(settings.redis_url)) as client:
        client.hset(f"{settings.redis_namespace}:ingest.msgs", "m", "no message")
        client.rpush(f"{settings.redis_namespace}:ingest", "m")
    with log() as stream, started(stream, settings, *words, BEAT_API_PORT=str(port)) as process:
        assert eventually(works, within=60), "it does not work"
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.exhaustive
@pytest.mark.parametrize("module", [pytest.param("actors", marks=pytest.mark.exhaustive), "api", *OTHERS])
def test_a_process_that_may_not_start_ends_though_nobody_reads_why(settings: Settings, module: str) -> None:
    with full_pipe() as stream, started(stream, settings, module, BEAT_REDIS_URL="nonsense") as process:
        assert process.wait(30) == 2


async def test_an_alert_counts_the_lines_that_were_lost(settings: Settings, database: Database) -> None:
    with full_device() as stream, started(stream, settings, "scheduler") as process:
        reports = "SELECT FROM process WHERE troubles ? 'logs'"
        assert eventually(lambda: found(settings, reports), within=60), "it does not report its log"
        # Its row stays for a while, and it runs no rules of its own any more, which would end the alert with its row.
        process.kill()
        process.wait(30)
    await Watch("process", processes_in_trouble).run(database)
    async with database.transaction() as transaction:
        alerts = {alert.key: alert for alert in await list_alerts(transaction)}
    # It ran rules of its own before, and what they found depends on the machine and on its Redis.
    assert "process:logs" in alerts
    alert = alerts["process:logs"]
    assert "lines of its log could not be written: the device is full" in alert.cause
    assert "no work is lost" in alert.impact
    assert "free disk space" in alert.action
