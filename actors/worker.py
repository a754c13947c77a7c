"""The worker process: its event loop, its engine, and the actors that it runs. Only such a process imports it."""

import asyncio
import gc

import dramatiq
import uvloop
from dramatiq import Broker, Middleware, Worker

from actors.broker import build_broker
from actors.mailbox import Mailbox
from actors.watchdog import Watchdog
from beat_actors.database.vitals import Reporter
from beat_actors.engine import Engine
from beat_actors.logs import configure
from beat_actors.settings import load

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # before Dramatiq makes its loop
settings = load()
configure(settings, service="worker")
broker = build_broker(settings)
dramatiq.set_broker(broker)
mailbox = Mailbox(settings, broker)

_engine: Engine | None = None
_reporter: Reporter | None = None


def engine() -> Engine:
    """This process's engine. Call it on the event loop, which all actors share."""
    global _engine, _reporter
    if _engine is None:
        _engine = Engine.start(settings, name="worker")
        _reporter = Reporter(_engine.database, name="worker").start()
    return _engine


async def _open() -> None:
    engine()


async def _close() -> None:
    if _reporter is not None:
        await _reporter.close()
    if _engine is not None:
        await _engine.close()


class OwnEngine(Middleware):
    """Opens the engine on the loop that the actors share, and gives its connections back there when they have ended."""

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        del broker, worker
        loop_thread = dramatiq.asyncio.get_event_loop_thread()
        if loop_thread is not None:
            loop_thread.run_coroutine(_open())

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        del broker, worker
        loop_thread = dramatiq.asyncio.get_event_loop_thread()
        if loop_thread is not None:
            loop_thread.run_coroutine(_close())


class CollectLess(Middleware):
    """A batch makes a hundred thousand objects that die with it; looking for cycles among them ten times over is a tenth of the work."""

    def after_process_boot(self, broker: Broker) -> None:
        del broker
        gc.collect()
        gc.freeze()  # what was imported lives as long as the process
        gc.set_threshold(100_000, 20, 20)


broker.add_middleware(OwnEngine())
broker.add_middleware(CollectLess())
broker.add_middleware(Watchdog())
