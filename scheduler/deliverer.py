"""`python -m scheduler.deliverer`: the process that delivers webhooks and notifications, and nothing else.

Endpoints and sinks are servers of other people. What they do to this process delays neither a sweep nor a call of the API. Any number may run.
"""

if __name__ == "__main__":  # before the imports that take time
    from beat_actors.stopping import stop_at_once

    stop_at_once()

import asyncio
import os
import sys

from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.database.durability import refuse_unsafe
from beat_actors.database.reporting import Reporter
from beat_actors.logger import get_logger
from beat_actors.logs import configure
from beat_actors.notify.notifier import Notifier
from beat_actors.notify.seeding import check
from beat_actors.running_code import own
from beat_actors.settings import Settings, load
from beat_actors.webhooks.deliverer import PLACES, Deliverer
from beat_actors.webhooks.deliveries import PROCESS
from beat_actors.whole import run, start_threads, stop_signals

log = get_logger(__name__)

# A name whose servers do not answer is given up within an attempt's 15 s, so that no look-up outlives its call.
RESOLVER = "timeout:2 attempts:2"


async def serve() -> None:
    """Deliver until SIGTERM or SIGINT; the calls in flight then are waited for and settled."""
    settings = load("vault_keys")
    configure(settings, service="deliverer")
    check(settings)
    os.environ.setdefault("RES_OPTIONS", RESOLVER)
    await asyncio.to_thread(refuse_unsafe, settings)
    await deliver_until(stop_signals(), settings)


async def deliver_until(stopped: asyncio.Event, settings: Settings) -> None:
    """Deliver and notify, and report as a process, until `stopped`."""
    # The system's look-up of a name holds a thread. With one for each call that may be in flight, names that hang delay no other name.
    start_threads("names", PLACES)
    database = Database(settings, name=PROCESS)
    reporter = Reporter(database, name=PROCESS, code=own()._replace(platforms=None)).start()
    deliverer, notifier = Deliverer(database, Vault(settings)), Notifier(database, Vault(settings))
    log.info("deliverer_started")
    try:
        await asyncio.gather(deliverer.run(stopped), notifier.run(stopped))
    finally:
        await deliverer.close()
        await notifier.close()
        await reporter.close()
        await database.close()


if __name__ == "__main__":
    sys.exit(run(serve))
