"""All that works on requests and uploads pictures, for benches: the servers, workers and scheduler, an origin, a bucket, and one process that uploads.

The origin and the bucket stand for other machines. Therefore they have the niceness of the process that uploads, and take the CPU from nobody else.
"""

import asyncio
import contextlib
import json
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg

from actors.mailbox import ASSETS, Mailbox
from actors.parent import YIELDS
from beat_actors.database import migrate
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import PostgresServer, ValkeyServer, running
from beat_actors.settings import Settings
from bench import engine
from bench.contender import handle
from bench.uploads import process
from bench.upstream import upstream

BUCKET = "bench-backlog"
FILL = """
INSERT INTO asset_log (platform, entity, entity_key, field, owner, url, status, class, identity, observed_at, expires_at, deadline, parent_kind, parent_key)
SELECT 'instagram', 'instagram_account', 'bench-' || a.number, 'profile_pic_url', '',
    format('https://cdn%%s.example.com/%%s.jpg', a.number %% 8, a.picture), 'PENDING', a.class, NULL, clock_timestamp(),
    clock_timestamp() + make_interval(secs => a.lives), clock_timestamp() + make_interval(secs => a.lives), 'profiles', a.number::text
FROM unnest(%(numbers)s::bigint[], %(pictures)s::bigint[], %(classes)s::smallint[], %(lives)s::float8[]) AS a(number, picture, class, lives) ORDER BY a.number
"""
BUSY = "SELECT EXISTS (SELECT FROM asset_log WHERE status = 'PENDING') OR EXISTS (SELECT FROM asset_log WHERE status = 'PROCESSING')"
STATES = "SELECT status, count(*)::int FROM asset_log GROUP BY 1"
WARM = 200
"""Assets that are uploaded before anything is measured."""


@dataclass(frozen=True)
class Setup(engine.Setup):
    """With a bucket, which the process that uploads has the key of. `limit`: uploads a second that it begins; 0: no limit."""

    origin_url: str = ""
    bucket_env: Mapping[str, str] = field(default_factory=dict)
    limit: int = 0

    def env(self) -> dict[str, str]:
        limited = {"BEAT_ASSET_UPLOADS_PER_SECOND": str(self.limit)} if self.limit else {}
        return {**super().env(), **self.bucket_env, **limited, "BEAT_ASSET_ORIGIN": self.origin_url}


@dataclass
class Bucket:
    """The strict S3 as a process of its own; it keeps no bytes. It can go down and come back, and is empty then."""

    env: dict[str, str] = field(default_factory=dict)
    _port: int = 0
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start(self) -> None:
        words = ("tests.strict_s3", "--bucket", BUCKET, "--no-bytes", "--port", str(self._port))
        started, lines = self._running.enter_context(process(*words, lines=5))
        started.nice(YIELDS)
        self.env = dict(line.split("=", 1) for line in lines)
        self._port = int(self.env["BEAT_S3_ENDPOINT_URL"].rpartition(":")[2])

    def stop(self) -> None:
        self._running.close()

    def counts(self) -> dict[str, Any]:
        return self._ask("counts", None)

    def order(self, **faults: float) -> None:
        """These faults, and no others."""
        self._ask("faults", json.dumps(faults).encode())

    def _ask(self, what: str, body: bytes | None) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.env['BEAT_S3_ENDPOINT_URL']}/-/{what}", body, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


class PictureStack:
    """`uploads`: the process that uploads, with its parent."""

    def __init__(self, setup: Setup, bucket: Bucket, uploads: psutil.Popen) -> None:
        self.setup = setup
        self.bucket = bucket
        self.connection = psycopg.connect(setup.database_url, autocommit=True, options="-c statement_timeout=0")
        self.mailbox = Mailbox(settings_of(setup))
        self._uploads = uploads
        self._next = 1

    def close(self) -> None:
        self.connection.close()
        self.mailbox.close()

    def rows(self, sql: str, values: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(sql, values)
        return cursor.fetchall() if cursor.description else []

    def fill(self, classes: list[int], lives: list[float], *, pictures: int = 0) -> None:
        """Assets that wait: class, and seconds until the URL dies, which it says. `pictures`: how many different ones; 0: each has its own."""
        numbers = list(range(self._next, self._next + len(classes)))
        self._next += len(classes)
        shown = [numbers[0] + n % pictures for n in range(len(classes))] if pictures else numbers
        self.rows(FILL, {"numbers": numbers, "pictures": shown, "classes": classes, "lives": lives})
        self.rows("ANALYZE asset_log")

    def wake(self) -> None:
        asyncio.run(self.mailbox.wake(ASSETS))

    @property
    def is_busy(self) -> bool:
        return self.rows(BUSY) != [(False,)]

    def until_idle(self) -> None:
        while self.is_busy:
            time.sleep(0.1)

    def states(self) -> dict[str, int]:
        return dict(self.rows(STATES))

    def clear(self) -> None:
        """Forget all assets, so that the next part has its own."""
        self.rows("DELETE FROM asset_log")
        self.rows("VACUUM ANALYZE asset_log, asset_object")

    def allow(self, at_once: int | None) -> None:
        """So many uploads in flight, as an operator sets it; None: as the flow declares."""
        self.rows("DELETE FROM flow_setting WHERE platform = 'assets'")
        if at_once is not None:
            setting = "INSERT INTO flow_setting (platform, flow, workers, concurrency) VALUES ('assets', 'asset_upload_flow', 1, %(at_once)s)"
            self.rows(setting, {"at_once": at_once})

    def pause(self, *, paused: bool) -> None:
        """As an operator pauses the flow, or lets it go on."""
        self.allow(None)
        if paused:
            self.rows("INSERT INTO flow_setting (platform, flow, paused) VALUES ('assets', 'asset_upload_flow', true)")

    def memory(self) -> int:
        """Bytes that the process that uploads has resident."""
        return max(one.memory_info().rss for one in self._workers())

    def cpu(self) -> float:
        """Seconds that it has used."""
        return sum(sum(one.cpu_times()[:2]) for one in self._workers())

    def _workers(self) -> list[psutil.Process]:
        return list(self._uploads.children(recursive=True))


def settings_of(setup: Setup) -> Settings:
    return engine.settings_of(setup).model_copy(update={"asset_bucket": BUCKET})


@contextlib.contextmanager
def picture_stack(*, profiles: int, delay: float = 0.0, limit: int = 0) -> Iterator[PictureStack]:
    """`profiles`: how many the upstream knows. `delay`: seconds until the origin answers. `limit`: as in `Setup`."""
    with temporary_home() as home, contextlib.ExitStack() as stack:
        postgres, valkey, answers = PostgresServer.at(home), ValkeyServer.at(home), upstream(home, profiles)
        stack.enter_context(running(home, postgres, valkey, answers))
        migrate.upgrade(postgres.url)
        bucket = Bucket()
        stack.callback(bucket.stop)
        bucket.start()
        origin, (port,) = stack.enter_context(process("bench.upload_origin", "--delay", str(delay), lines=1))
        origin.nice(YIELDS)
        setup = Setup(
            postgres.url,
            valkey.url,
            f"http://127.0.0.1:{answers.port}",
            defaults=True,
            origin_url=f"http://127.0.0.1:{port}",
            bucket_env=bucket.env,
            limit=limit,
        )
        asyncio.run(engine.prepare(setup, [handle(0)], 1))
        stack.enter_context(engine.working(setup))
        words = ("actors", "--processes", "1", "--threads", "2", "--queues", ASSETS)
        log = Path(home.path) / "uploads.log"
        uploads, _ = stack.enter_context(process(*words, environment=setup.env(), log=log))
        made = PictureStack(setup, bucket, uploads)
        stack.callback(made.close)
        while not made.rows("SELECT 1 FROM process WHERE name = 'uploads'"):
            assert uploads.poll() is None, log.read_text()
            time.sleep(0.1)
        yield made


def warmed(made: PictureStack, profiles: int) -> None:
    """Visit each profile once, so that later visits bring no new pictures, and upload a few."""
    asyncio.run(engine.accept(made.setup, [handle(n) for n in range(profiles)], profiles))
    asyncio.run(made.mailbox.wake("instagram"))
    engine.until_done(made.connection)
    made.clear()
    made.fill([n % 4 for n in range(WARM)], [86_400.0] * WARM)
    made.wake()
    made.until_idle()
    made.clear()
