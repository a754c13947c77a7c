"""The peers as contenders: their schema, their processes, and what they wrote."""

import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.contender import Result, RunFailed, World, Written

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".venv-bench" / "bin" / "python"
DEADLINE = 180.0
"""Seconds that a run may take."""
LOOK = 0.2
STOP = 20.0

OPEN = "SELECT EXISTS (SELECT FROM scrape WHERE status <> 'COMPLETE')"
TIMES = """
SELECT (SELECT extract(epoch FROM min(started_at))::float8 FROM audit), (SELECT extract(epoch FROM max(done_at))::float8 FROM scrape)
"""
WRITTEN = """
SELECT (SELECT count(*) FROM scrape WHERE status = 'COMPLETE'), (SELECT count(*) FROM account), (SELECT count(*) FROM post),
    (SELECT count(*) FROM audit), (SELECT count(*) FROM account_snapshot), (SELECT count(*) FROM post_snapshot),
    (SELECT count(*) FROM event)
"""


@dataclass(frozen=True)
class Peer:
    """A contender that is a program of `bench.peers`."""

    name: str
    count: int
    work: tuple[str, ...]
    """Arguments of its Python: the program that does the work."""
    send: tuple[str, ...] = ()
    """Likewise, for what offers the work on a queue before."""
    schema: str = "peers"

    def create_schema(self, database_url: str) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute((ROOT / "bench" / "peers" / "schema.sql").read_text())

    def run(self, world: World, count: int) -> Result:
        env = {
            **os.environ,
            "BENCH_DATABASE_URL": world.database_url,
            "BENCH_REDIS_URL": world.redis_url,
            "BENCH_UPSTREAM_URL": world.upstream_url,
        }
        with (
            psycopg.connect(world.database_url, autocommit=True) as connection,
            tempfile.TemporaryFile("w+") as said,
        ):
            connection.execute("INSERT INTO scrape (handle) SELECT unnest(%s::text[])", (world.handles(count),))
            connection.execute("VACUUM ANALYZE scrape")
            if self.send:
                subprocess.run((PYTHON, *self.send), env=env, cwd=ROOT, check=True)
            process = subprocess.Popen(
                (PYTHON, *self.work), env=env, cwd=ROOT, stdout=said, stderr=said, process_group=0
            )
            try:
                finished = _wait(connection, process)
            finally:
                _stop(process)
            if not finished:
                said.seek(0)
                raise RunFailed(f"{self.name} did not end its work: {said.read()[-2000:]}")
            started, ended = connection.execute(TIMES).fetchone() or (0.0, 0.0)
            return Result(started, ended, Written(*(connection.execute(WRITTEN).fetchone() or ())))


def _wait(connection: psycopg.Connection, process: subprocess.Popen[bytes]) -> bool:
    """Until all is COMPLETE; false where it never will be."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        is_over = process.poll() is not None
        row = connection.execute(OPEN).fetchone()
        if row and not row[0]:
            return True
        if is_over:
            return False
        time.sleep(LOOK)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _program(module: str, *arguments: str) -> tuple[str, ...]:
    return ("-m", f"bench.peers.{module}", *arguments)


CELERY = (
    "-m",
    "celery",
    "-A",
    "bench.peers.celery_app",
    "worker",
    "--pool",
    "prefork",
    "--concurrency",
    "8",
    "--loglevel",
    "warning",
)
CELERY += ("--without-gossip", "--without-mingle", "--without-heartbeat")
DRAMATIQ = ("-m", "dramatiq", "bench.peers.dramatiq_app", "--processes", "2", "--threads", "8")
PEERS = (
    Peer("asyncio-loop", 6000, _program("asyncio_loop")),
    Peer("limit", 12000, _program("limit")),
    Peer("scrapy", 2000, _program("scrapy_spider")),
    Peer("celery", 3000, CELERY, send=_program("celery_app", "send")),
    Peer("dramatiq-per-message", 2500, DRAMATIQ, send=_program("dramatiq_app", "send")),
    Peer("polling", 1000, _program("polling")),
)
