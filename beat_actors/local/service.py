"""What a service is: how to start it, when it is ready, how to stop it. And what can be said about one that runs."""

import http.client
import re
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Literal

from beat_actors.local.account import Account
from beat_actors.local.errors import LocalError

State = Literal["pending", "starting", "up", "waiting", "stopping", "stopped"]


@dataclass(frozen=True, slots=True)
class Service:
    """One long-running process and its descendants, which form one process group."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables on top of the supervisor's own."""
    ready: Callable[[], bool] | None = None
    """Whether it answers; must return within about a second. Without it, a started process is a ready one."""
    ready_timeout: float = 180.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout: float = 10.0
    """Seconds between the stop signal and SIGKILL."""
    depends_on: tuple[str, ...] = ()
    """Started after these are ready, and stopped before them."""
    backoff_most: float = 30.0
    """Seconds before a restart, at most; each crash soon after a start doubles them."""
    cwd: Path | None = None
    account: Account | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_-]+", self.name):
            raise LocalError(f"A service cannot be called {self.name!r}: it names a log file")


@dataclass(frozen=True, slots=True)
class Status:
    """A service as it is now."""

    name: str
    state: State
    pid: int | None
    restarts: int
    """Times that it was started again after an unexpected end."""
    up_since: datetime | None
    last_exit: str | None
    """How it ended the last time: `exit 1` or `SIGKILL`."""
    log: Path


def check_dependencies(services: Iterable[Service]) -> None:
    """Raise `LocalError` when a dependency does not exist or goes in a circle."""
    graph = {service.name: set(service.depends_on) for service in services}
    unknown = {name for needed in graph.values() for name in needed} - graph.keys()
    if unknown:
        raise LocalError(f"No such service: {', '.join(sorted(unknown))}")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise LocalError(f"The services wait for one another: {' -> '.join(error.args[1])}") from None


def describe_exit(returncode: int) -> str:
    """`exit 1`, or the name of the signal that ended the process."""
    if returncode >= 0:
        return f"exit {returncode}"
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def answers_http(port: int, path: str = "/", *, method: str = "GET", below: int = 600) -> bool:
    """Whether something on the loopback answers with a status below `below`, within a second."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request(method, path)
        return connection.getresponse().status < below
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
