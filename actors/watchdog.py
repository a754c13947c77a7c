"""A worker process looks after itself: one that cannot do its work any more ends, rather than to hold messages and do nothing.

The supervisor of the workers starts others. What it held comes back: messages within seconds, leases when they run out.
"""

import asyncio
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import TimeoutError as Late
from typing import NamedTuple

from dramatiq import Broker, Middleware, Worker
from dramatiq.asyncio import get_event_loop_thread

from beat_actors.logger import get_logger
from beat_actors.logs import AT_EXIT, buffer

log = get_logger(__name__)

EVERY = 2.0
STRIKES = 3
"""Looks in a row at which something is wrong, until the process ends."""
LAG = 10.0
"""Seconds in which the event loop, that all actors share, has to get to something new."""
UNHEALTHY = 70
"""The exit code."""
FRAMES = 12
"""The innermost calls of a thread that are told."""


class Ailment(NamedTuple):
    """What is wrong, and the calls in which the event loop is, where it does not answer."""

    wrong: str
    at: list[str]


class Watchdog(Middleware):
    def __init__(self, end: Callable[[int], object] = os._exit) -> None:
        self._end = end
        self._stopping = threading.Event()
        self._master = os.getppid()

    def after_process_boot(self, broker: Broker) -> None:
        del broker
        self._master = os.getppid()

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        del broker
        self._stopping.clear()
        threading.Thread(target=self._watch, args=(worker,), name="watchdog", daemon=True).start()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        del broker, worker
        self._stopping.set()

    def _watch(self, worker: Worker) -> None:
        strikes = 0
        while not self._stopping.wait(EVERY):
            if os.getppid() != self._master:
                # Nobody would ever stop it, and it would go on with the code of yesterday.
                log.warning("master_gone", meaning="this worker finishes its work and exits")
                os.kill(os.getpid(), signal.SIGTERM)
                return
            found = ailment(worker)
            strikes = strikes + 1 if found else 0
            if found and not self._stopping.is_set():
                log.error("unhealthy", wrong=found.wrong, at=found.at, strike=strikes, of=STRIKES)
                if strikes >= STRIKES:
                    buffer().drain(AT_EXIT)
                    self._end(UNHEALTHY)
                    return


def ailment(worker: Worker) -> Ailment | None:
    """What keeps this worker from its work, if anything."""
    dead = [name for name, consumer in worker.consumers.items() if not consumer.is_alive()]
    if dead:
        return Ailment(f"no consumer reads {', '.join(sorted(dead))} any more", [])
    wake_ups = getattr(worker.broker, "wake_ups", None)
    if wake_ups is not None and not wake_ups.is_well():
        return Ailment("nothing listens for wake-ups any more", [])
    missing = sum(not thread.is_alive() for thread in worker.workers)
    if missing:
        return Ailment(f"{missing} of {len(worker.workers)} worker threads have ended", [])
    loop = get_event_loop_thread()
    if loop is not None and loop.is_alive():
        asked = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop.loop)
        try:
            asked.result(LAG)
        except Late:
            asked.cancel()
            return Ailment(f"the event loop has not answered for {LAG:g} s", _calls(loop))
    elif loop is not None:
        return Ailment("the event loop has ended", [])
    return None


def _calls(thread: threading.Thread) -> list[str]:
    """Where a thread is, the innermost call last."""
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None:
        return []
    return [f"{one.filename}:{one.lineno} {one.name}" for one in traceback.extract_stack(frame)[-FRAMES:]]
