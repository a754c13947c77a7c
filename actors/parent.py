"""The parent of the worker processes: it imports what they need once, forks them, and puts another in the place of each that dies.

Dramatiq's own parent ends all of its workers when one dies, and whoever starts them again pays for two seconds of imports a process. Here the
others go on, and the new one takes messages within some fifty milliseconds.
"""

import argparse
import contextlib
import ctypes
import gc
import importlib
import multiprocessing
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from types import FrameType

import structlog
from dramatiq import Worker, get_broker

from actors.mailbox import QUEUES
from beat_actors.errors import BadSettings
from beat_actors.logs import configure
from beat_actors.platforms.registry import platforms
from beat_actors.settings import load

log = structlog.get_logger(__name__)

BEFOREHAND = (
    "uvloop",
    "actors.watchdog",
    "beat_actors.credentials.turn",
    "beat_actors.credentials.upkeep",
    "beat_actors.database.vitals",
    "beat_actors.engine",
    "beat_actors.pipeline.alone",
    "beat_actors.pipeline.ingest",
    "beat_actors.pipeline.process",
    "beat_actors.pipeline.retrieve",
    "beat_actors.pipeline.upkeep",
    "beat_actors.quarantine",
)
"""What the actors import. Not the actors: they build a broker, and each process has its own."""

DRAIN = 21.0
"""Seconds that a worker has to finish what it holds: longer than a call may take, and so that all are gone within 25 s."""
PREFETCH = 4
"""Messages of a queue that a process fetches ahead: few, since what one process holds, an idle one cannot take."""
BACKOFF_FIRST, BACKOFF_MOST = 0.25, 5.0
"""Seconds before a worker that dies again and again is replaced; the first one is replaced at once."""
STEADY = 30.0
"""Seconds that a worker must have lived for its death to count as the first."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)
BAD_USAGE = 2


@dataclass(frozen=True, slots=True)
class Options:
    """How many `processes`, of how many `threads`, for which `queues`."""

    processes: int
    threads: int
    queues: frozenset[str]


@dataclass(slots=True)
class _Place:
    """One of the worker processes, and those that come after it. `due`: when the next is started, while there is none."""

    number: int
    process: ForkProcess | None = None
    ready: ctypes.c_bool = field(default_factory=lambda: multiprocessing.RawValue(ctypes.c_bool))
    """Shared without a lock: whoever dies, nobody waits for it."""
    since: float = 0.0
    backoff: float = 0.0
    due: float = 0.0


class Parent:
    """Runs workers until it is told to stop, or one cannot start."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._places = [_Place(number) for number in range(options.processes)]
        self._stopping = False
        self._code = 0
        self._wake, wake = socket.socketpair()
        self._wake.setblocking(False)
        wake.setblocking(False)
        self._waker = wake

    def run(self) -> int:
        """Until all workers have ended after SIGTERM or SIGINT; the exit code. A second signal ends them at once."""
        signal.set_wakeup_fd(self._waker.fileno())
        for number in SIGNALS:
            signal.signal(number, self._told)
        while self._running() or not self._stopping:
            now = time.monotonic()
            for place in self._places:
                if place.process is None and not self._stopping and place.due <= now:
                    self._start(place)
            self._sleep(now)
            for place in self._places:
                if place.process is not None and place.process.exitcode is not None:
                    self._ended(place, place.process.exitcode)
        return self._code

    def _running(self) -> list[ForkProcess]:
        return [place.process for place in self._places if place.process is not None]

    def _sleep(self, now: float) -> None:
        """Until a worker ends, a signal comes, or a worker is due."""
        due = [place.due for place in self._places if place.process is None and not self._stopping]
        wait([self._wake, *(one.sentinel for one in self._running())], min(due) - now if due else None)
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(64)

    def _start(self, place: _Place) -> None:
        place.ready.value = False
        process = multiprocessing.get_context("fork").Process(
            target=_work, args=(self._options, place.ready, time.monotonic()), name=f"worker-{place.number}"
        )
        with _deaf():  # until the child has handlers of its own, and the parent knows of the child
            process.start()
            place.process, place.since = process, time.monotonic()

    def _ended(self, place: _Place, code: int) -> None:
        assert place.process is not None
        pid, place.process = place.process.pid, None
        if self._stopping:
            self._code = self._code or max(code, 0)
            return
        if code > 0 and not place.ready.value:
            log.critical("worker_cannot_start", code=code, meaning="the others are stopped too; why stands above")
            self._code = code
            self._stop()
            return
        if time.monotonic() - place.since >= STEADY:
            place.backoff = 0.0
        log.error(
            "worker_died",
            pid=pid,
            code=code,
            again_in_s=place.backoff,
            meaning="another takes its place; what it held comes back when its leases run out",
        )
        place.due = time.monotonic() + place.backoff
        place.backoff = min(max(place.backoff * 2, BACKOFF_FIRST), BACKOFF_MOST)

    def _told(self, _number: int, _frame: FrameType | None) -> None:
        if self._stopping:
            for process in self._running():
                process.kill()
        self._stop()

    def _stop(self) -> None:
        self._stopping = True
        for process in self._running():
            process.terminate()


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(options: Options, ready: ctypes.c_bool, forked: float) -> None:
    """A worker process, from its fork to its end."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's; the parent has heard it too
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    importlib.import_module("actors.all")
    broker = get_broker()
    broker.emit_after("process_boot")
    worker = Worker(broker, queues=set(options.queues), worker_threads=options.threads)
    worker.queue_prefetch = PREFETCH
    worker.start()
    ready.value = True
    log.info("worker_ready", ms=round((time.monotonic() - forked) * 1000))
    # Blocked since before the fork, in all threads: it waits here until somebody asks for it.
    signal.sigwait({signal.SIGTERM})
    worker.stop(timeout=int(DRAIN * 1000))
    broker.close()


def _options(words: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m actors", description="Run the workers: their parent, and its processes."
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--queues", nargs="*", choices=QUEUES, default=QUEUES)
    given = parser.parse_args(words)
    if given.processes < 1 or given.threads < 1:
        parser.error("--processes and --threads are at least 1")
    return Options(given.processes, given.threads, frozenset(given.queues))


def prepare() -> None:
    """Import what every worker needs, so that none has to."""
    for module in BEFOREHAND:
        importlib.import_module(module)
    platforms()
    gc.collect()
    gc.freeze()  # the children share it, as long as no collection writes to it


def main(words: Sequence[str] | None = None) -> int:
    options = _options(sys.argv[1:] if words is None else words)
    try:
        settings = load()
    except BadSettings as error:
        sys.stderr.write(f"{error}\n")
        return BAD_USAGE
    connections = settings.database_pool_size + settings.database_max_overflow
    if connections < options.threads:
        sys.stderr.write(
            f"BEAT_DATABASE_POOL_SIZE and BEAT_DATABASE_MAX_OVERFLOW allow {connections} connections, and --threads {options.threads} would "
            f"wait for each other's: allow at least {options.threads}, or run fewer threads in more processes\n"
        )
        return BAD_USAGE
    configure(settings, service="workers")
    prepare()
    assert threading.active_count() == 1, "a fork takes one thread along, and the locks of all"
    return Parent(options).run()
