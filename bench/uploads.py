"""What an upload costs, and how fast a backlog drains: `make uploads`.

Beat's process beside a program with requests and boto3 in 32 threads: both download the same kind of pictures (40 kB, each another one) from one
origin and store them in one bucket, a strict S3 in memory that compares signatures and checksums. Beat also claims and commits rows. The runs are
interleaved, so that another load on the machine falls on both. Then Beat drains a long backlog.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

import psutil
import psycopg

from actors.mailbox import Mailbox
from beat_actors.database import migrate
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import PostgresServer, ValkeyServer, running
from beat_actors.settings import Settings
from bench.upload_origin import SIZE

THREADS = 32
HOSTS = 8
RAMP = 5000
"""Assets until a process has raised its rate at the bucket to what it can do."""
KEY = f"bench:{'A' * 43}="
BUCKET = "bench-pictures"
FILL = """
INSERT INTO asset_log (platform, entity, entity_key, field, owner, url, status, class, identity, observed_at, deadline, parent_kind, parent_key)
SELECT 'instagram', 'instagram_account', %(first)s::bigint + n, 'profile_pic_url', '',
    format('https://cdn%%s.example.com/%%s.jpg', n %% 8, %(first)s::bigint + n %% %(pictures)s::bigint), 'PENDING', n %% 4, NULL,
    clock_timestamp(), clock_timestamp() + interval '1 day', 'profiles', n::text
FROM generate_series(0, %(rows)s::bigint - 1) n
"""
LEFT = "SELECT EXISTS (SELECT FROM asset_log WHERE status = 'PENDING') OR EXISTS (SELECT FROM asset_log WHERE status = 'PROCESSING')"
NOT_DONE = "SELECT count(*) FROM asset_log WHERE status <> 'COMPLETE'"


class Run(NamedTuple):
    """`cpu`: seconds of the processes that upload."""

    assets: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.assets / self.seconds

    @property
    def ms(self) -> float:
        return self.cpu / self.assets * 1000

    def __str__(self) -> str:
        return f"{self.rate:7,.0f} assets/s, {self.ms:.2f} ms CPU an asset"


def peer(origin: str, first: int, assets: int) -> None:
    """Runs in a process of its own: a session and a thread for each of 32, and boto3's client as its documentation shares it."""
    import boto3
    import requests

    client = boto3.client("s3", endpoint_url=os.environ["BEAT_S3_ENDPOINT_URL"])
    numbers = SimpleQueue[int]()
    for number in range(first, first + assets):
        numbers.put(number)

    def work() -> None:
        with requests.Session() as session, contextlib.suppress(Empty):
            while True:
                number = numbers.get_nowait()
                answer = session.get(f"{origin}/cdn{number % HOSTS}.example.com/{number}.jpg", timeout=20)
                answer.raise_for_status()
                name = hashlib.sha256(answer.content).hexdigest()
                client.put_object(
                    Bucket=BUCKET, Key=f"{name[:2]}/{name[2:4]}/{name}", Body=answer.content, ContentType="image/jpeg"
                )

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    began, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps([assets, time.perf_counter() - began, time.process_time() - cpu]))


class Place:
    """The servers, and the process of Beat that uploads."""

    def __init__(self, postgres: PostgresServer, valkey: ValkeyServer, folder: Path) -> None:
        self._url, self._owner, self._numbers = postgres.process_url, postgres.owner_url, count(1)
        self.log = folder / "uploads.log"
        self.settings = Settings(
            environment="rehearsal",
            database_url=postgres.process_url,  # type: ignore[arg-type]
            redis_url=valkey.url,  # type: ignore[arg-type]
            message_keys=KEY,  # type: ignore[arg-type]
            asset_bucket=BUCKET,
        )
        self.origin = ""
        self.s3: Mapping[str, str] = {}
        self.beat: psutil.Popen | None = None

    def numbers(self, pictures: int) -> int:
        """The first of so many numbers that no run had before."""
        return next(self._numbers) * 10_000_000

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "BEAT_ENVIRONMENT": "rehearsal",
            "BEAT_DATABASE_URL": self._url,
            "BEAT_DATABASE_MAY_LOSE_COMMITS": "true",
            "BEAT_REDIS_URL": str(self.settings.redis_url),
            "BEAT_MESSAGE_KEYS": KEY,
            "BEAT_ASSET_ORIGIN": self.origin,
            "BEAT_LOG_LEVEL": "WARNING",
            **self.s3,
        }

    def workers(self) -> list[psutil.Process]:
        assert self.beat is not None
        return list(self.beat.children(recursive=True))

    def used(self) -> float:
        return sum(sum(one.cpu_times()[:2]) for one in self.workers())

    def rows(self, sql: str, values: Mapping[str, object] | None = None) -> list[tuple[object, ...]]:
        with psycopg.connect(self._url, autocommit=True) as connection:
            cursor = connection.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    def uploads(self, rows: int, pictures: int) -> Run:
        """Let Beat upload so many assets of so many pictures."""
        first = self.numbers(pictures)
        mailbox = Mailbox(self.settings)
        self.rows(FILL, {"first": first, "rows": rows, "pictures": pictures})
        began, cpu = time.perf_counter(), self.used()
        asyncio.run(mailbox.wake("assets"))
        with psycopg.connect(self._url, autocommit=True) as connection:
            while connection.execute(LEFT).fetchone() != (False,):
                time.sleep(0.05)
        run = Run(rows, time.perf_counter() - began, self.used() - cpu)
        mailbox.close()
        assert self.rows(NOT_DONE) == [(0,)], "not all assets were stored"
        self.rows("DELETE FROM asset_log")
        with psycopg.connect(self._owner, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE asset_log, asset_object")
        return run

    def peer(self, assets: int) -> Run:
        words = [sys.executable, "-m", "bench.uploads", "--peer", str(self.numbers(assets)), "--assets", str(assets)]
        environment = {**self.environment, "BENCH_ORIGIN": self.origin}
        answer = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
        return Run(*json.loads(answer.stdout))


@contextlib.contextmanager
def process(
    *words: str, environment: Mapping[str, str] | None = None, lines: int = 0, log: Path | None = None
) -> Iterator[tuple[psutil.Popen, list[str]]]:
    """A program, and the first lines that it prints."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(log.open("ab")) if log else subprocess.PIPE
        started = psutil.Popen(
            [sys.executable, "-m", *words], env=environment, stdout=file, stderr=file if log else None
        )
        try:
            yield started, [started.stdout.readline().decode().strip() for _ in range(lines)]
        finally:
            started.terminate()
            started.wait()


@contextlib.contextmanager
def place() -> Iterator[Place]:
    with temporary_home() as home, contextlib.ExitStack() as stack:
        postgres, valkey = PostgresServer.at(home), ValkeyServer.at(home)
        stack.enter_context(running(home, postgres, valkey))
        migrate.upgrade(postgres.owner_url, postgres.process_url)
        made = Place(postgres, valkey, home.path)
        _, (port,) = stack.enter_context(process("bench.upload_origin", lines=1))
        made.origin = f"http://127.0.0.1:{port}"
        yield made


@contextlib.contextmanager
def uploading(made: Place) -> Iterator[None]:
    """An empty bucket, and a process of Beat that uploads into it."""
    with process("tests.strict_s3", "--bucket", BUCKET, lines=5) as (_, lines):
        made.s3 = dict(line.split("=", 1) for line in lines)
        words = ("actors", "--processes", "1", "--threads", "2", "--queues", "assets")
        with process(*words, environment=made.environment, log=made.log) as (beat, _):
            made.beat = beat
            while not made.rows("SELECT 1 FROM process WHERE name = 'uploads'"):
                assert beat.poll() is None, made.log.read_text()
                time.sleep(0.1)
            made.uploads(RAMP, RAMP)  # connections and caches are there, and the bucket is asked at full rate
            yield
        made.rows("DELETE FROM process")


def compared(made: Place, assets: int, rounds: int) -> tuple[list[Run], list[Run]]:
    ours, theirs = list[Run](), list[Run]()
    for number in range(rounds):
        with uploading(made):
            for is_ours in (True, False) if number % 2 == 0 else (False, True):
                run = made.uploads(assets, assets) if is_ours else made.peer(assets)
                (ours if is_ours else theirs).append(run)
                print(f"  {'beat' if is_ours else f'boto3, {THREADS} threads':<17} {run}", flush=True)
    return ours, theirs


def drained(made: Place, rows: int, pictures: int) -> None:
    with uploading(made):
        peak, stopped = [0], threading.Event()

        def watch() -> None:
            while not stopped.wait(0.2):
                with contextlib.suppress(psutil.Error):
                    peak[0] = max(peak[0], *(one.memory_info().rss for one in made.workers()))

        thread = threading.Thread(target=watch)
        thread.start()
        run = made.uploads(rows, pictures)
        stopped.set()
        thread.join()
        print(f"backlog of {rows:,} assets of {pictures:,} pictures: {run}, at most {peak[0] / 1e6:,.0f} MB resident")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.uploads")
    parser.add_argument("--assets", type=int, default=5000, help="of one run")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--backlog", type=int, default=100_000)
    parser.add_argument("--peer", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peer is not None:
        peer(os.environ["BENCH_ORIGIN"], given.peer, given.assets)
        return
    with place() as made:
        print(f"pictures of {SIZE / 1000:g} kB, downloaded and stored:")
        ours, theirs = compared(made, given.assets, given.rounds)
        rate, cpu = (
            [statistics.median(getattr(one, name) for one in runs) for runs in (ours, theirs)]
            for name in ("rate", "ms")
        )
        print(f"CPU an asset: beat {cpu[0]:.2f} ms, boto3 {cpu[1]:.2f} ms")
        print(f"ratio beat/boto3-{THREADS}-threads {rate[0] / rate[1]:.1f}")
        if given.backlog:
            drained(made, given.backlog, max(given.backlog // 10, 1))


if __name__ == "__main__":
    main()
