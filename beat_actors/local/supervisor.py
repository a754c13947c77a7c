"""The supervisor: starts services in the order of their dependencies, restarts what crashes, stops in the opposite order.

One thread owns every child and is a state machine over them; the methods only say what is wanted and wait. So a terminal view can draw, and
a signal handler can ask for an end, while it works.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from beat_actors.local.errors import Interrupted, LocalError
from beat_actors.local.guard import Guard
from beat_actors.local.service import Service, State, Status, check_dependencies, describe_exit

TICK = 0.05
BACKOFF_FIRST = 0.25
BACKOFF_RESET = 60.0
"""Seconds that a service must have been up for its next crash to count as its first."""
LOGS_KEPT = 5
LOG_TAIL = 15


@dataclass(slots=True)
class _Child:
    service: Service
    log: Path
    state: State = "pending"
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = True
    held: bool = False
    was_up: bool = False
    restarts: int = 0
    backoff: float = BACKOFF_FIRST
    due: float = 0.0
    """When the current state ends by itself: not ready in time, backoff over, time to stop over."""
    since: float = 0.0
    up_since: datetime | None = None
    last_exit: str | None = None
    failure: str | None = None


class Supervisor:
    """Runs services until `stop`. Not reusable afterwards."""

    def __init__(self, logs: Path, *, inherit: tuple[int, ...] = ()) -> None:
        """`logs`: the folder for `<name>.log`. `inherit`: descriptors that stay open until every child is gone."""
        self._logs = logs
        self._logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._children: dict[str, _Child] = {}
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self.stop_requested = threading.Event()
        self._guard = Guard(inherit=inherit)
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def start(self, *services: Service) -> None:
        """Start services and wait until all are ready.

        Raises `LocalError` with the end of the log when one ends or stays silent before it was ever ready, and `Interrupted` when a
        stop is requested meanwhile. What did start keeps running until `stop`.
        """
        with self._changed:
            known = [child.service for child in self._children.values()]
            check_dependencies([*known, *services])
            for service in services:
                if service.name in self._children:
                    raise LocalError(f"There is a service called {service.name!r} already")
                log = self._logs / f"{service.name}.log"
                _rotate(log)
                self._children[service.name] = _Child(service, log)
            mine = [self._children[service.name] for service in services]
            while not all(child.was_up for child in mine):
                failed = next((child for child in mine if child.failure and not child.was_up), None)
                if failed:
                    raise LocalError(f"{failed.service.name} {failed.failure}.{_tail(failed.log)}")
                if self.stop_requested.is_set():
                    raise Interrupted("Stopped before everything was up")
                if not self._thread.is_alive():
                    raise LocalError("The supervisor ended by itself")
                self._changed.wait(0.2)

    def status(self) -> tuple[Status, ...]:
        """All services, in the order in which they were given."""
        with self._changed:
            return tuple(
                Status(
                    name=name,
                    state=child.state,
                    pid=child.process.pid if child.process else None,
                    restarts=child.restarts,
                    up_since=child.up_since,
                    last_exit=child.last_exit,
                    log=child.log,
                )
                for name, child in self._children.items()
            )

    def hold(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """An outage on demand: send a service this signal, and leave it down until `release`. Returns when it is down."""
        with self._changed:
            child = self._children[name]
            child.held = True
            if child.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.process.pid, number)
            while child.process is not None and self._thread.is_alive():
                self._changed.wait(0.2)

    def release(self, name: str) -> None:
        """End an outage: start the service at once. Returns when it is up."""
        with self._changed:
            child = self._children[name]
            child.held, child.due, child.backoff = False, 0.0, BACKOFF_FIRST
            while child.state != "up" and child.wanted and self._thread.is_alive():
                self._changed.wait(0.2)

    def stop(self) -> None:
        """End everything, dependents first, each with its own signal and time to stop. Safe to call twice."""
        self.stop_requested.set()
        with self._changed:
            for child in self._children.values():
                child.wanted = False
            while any(child.state != "stopped" for child in self._children.values()) and self._thread.is_alive():
                self._changed.wait(0.2)
        if not self._closed.is_set():
            self._closed.set()
            self._thread.join()
            self._guard.close()

    def kill(self) -> None:
        """End everything at once. `stop` is still to be called, and returns quickly."""
        with self._changed:
            for child in self._children.values():
                child.wanted = False
                _kill_group(child)

    @contextlib.contextmanager
    def signals(self, on_first: Callable[[], None] | None = None) -> Iterator[threading.Event]:
        """While inside, SIGINT and SIGTERM set the event that is yielded, and a second one kills everything. Main thread only."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            if self.stop_requested.is_set():
                self.kill()
                return
            self.stop_requested.set()
            if on_first:
                on_first()

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self.stop_requested
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _run(self) -> None:
        while not self._closed.wait(TICK):
            with self._changed:
                self._guard.restart_if_dead()
                before = [child.state for child in self._children.values()]
                for child in self._children.values():
                    self._advance(child, time.monotonic())
                if before != [child.state for child in self._children.values()]:
                    self._changed.notify_all()

    def _advance(self, child: _Child, now: float) -> None:
        if child.process is not None and child.process.poll() is not None:
            self._ended(child, now)
        if not child.wanted:
            self._advance_stop(child, now)
        elif child.state == "pending":
            if all(self._children[name].state == "up" for name in child.service.depends_on):
                self._spawn(child, now)
        elif child.state == "starting":
            if _is_ready(child):
                child.state, child.was_up, child.since, child.up_since = "up", True, now, datetime.now(UTC)
            elif now > child.due:
                child.failure = f"was not ready after {child.service.ready_timeout:g} s"
                _kill_group(child)
        elif child.state == "waiting" and now >= child.due and child.was_up and not child.held:
            child.restarts += 1
            self._spawn(child, now)

    def _advance_stop(self, child: _Child, now: float) -> None:
        if child.process is None:
            child.state = "stopped"
        elif child.state == "stopping":
            if now > child.due:
                _kill_group(child)
        elif all(
            other.state == "stopped"
            for other in self._children.values()
            if child.service.name in other.service.depends_on
        ):
            child.state, child.due = "stopping", now + child.service.stop_timeout
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.process.pid, child.service.stop_signal)

    def _spawn(self, child: _Child, now: float) -> None:
        service = child.service
        # A process group of its own: a Ctrl-C in the terminal must reach the supervisor only, which then stops in order.
        try:
            with child.log.open("ab") as log:
                child.process = subprocess.Popen(  # noqa: S603
                    service.argv,
                    env={**os.environ, "PYTHONUNBUFFERED": "1", **service.env},
                    cwd=service.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                    user=service.account.uid if service.account else None,
                    group=service.account.gid if service.account else None,
                    extra_groups=[] if service.account else None,
                )
        except OSError as error:
            child.last_exit = f"{service.argv[0]}: {error.strerror}"
            child.failure = f"could not be started: {child.last_exit}"
            self._wait_before_restart(child, now)
            return
        self._guard.watch(child.process.pid, service.stop_signal, self._depth(service))
        child.state, child.due = "starting", now + service.ready_timeout

    def _depth(self, service: Service) -> int:
        return max((1 + self._depth(self._children[name].service) for name in service.depends_on), default=0)

    def _ended(self, child: _Child, now: float) -> None:
        assert child.process is not None
        child.last_exit = describe_exit(child.process.returncode)
        child.failure = child.failure or f"ended before it was ready ({child.last_exit})"
        # Without their leader, what is left of the group would run on unseen.
        _kill_group(child)
        self._guard.forget(child.process.pid)
        child.process = None
        if child.state == "up" and now - child.since >= BACKOFF_RESET:
            child.backoff = BACKOFF_FIRST
        self._wait_before_restart(child, now)

    def _wait_before_restart(self, child: _Child, now: float) -> None:
        child.state, child.up_since, child.due = "waiting", None, now + child.backoff
        child.backoff = min(child.backoff * 2, child.service.backoff_most)


def _is_ready(child: _Child) -> bool:
    try:
        return child.service.ready is None or child.service.ready()
    except LocalError as error:
        child.failure = f"cannot be used: {error}"
        _kill_group(child)
        return False


def _kill_group(child: _Child) -> None:
    if child.process is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)


def _rotate(log: Path) -> None:
    """`x.log` becomes `x.log.1`, and so on; the oldest goes. The new one is private before anything is written."""
    for number in range(LOGS_KEPT - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))
    log.touch(mode=0o600)


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LOG_TAIL:]
    return "".join(["\n", f"The end of {log}:", *(f"\n  {line}" for line in lines)]) if lines else ""
