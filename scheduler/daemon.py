"""The daemon: which sweep runs how often, each with its own deadline, and what is sent after it."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from actors.mailbox import Mailbox
from beat_actors.credentials import upkeep
from beat_actors.database import Database
from beat_actors.errors import StorageUnavailable
from beat_actors.logs import configure
from beat_actors.requests import sweeps
from beat_actors.requests.sweeps import Swept
from beat_actors.settings import load

log = structlog.get_logger(__name__)

Sweep = Callable[[Database], Awaitable[Swept]]


@dataclass(frozen=True, slots=True)
class Job:
    """`every` and `deadline` in seconds. The deadline is what keeps one hung sweep from stopping its own later runs."""

    name: str
    sweep: Sweep
    every: float
    deadline: float


# `due` decides how soon a waiting lane moves on, so it is the frequent one; it is one cheap query.
JOBS = (
    Job("due", sweeps.due, every=0.25, deadline=5),
    Job("waiting", sweeps.waiting, every=2, deadline=5),
    Job("unsent", partial(sweeps.unsent, grace=5.0), every=2, deadline=10),
    Job("orphaned", sweeps.orphaned, every=2, deadline=10),
    Job("expired", sweeps.expired, every=2, deadline=10),
    Job("stuck_probes", sweeps.stuck_probes, every=10, deadline=10),
    Job("credentials", upkeep.due, every=5, deadline=10),
    Job("credential_alerts", upkeep.alerts, every=60, deadline=10),
    Job("partitions", sweeps.partitions, every=3600, deadline=60),
)


class Sweeper:
    """Runs one job at a time of its name; whatever it raises is logged, and the next run starts from the rows again."""

    def __init__(self, database: Database, mailbox: Mailbox) -> None:
        self._database = database
        self._mailbox = mailbox

    async def run(self, job: Job) -> None:
        try:
            async with asyncio.timeout(job.deadline):
                swept = await job.sweep(self._database)
                for stage, ids in swept.send.items():
                    await self._mailbox.send(stage, ids)
                for platform in swept.ring:
                    await self._mailbox.ring(platform)
        except TimeoutError:
            log.error("sweep_late", sweep=job.name, deadline=job.deadline)
        except StorageUnavailable as error:
            log.warning("sweep_skipped", sweep=job.name, error=str(error))
        except Exception:
            log.exception("sweep_failed", sweep=job.name)
        else:
            if swept.count and job.name not in ("due", "waiting"):
                log.info("swept", sweep=job.name, count=swept.count)


async def serve() -> None:
    """Sweep until SIGTERM or SIGINT."""
    settings = load()
    configure(settings, service="scheduler")
    database, mailbox = Database(settings, name="scheduler"), Mailbox(settings)
    sweeper = Sweeper(database, mailbox)
    # The memory job store cannot fail; `misfire_grace_time=None` means that a busy moment delays a run and never drops it.
    clock = AsyncIOScheduler(job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1})
    for job in JOBS:
        clock.add_job(sweeper.run, "interval", args=[job], seconds=job.every, id=job.name)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    clock.start()
    log.info("scheduler_started", jobs=len(JOBS))
    try:
        await stopped.wait()
    finally:
        clock.shutdown(wait=False)
        mailbox.close()
        await database.close()


def main() -> None:
    asyncio.run(serve())
