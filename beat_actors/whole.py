"""Whether a process has what it works with, found out at its start: one that cannot have its threads ends, and takes no part half started."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from beat_actors.errors import BadSettings
from beat_actors.logger import get_logger
from beat_actors.logs import say

log = get_logger(__name__)

THREADS = 16
"""Of an event loop's executor: look-ups of names and calls to Redis."""
NOT_WHOLE, BAD_SETTINGS = 1, 2
"""Exit codes."""


class NotWhole(RuntimeError):
    """A part of the process could not be started."""


def start_threads(name: str, count: int = THREADS) -> None:
    """Give the running event loop an executor of so many threads, all of which run. Raises `NotWhole` where one is not to be had.

    An executor starts its threads when they are first needed; one that is not to be had then fails a piece of work, again and again.
    """
    executor = ThreadPoolExecutor(count, thread_name_prefix=name)
    gate = threading.Event()
    try:
        for _ in range(count):
            executor.submit(gate.wait)  # those that run are taken, so each needs another
    except (RuntimeError, MemoryError, OSError) as error:
        executor.shutdown(wait=False, cancel_futures=True)
        raise NotWhole(f"it needs {count} threads and cannot have them: {error}") from error
    finally:
        gate.set()
    asyncio.get_running_loop().set_default_executor(executor)


def stop_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set, in place of ending the process. Call it inside the running event loop."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return stopped


def run(serve: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """A process from its start to its end; the exit code."""
    try:
        asyncio.run(serve())
    except BadSettings as error:
        say(str(error))
        return BAD_SETTINGS
    except NotWhole as error:
        log.critical("process_not_whole", error=str(error), meaning="it does no work and exits")
        return NOT_WHOLE
    return 0
