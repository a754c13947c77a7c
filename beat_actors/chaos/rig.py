"""What the faults break: a stack over a data root of its own, with two groups of workers, and every way to break it."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil
import psycopg
import redis
from psycopg.rows import namedtuple_row

from beat_actors.chaos.bucket import Bucket, BucketProxy
from beat_actors.chaos.forgetting import CHECK_NONE, CHECK_THEM, CHECKS, FORGET, LEASED
from beat_actors.chaos.furnishing import add_credentials, furnish
from beat_actors.chaos.layout import (
    UPLOADS,
    Layout,
    Proxies,
    both_hosts,
    follow,
    rerouted,
    second_postgres,
    second_valkey,
    with_pictures,
)
from beat_actors.chaos.logs import Mark, errors, logged, marked
from beat_actors.chaos.published import EVENT_SINKS
from beat_actors.chaos.timing import Timing
from beat_actors.chaos.waiting import ChaosError, until
from beat_actors.database import Statement, migrate
from beat_actors.failpoints import VARIABLE
from beat_actors.failpoints.armed import SharedRegister
from beat_actors.local.servers import PostgresServer, ValkeyServer
from beat_actors.local.service import Service
from beat_actors.local.stack import Stack
from beat_actors.local.supervisor import Supervisor
from beat_actors.redis_keys import wake_up_channel
from beat_actors.settings import Settings
from beat_actors.simulator.client import SimulatorClient

T = TypeVar("T")

GROUPS, THREADS = ("workers-a", "workers-b"), 8
POPULATION, HTTP_TIMEOUT = 1000, 5.0
STARTS_WITHIN = 240.0
"""Seconds for a service to be ready: five of them import at once, which no run measures and a crowded machine takes minutes for."""
TRIES = 5
"""Of a statement that meets a deadlock."""
NO_WORKERS = ("resource_tracker", "pipeline.isolation")
"""Children of a worker that take no messages."""
FAKETIME = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")

# Python sleeps until a moment, libfaketime makes a span of it, and the kernel calls the span wrong where the moment has passed.
SLEEP = """
import errno, time
_sleep = time.sleep
def sleep(seconds):
    try:
        _sleep(seconds)
    except OSError as error:
        if error.errno != errno.EINVAL or seconds < 0:
            raise
time.sleep = sleep
"""

READ_WRITE = "?target_session_attrs=read-write"


class Rig:
    """Use it in a `with` block: `with Rig.running(timing) as rig`."""

    def __init__(
        self,
        stack: Stack,
        timing: Timing,
        worker_env: Mapping[str, str],
        layout: Layout,
        proxies: Proxies | None,
        pictures: BucketProxy | None,
    ) -> None:
        self.stack = stack
        self.timing = timing
        self.failpoints = SharedRegister(stack.home.path / "failpoints")
        self.layout = layout
        self.proxies = proxies
        self.postgres_url = stack.postgres.url
        """As the superuser, to whichever server takes writes."""
        self.primary: ValkeyServer = stack.valkey
        self.replica: ValkeyServer | None = None
        self.standby: PostgresServer | None = None
        self.spent = False
        """A fail-over happened: the next run needs a new stack."""
        self._worker_env = worker_env
        self._routes = proxies.routes(stack) if proxies else {}
        self.bucket = Bucket(stack.s3)
        self.bucket_proxy = pictures
        """Between the processes that upload and S3."""
        self._extra: set[str] = set()
        self.authorization: dict[str, str] = {}
        self.kept = False
        """Somebody wants to look at the logs and the data."""

    @classmethod
    @contextlib.contextmanager
    def running(
        cls, timing: Timing, *, worker_env: Mapping[str, str] | None = None, layout: Layout = Layout.PLAIN
    ) -> Iterator[Self]:
        """Start everything; at the end stop it, and erase the data root unless `kept` was set.

        `worker_env`: variables for the workers alone, by which a test plants a defect in them.
        """
        root = Path(tempfile.mkdtemp(prefix="beat-chaos-"))
        env = {
            "BEAT_STAGE_LEASE": str(timing.lease),
            "BEAT_HTTP_TOTAL_TIMEOUT": str(HTTP_TIMEOUT),
            "BEAT_STAGE_BATCH": "5",
            "BEAT_EVENT_SINKS": EVENT_SINKS,
            VARIABLE: f"@{root / 'failpoints'}",
        }
        stack = Stack(root, profiles=POPULATION, api_port=0, extra_env=env)
        rig: Self | None = None
        try:
            with contextlib.ExitStack() as life:
                # Before the stack starts, so that they close after its processes have ended.
                proxies = Proxies.before(stack, life) if layout is Layout.PROXIED else None
                pictures = life.enter_context(BucketProxy.running(stack.s3)) if layout is Layout.PICTURES else None
                life.enter_context(stack.running(migrate=migrate.upgrade, faces=False))
                rig = cls(stack, timing, worker_env or {}, layout, proxies, pictures)
                rig.failpoints.arm()
                rig.authorization = asyncio.run(furnish(rig.settings()))
                rig._add_servers()
                rig._start_faces()
                try:
                    yield rig
                finally:
                    rig.thaw()
        finally:
            if rig is None or not rig.kept:
                stack.home.erase()

    @property
    def supervisor(self) -> Supervisor:
        return self.stack.supervisor

    def settings(self) -> Settings:
        """For an engine or a mailbox of our own."""
        env = self.stack.env.items()
        return Settings.model_validate(
            {name.removeprefix("BEAT_").lower(): value for name, value in env if name.startswith("BEAT_")}
        )

    # What the database, the logs and the processes say.

    def rows(self, sql: str, *params: Any) -> list[Any]:
        with psycopg.connect(self.postgres_url, autocommit=True, row_factory=namedtuple_row) as connection:
            return connection.execute(sql.encode(), params).fetchall()

    def rows_of(self, statement: Statement[T]) -> list[T]:
        with psycopg.connect(self.postgres_url, autocommit=True, row_factory=statement.rows) as connection:
            return connection.execute(statement.sent).fetchall()

    def run(self, sql: str, *params: Any) -> None:
        with psycopg.connect(self.postgres_url, autocommit=True) as connection:
            connection.execute(sql.encode(), params)

    async def with_simulator(self, work: Callable[[SimulatorClient], Awaitable[T]]) -> T:
        async with SimulatorClient(self.stack.simulator.url) as simulator:
            return await work(simulator)

    def valkey(self) -> redis.Redis:
        return redis.Redis.from_url(self.primary.url, socket_timeout=5.0, socket_connect_timeout=1.0)

    def mark(self) -> Mark:
        return marked(self.stack.home.logs)

    def logged(self, event: str, since: Mark) -> list[dict[str, Any]]:
        """The log lines of this event that any process wrote since then."""
        return logged(self.stack.home.logs, event, since)

    def errors(self, since: Mark) -> list[str]:
        """What processes logged as errors since then: each kind once, the most frequent one first."""
        return errors(self.stack.home.logs, since)

    def workers(self) -> list[psutil.Process]:
        """The processes that run actors, not their masters. Those that upload pictures are `uploaders`."""
        return self._children_of(name for name in (*GROUPS, *self._extra) if name.startswith("workers"))

    def uploaders(self) -> list[psutil.Process]:
        return self._children_of(UPLOADS)

    def _children_of(self, names: Iterable[str]) -> list[psutil.Process]:
        found = []
        for name in names:
            master = self._pid(name)
            if master is not None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    for child in psutil.Process(master).children(recursive=True):
                        with contextlib.suppress(psutil.NoSuchProcess):
                            if not any(word in " ".join(child.cmdline()) for word in NO_WORKERS):
                                found.append(child)
        return found

    def leader(self) -> list[tuple[str, int]]:
        """The scheduler that leads and is up, and its epoch."""
        names = {status.pid: status.name for status in self.supervisor.status()}
        return [
            (names[pid], row.epoch)
            for row in self.rows("SELECT holder, epoch FROM leader")
            if (pid := int(row.holder.rpartition(":")[2])) in names
        ]

    # Ways to break it.

    def hold(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        self.supervisor.hold(name, number)

    def release(self, name: str) -> None:
        self.supervisor.release(name)

    def signal(self, name: str, number: signal.Signals) -> None:
        """To a service's whole process group. One that is not up is left alone."""
        pid = self._pid(name)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        self.signal(name, signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(name, signal.SIGCONT)

    @contextlib.contextmanager
    def frozen_with_children(self, name: str) -> Iterator[None]:
        """For a service whose processes have groups of their own."""
        parent = psutil.Process(self._pid(name))
        frozen = [parent, *parent.children(recursive=True)]
        try:
            for process in frozen:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.suspend()
            yield
        finally:
            for process in frozen:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def kill_parent(self, name: str) -> None:
        """SIGKILL of a service's first process and of no other."""
        pid = self._pid(name)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def start_extra(self, service: Service) -> None:
        """A service for one run; `hold` ends it, and `start_extra` brings it back."""
        if service.name in self._extra:
            self.release(service.name)
        else:
            self._extra.add(service.name)
            self.supervisor.start(service)

    def second_scheduler(self) -> Service:
        return replace(self.stack.scheduler(name="scheduler-b"), backoff_most=1.0)

    def second_publisher(self) -> Service:
        return rerouted(replace(self.stack.publisher(name="publisher-b"), backoff_most=1.0), self._routes)

    def skewed_workers(self, seconds: int) -> Service | None:
        """Workers whose clock is off; `None` where libfaketime is not installed."""
        library = next((path for pattern in FAKETIME for path in sorted(Path("/").glob(pattern[1:]))), None)
        if library is None:
            return None
        service = self._group(f"workers-{'ahead' if seconds > 0 else 'behind'}")
        patch = self.stack.home.path / "skewed"
        patch.mkdir(exist_ok=True)
        (patch / "sitecustomize.py").write_text(SLEEP)
        fake = {"LD_PRELOAD": str(library), "FAKETIME": f"{seconds:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        return replace(service, env={**service.env, **fake, "PYTHONPATH": str(patch)})

    def lose_valkey(self) -> None:
        """Kill it, and lose what it had on disk."""
        self.hold("valkey")
        for path in self.stack.valkey.data.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "valkey.conf":
                path.unlink()
        self.release("valkey")

    def thaw(self) -> None:
        """Nothing stays frozen, whatever a run left."""
        for status in self.supervisor.status():
            self.signal(status.name, signal.SIGCONT)

    # Between runs.

    async def clean(self) -> None:
        """As after a start: nothing armed, no work, no usage, no cooldowns, an empty ledger. Waits until every service is up."""
        self.failpoints.arm()
        self.thaw()
        await self.ready()
        # A check that is out would be in the evidence of the next run and not in its ledger. One whose worker is gone is none.
        await asyncio.to_thread(self.run, CHECK_NONE)
        with contextlib.suppress(ChaosError):
            await until(lambda: not self.rows(CHECKS), within=self.timing.lease, what="checks did not end")
        # In a thread: another rig's clients share this loop, and would measure the wait for these locks as their own.
        await asyncio.to_thread(self._forget)
        await until(
            lambda: bool(self.rows(LEASED)), within=STARTS_WITHIN, what="no publisher has the lease of the sink"
        )

        async def reset(simulator: SimulatorClient) -> None:
            await simulator.reset()
            await simulator.reset_media()
            await simulator.set_latency(0.0)

        await self.with_simulator(reset)
        await asyncio.to_thread(self.run, CHECK_THEM, self.timing.window)

    async def ready(self) -> None:
        """Wait until every service is up, and the workers take messages."""
        await until(self._all_up, within=STARTS_WITHIN, what="the services did not come up again")

    def _forget(self) -> None:
        # A process that uploads remembers for a while what it has stored.
        held = ("publisher", *(UPLOADS if self.bucket_proxy else ()))
        for name in held:
            self.hold(name, signal.SIGTERM)
        for statement in FORGET:
            self._run_again(statement)
        self.valkey().flushall()
        if self.bucket_proxy:
            self.bucket_proxy.reset()
            self.bucket.clear()
        for name in held:
            self.release(name)

    def _run_again(self, statement: str) -> None:
        """A process at work may hold the locks of a truncation in another order, and PostgreSQL then ends one of the two."""
        for _ in range(TRIES):
            with contextlib.suppress(psycopg.errors.DeadlockDetected):
                self.run(statement)
                return
        self.run(statement)

    def _all_up(self) -> bool:
        wanted = [status for status in self.supervisor.status() if status.name not in self._extra]
        least = len(GROUPS) + (len(UPLOADS) if self.bucket_proxy else 0)
        return all(status.state == "up" for status in wanted) and self._listeners() >= least

    def _listeners(self) -> int:
        """Worker processes that wait for wake-ups: a master is up long before they are."""
        channel = wake_up_channel(self.settings().redis_namespace)
        ((_, count),) = self.valkey().pubsub_numsub(channel)
        return int(count)

    def _add_servers(self) -> None:
        stack = self.stack
        if self.layout is Layout.PROXIED:
            self.replica, service = second_valkey(stack)
            self.supervisor.start(service)
        if self.layout is Layout.STANDBY:
            self.standby, service = second_postgres(stack)
            self.supervisor.start(service)
            follow(stack.postgres)
            self.postgres_url = both_hosts(self.postgres_url, stack.postgres, self.standby) + READ_WRITE
            stack.env["BEAT_DATABASE_URL"] = both_hosts(stack.env["BEAT_DATABASE_URL"], stack.postgres, self.standby)

    def _start_faces(self) -> None:
        faces = [self._group(name) for name in GROUPS]
        others = (self.stack.scheduler(), self.stack.publisher(), self.stack.api())
        faces += [replace(face, backoff_most=1.0) for face in others]
        if self.bucket_proxy is not None:
            faces = with_pictures(faces, self.stack, self.bucket_proxy.port)
        self.supervisor.start(*(replace(rerouted(face, self._routes), ready_timeout=STARTS_WITHIN) for face in faces))

    def _group(self, name: str) -> Service:
        service = self.stack.workers(1, THREADS, name=name)
        return replace(service, env={**service.env, **self._worker_env}, backoff_most=1.0)

    def _pid(self, name: str) -> int | None:
        return next((status.pid for status in self.supervisor.status() if status.name == name), None)

    async def add_credentials(self, counts: Mapping[str, int]) -> None:
        """Give sources so many credentials each; the next run needs a new stack."""
        self.spent = True
        await add_credentials(self.settings(), counts)
