"""`python -m actors.publish`: the actor that publishes events to the sinks, in a process of its own.

Sinks are servers of others, and what they do to this process delays no stage. It takes no messages: its mailbox is the log of events. Any number may run.
"""

if __name__ == "__main__":  # before the imports that take time
    from beat_actors.stopping import stop_at_once

    stop_at_once()

import asyncio
import sys

from beat_actors import heap
from beat_actors.database import Database
from beat_actors.database.durability import refuse_unsafe
from beat_actors.database.reporting import Reporter
from beat_actors.events.publisher import Publisher
from beat_actors.events.status import PROCESS
from beat_actors.logger import get_logger
from beat_actors.logs import configure
from beat_actors.running_code import own
from beat_actors.settings import Settings, load
from beat_actors.whole import run, start_threads, stop_signals

log = get_logger(__name__)


async def serve() -> None:
    """Publish until SIGTERM or SIGINT."""
    settings = load()
    configure(settings, service=PROCESS)
    start_threads(PROCESS)
    heap.collect_less()
    heap.freeze()
    await asyncio.to_thread(refuse_unsafe, settings)
    await publish_until(stop_signals(), settings)


async def publish_until(stopped: asyncio.Event, settings: Settings) -> None:
    """Publish, and report as a process, until `stopped`."""
    database = Database(settings, name=PROCESS)
    reporter = Reporter(database, name=PROCESS, code=own()._replace(platforms=None)).start()
    log.info("publisher_started", sinks=sorted(settings.event_sinks))
    try:
        await Publisher(database).run(stopped)
    finally:
        await reporter.close()
        await database.close()


if __name__ == "__main__":
    sys.exit(run(serve))
