"""`python -m api`: serve the API with granian, with bounds on connections and on the time that callers take.

HTTP/1 only: with its protocol fixed, the server times a connection from its first moment on, and closes one that sends nothing.
Where it looks for HTTP/2 first, a silent connection is kept for ever. HTTP/2 is the proxy's.
"""

if __name__ == "__main__":  # before the imports that take time
    from beat_actors.stopping import stop_at_once

    stop_at_once()

import argparse
import logging
import resource
import sys
from collections.abc import Sequence
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.errors import FatalError
from granian.http import HTTP1Settings
from granian.server import Server
from granian.server.common import AbstractServer

from beat_actors.database.durability import refuse_unsafe
from beat_actors.errors import BadSettings
from beat_actors.logs import configure, say
from beat_actors.settings import Settings, load

MAX_CONNECTIONS = 4096
"""The most open connections of one process. Further ones wait in the backlog."""
BACKLOG = 2048
RESERVED_FILES = 512
"""File descriptors that a process needs beside these: for its pool, Redis, and the listener of its health."""
IDLE_MS = 10_000
"""The time in which the head of a call must arrive after the connection was opened, or after the answer before."""
HEAD_BYTES = 32 << 10
"""The most bytes of a call's first line and headers together."""
STOP_SECONDS = 5
LOGGING: dict[str, Any] = {
    "handlers": {"log": {"()": "beat_actors.logs.handler"}},
    "loggers": {"_granian": {"handlers": ["log"], "propagate": False}},
}
"""The lines of granian go where all others go. Its own handler would wait for a slow reader of its standard output."""


def main(words: Sequence[str] | None = None) -> int:
    """Exit code: 1 where the server cannot start, 2 for bad settings."""
    parser = argparse.ArgumentParser(prog="python -m api", description="Serve the API.")
    parser.add_argument("--workers", type=int, default=1, help="processes (1)")
    given = parser.parse_args(words)
    if given.workers < 1:
        parser.error("--workers is at least 1")
    try:
        settings = load("message_keys")
        refuse_unsafe(settings)
    except BadSettings as error:
        say(str(error))
        return 2
    configure(settings, service="api")
    try:
        server(settings, given.workers, connections()).serve()
    except FatalError:
        return 1
    return 0


def server(settings: Settings, workers: int, most: int) -> AbstractServer[Any]:
    """`most`: connections of each process."""
    return Server(
        "api.app:app",
        address=settings.api_host,
        port=settings.api_port,
        interface=Interfaces.ASGI,
        workers=workers,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=most,
        http1_settings=HTTP1Settings(header_read_timeout=IDLE_MS, max_buffer_size=HEAD_BYTES),
        workers_kill_timeout=STOP_SECONDS,
        log_dictconfig=LOGGING,
    )


def connections() -> int:
    """How many connections a process may hold, after its limit of open files was raised as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MAX_CONNECTIONS
    most = max(1, soft - min(RESERVED_FILES, soft // 2))
    logging.getLogger(__name__).warning("%s open files are allowed: each process takes %s connections", soft, most)
    return most


if __name__ == "__main__":
    sys.exit(main())
