"""The parent of the worker processes: it imports what they need once, forks them, and puts another in the place of each that dies.

Dramatiq's own parent ends all of its workers when one dies, and to start them again costs two seconds of imports a process. Here the
others go on, and the new one takes messages within some fifty milliseconds.
"""

import argparse
import contextlib
import ctypes
import importlib
import multiprocessing
import os
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

from dramatiq import Broker, Worker, get_broker
from dramatiq.asyncio import get_event_loop_thread

from actors.mailbox import ASSETS, BY_DEFAULT, CREDENTIALS, EXPRESS, QUEUES, RETRIEVE
from beat_actors import heap
from beat_actors.database.durability import refuse_unsafe
from beat_actors.errors import BadSettings
from beat_actors.log_buffer import WRITER
from beat_actors.logger import get_logger
from beat_actors.logs import AT_EXIT, buffer, configure, say
from beat_actors.platforms.registry import platforms
from beat_actors.restarts import restarts
from beat_actors.settings import Secret, load
from beat_actors.whole import NOT_WHOLE

log = get_logger(__name__)

BEFOREHAND = (
    "uvloop",
    "actors.watchdog",
    "beat_actors.assets.uploads",
    "beat_actors.broker.turn",
    "beat_actors.credentials.upkeep",
    "beat_actors.database.processes",
    "beat_actors.database.reporting",
    "beat_actors.engine",
    "beat_actors.pipeline.isolation",
    "beat_actors.pipeline.ingest",
    "beat_actors.pipeline.process",
    "beat_actors.pipeline.retrieve",
    "beat_actors.pipeline.upkeep",
    "beat_actors.quarantine",
    "beat_actors.running_code",
    "beat_actors.scores.adding",
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
FAILING_FOR = 120.0
"""Seconds without a single worker that started, after which the parent ends. Its supervisor can then start it on another host."""
SECRETS: tuple[Secret, ...] = ("message_keys",)
OPENING = {EXPRESS, RETRIEVE, CREDENTIALS}
"""The queues whose work opens credentials. Workers of the others parse what providers answered, and are started without the vault's keys."""
YIELDS = 10
"""The niceness that processes add which only upload. Pictures can wait, so on a host that these processes share, others get the CPU first."""
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
    """Shared without a lock: no process waits for one that died."""
    since: float = 0.0
    backoff: float = 0.0
    due: float = 0.0
    failed: bool = False
    """Whether its last process ended before it was ready."""


class Parent:
    """Runs workers until it is told to stop, or none can start."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._places = [_Place(number) for number in range(options.processes)]
        self._stopping = False
        self._code = 0
        self._began = 0.0
        self._whole_until: float | None = None
        """When the last worker that was ready ended, or is known to have lived; `None` where none was ever ready."""
        self._wake, wake = socket.socketpair()
        self._wake.setblocking(False)
        wake.setblocking(False)
        self._waker = wake

    def run(self) -> int:
        """Until all workers have ended after SIGTERM or SIGINT; the exit code. A second signal ends them at once."""
        signal.set_wakeup_fd(self._waker.fileno())
        self._began = time.monotonic()
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
            try:
                process.start()
            except OSError as error:
                self._failed(place, NOT_WHOLE, repr(error))
            else:
                place.process, place.since = process, time.monotonic()

    def _ended(self, place: _Place, code: int) -> None:
        assert place.process is not None
        pid, place.process = place.process.pid, None
        if self._stopping:
            self._code = self._code or max(code, 0)
            return
        if not place.ready.value:
            self._failed(place, code, "why stands above" if code > 0 else "it was killed")
            return
        restarts().ended(code)
        place.failed, self._whole_until = False, time.monotonic()
        if time.monotonic() - place.since >= STEADY:
            place.backoff = 0.0
        log.error(
            "worker_died",
            pid=pid,
            code=code,
            again_in_s=place.backoff,
            meaning="it is replaced; its work is requeued when its leases expire",
        )
        self._wait(place)

    def _failed(self, place: _Place, code: int, why: str) -> None:
        """A worker did not start. The others go on, and another is tried: what it lacked may have been lacking for a moment."""
        restarts().ended(code)
        now, place.failed = time.monotonic(), True
        if any(other.process is not None and other.ready.value for other in self._places):
            self._whole_until = now
        never = self._whole_until is None and code > 0 and all(other.failed for other in self._places)
        if never or now - (self._began if self._whole_until is None else self._whole_until) >= FAILING_FOR:
            log.critical("worker_cannot_start", code=code, why=why, meaning="no worker starts, so the parent ends")
            self._code = code if code > 0 else NOT_WHOLE
            self._stop()
            return
        place.backoff = max(place.backoff, BACKOFF_FIRST)
        log.error("worker_not_started", code=code, why=why, again_in_s=place.backoff, meaning="the other workers go on")
        self._wait(place)

    def _wait(self, place: _Place) -> None:
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's; the parent gets it too
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        importlib.import_module("actors.all")
        broker = get_broker()
        worker = _start_worker(broker, options)
    except Exception:
        log.critical(
            "worker_not_whole", exc_info=True, meaning="it could not start all of its parts, and takes no work"
        )
        buffer().drain(AT_EXIT)
        os._exit(NOT_WHOLE)  # threads that did start would keep the process
    ready.value = True
    log.info("worker_ready", ms=round((time.monotonic() - forked) * 1000))
    # Blocked since before the fork, in all threads: it waits here until somebody asks for it.
    signal.sigwait({signal.SIGTERM})
    worker.stop(timeout=int(DRAIN * 1000))
    broker.close()
    buffer().drain(AT_EXIT)  # what is forked ends without the functions of `atexit`


def _start_worker(broker: Broker, options: Options) -> Worker:
    """Raises `RuntimeError` where a thread does not start. Dramatiq logs what its middleware raises, and goes on without."""
    broker.emit_after("process_boot")
    worker = Worker(broker, queues=set(options.queues), worker_threads=options.threads)
    worker.queue_prefetch = PREFETCH
    worker.start()
    loop = get_event_loop_thread()
    if loop is None or not loop.is_alive():
        raise RuntimeError("the event loop did not start")
    started = {thread.name for thread in threading.enumerate()}
    if "watchdog" not in started:
        raise RuntimeError("the watchdog did not start")
    if not importlib.import_module("actors.worker").is_open():
        raise RuntimeError("the engine did not open")
    return worker


def _options(words: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m actors", description="Run the workers: their parent, and its processes."
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--queues", nargs="*", choices=QUEUES, default=BY_DEFAULT)
    given = parser.parse_args(words)
    if given.processes < 1 or given.threads < 1:
        parser.error("--processes and --threads are at least 1")
    queues = frozenset(given.queues)
    return Options(given.processes, given.threads, queues | {EXPRESS} if RETRIEVE in queues else queues)


def prepare() -> None:
    """Import what every worker needs, so that none has to."""
    for module in BEFOREHAND:
        importlib.import_module(module)
    platforms()
    heap.freeze()


def main(words: Sequence[str] | None = None) -> int:
    options = _options(sys.argv[1:] if words is None else words)
    try:
        settings = load(*SECRETS, *(("vault_keys",) if options.queues & OPENING else ()))
        refuse_unsafe(settings)
    except BadSettings as error:
        say(str(error))
        return BAD_USAGE
    connections = settings.database_pool_size + settings.database_max_overflow
    if connections < options.threads:
        say(
            f"BEAT_DATABASE_POOL_SIZE and BEAT_DATABASE_MAX_OVERFLOW allow {connections} connections, and --threads {options.threads} would "
            f"wait for each other's: allow at least {options.threads}, or run fewer threads in more processes"
        )
        return BAD_USAGE
    if ASSETS in options.queues and settings.asset_bucket is None:
        say(
            "BEAT_ASSET_BUCKET is not set, and workers of the queue `assets` upload into it: name a bucket, or leave out the queue"
        )
        return BAD_USAGE
    configure(settings, service="workers")
    if options.queues == {ASSETS}:
        os.nice(YIELDS)
    prepare()
    # The log's writer is no harm: a child makes its buffer anew.
    others = {thread.name for thread in threading.enumerate()} - {threading.main_thread().name, WRITER}
    assert not others, f"a fork takes one thread along, and the locks of all: {others}"
    return Parent(options).run()
