"""The worker process: its event loop, its engine, and the actors that it runs. Only such a process imports it."""

import asyncio
import time

import dramatiq
import uvloop
from dramatiq import Broker, Middleware, Worker

from actors.broker import build_broker
from actors.mailbox import ASSETS, BY_DEFAULT, INGEST, Mailbox
from actors.parent import DRAIN
from actors.runner import Runner
from actors.watchdog import Watchdog
from beat_actors import heap
from beat_actors.assets.uploads import PROCESS as UPLOADS_PROCESS
from beat_actors.assets.uploads import Uploads
from beat_actors.database.reporting import Reporter
from beat_actors.engine import Engine
from beat_actors.logger import get_logger
from beat_actors.logs import configure
from beat_actors.running_code import own
from beat_actors.scores.adding import Adding
from beat_actors.settings import load

log = get_logger(__name__)

CLOSES = 3.0
"""Seconds after `DRAIN` in which a process closes what it has open. PostgreSQL may hang, and with it whatever waits for it."""

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # before Dramatiq makes its loop
settings = load("message_keys")
configure(settings, service="worker")
broker = build_broker(settings)
dramatiq.set_broker(broker)
mailbox = Mailbox(settings, broker)

_engine: Engine | None = None
_runner: Runner | None = None
_reporter: Reporter | None = None
_uploads: Uploads | None = None
_parses = False
_takes_assets, _takes_others = False, True


def engine() -> Engine:
    """This process's engine. Call it on the event loop, which all actors share."""
    global _engine, _runner, _reporter
    if _engine is None:
        # What only uploads is no worker of fetches, and is looked for by another name.
        name = UPLOADS_PROCESS if _takes_assets and not _takes_others else "worker"
        _engine = Engine.start(settings, name=name)
        _runner = Runner(_engine, mailbox, parses=_parses)
        _reporter = Reporter(
            _engine.database, name=name, own_trouble=_engine.own_trouble, code=own(), also=Adding()
        ).start()
    return _engine


def runner() -> Runner:
    """This process's runner, which has its calls out. Call it on the event loop."""
    engine()
    assert _runner is not None
    return _runner


def uploads() -> Uploads:
    """This process's uploads of assets. Call it on the event loop of a process that takes the queue `assets`."""
    assert _uploads is not None
    return _uploads


def is_open() -> bool:
    """Whether this process has its engine."""
    return _engine is not None


async def _open() -> None:
    global _uploads
    runner().on_room = broker.wake_ups.wake
    if _takes_assets:
        _uploads = Uploads.start(engine())


async def _close(seconds: float) -> None:
    await asyncio.gather(*(one.close(seconds) for one in (_runner, _uploads) if one is not None))
    if _reporter is not None:
        await _reporter.close()
    if _engine is not None:
        await _engine.close()


def _is_paused(queue_name: str) -> bool:
    """Whether this process takes nothing from a queue for now."""
    return _runner is not None and not _runner.takes(queue_name)


broker.is_paused = _is_paused


class OwnEngine(Middleware):
    """Opens the engine on the loop that the actors share. When they have ended, waits there for the calls in flight, and gives the
    engine's connections back."""

    def __init__(self) -> None:
        self._stops_at = 0.0

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        global _parses, _takes_assets, _takes_others
        del broker
        # Where others are to parse what providers answer, this process holds keys that open credentials.
        queues = worker.consumer_whitelist or BY_DEFAULT
        _parses, _takes_assets, _takes_others = INGEST in queues, ASSETS in queues, set(queues) != {ASSETS}

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        del broker, worker
        loop_thread = dramatiq.asyncio.get_event_loop_thread()
        if loop_thread is not None:
            loop_thread.run_coroutine(_open())

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        del broker, worker
        self._stops_at = time.monotonic() + DRAIN

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        del broker, worker
        loop_thread = dramatiq.asyncio.get_event_loop_thread()
        if loop_thread is None:
            return
        left = self._stops_at - time.monotonic()
        closing = asyncio.run_coroutine_threadsafe(_close(max(left, 0.0)), loop_thread.loop)
        try:
            closing.result(max(left + CLOSES, 1.0))
        except TimeoutError:
            meaning = "something does not answer, probably PostgreSQL; the work of this process is requeued when its leases expire"
            log.warning("not_closed_in_time", meaning=meaning)


class CollectLess(Middleware):
    """Collects less garbage, from the process's start on."""

    def after_process_boot(self, broker: Broker) -> None:
        del broker
        heap.collect_less()


broker.add_middleware(OwnEngine())
broker.add_middleware(CollectLess())
broker.add_middleware(Watchdog())
