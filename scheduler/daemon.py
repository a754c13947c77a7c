"""The daemon: which sweep runs how often, each with its own deadline, and what is sent after it.

Any number of daemons may run. One leads and sweeps; the others wait for its place.
"""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from actors.mailbox import ASSETS, Mailbox
from beat_actors.assets import claims, preparing, refetch
from beat_actors.assets.upkeep import backlog
from beat_actors.assets.upkeep.deleting import Deleter
from beat_actors.broker.own_flows import UPLOADS
from beat_actors.credentials import upkeep
from beat_actors.database import Database, Statements, jsonb
from beat_actors.database.clock import TOLD_FOR
from beat_actors.database.durability import refuse_unsafe
from beat_actors.database.reporting import Reporter
from beat_actors.errors import LimitsUnavailable, ObjectsUnavailable, StorageUnavailable
from beat_actors.events import retention as events
from beat_actors.failpoints import hit
from beat_actors.leadership import Leadership
from beat_actors.logger import get_logger
from beat_actors.logins import without_logins
from beat_actors.logs import configure
from beat_actors.notify import queue as notifications
from beat_actors.observe import state, tally
from beat_actors.observe.families import RESENT, SWEPT
from beat_actors.observe.listen import listening
from beat_actors.payloads.archive import Archiver
from beat_actors.pipeline.deciding import settle_incidents
from beat_actors.privacy import running as erasures
from beat_actors.privacy.retention import Entities
from beat_actors.quotas import foreseen, reached
from beat_actors.requests import absences, batches, replay, retention, sweeps, witnesses
from beat_actors.requests.steps import StepsBack
from beat_actors.requests.swept import Swept
from beat_actors.restoring import checking, keeping
from beat_actors.restoring import jobs as restores
from beat_actors.restoring import worker as restoring
from beat_actors.running_code import own
from beat_actors.scores import adding as scores
from beat_actors.settings import Settings, load
from beat_actors.traces.encoding import refuse_without_package
from beat_actors.traces.exporting import Exporter
from beat_actors.watch import WATCHES
from beat_actors.watch import servers as servers_rules
from beat_actors.watch.rule import REPORTS, InOrder, Watch
from beat_actors.webhooks import deliveries
from beat_actors.whole import run, start_threads, stop_signals
from scheduler.evidence import DUE_BY, THRESHOLDS, Evidence

log = get_logger(__name__)

UNSENT_AFTER = 5.0
"""Seconds since a message was sent, or should have been at the head of its queue, after which it is taken for lost."""

LOOKS = 4
"""Looks in a row, five seconds apart, that have to find no worker."""

Sweep = Callable[[Database, Mailbox, int], Awaitable[Swept]]


@dataclass(frozen=True, slots=True)
class Job:
    """`every` and `deadline` in seconds. The deadline is what keeps one hung sweep from stopping its own later runs."""

    name: str
    sweep: Sweep
    every: float
    deadline: float


def _reads(sweep: Callable[[Database], Awaitable[Swept]]) -> Sweep:
    return lambda database, _mailbox, _epoch: sweep(database)


def _writes(sweep: Callable[[Database, int], Awaitable[Swept]]) -> Sweep:
    return lambda database, _mailbox, epoch: sweep(database, epoch)


async def _returned(_database: Database, mailbox: Mailbox, _epoch: int) -> Swept:
    """The messages of workers that died; until then the dead worker holds them."""
    await mailbox.return_messages_of_the_dead()
    return Swept()


async def _requeued(_database: Database, mailbox: Mailbox, _epoch: int) -> Swept:
    """Dead letters that an operator lets be worked on again, at a pace."""
    return Swept(count=await mailbox.requeue_the_dead())


async def _unsent(database: Database, mailbox: Mailbox, epoch: int) -> Swept:
    """Work whose message was lost, and not what waits behind others in its queue."""
    return await sweeps.unsent(database, epoch, grace=UNSENT_AFTER, oldest=await mailbox.oldest())


async def _uploads(database: Database, mailbox: Mailbox, _epoch: int) -> Swept:
    """Wake those that upload if there is work, unless a message waits for them already. Where they upload, this changes nothing."""
    if database.settings.asset_bucket is None or ASSETS in await mailbox.oldest():
        return Swept()
    return Swept(wake={UPLOADS.platform} if await claims.look(database) else set())


async def _forgotten(database: Database, _mailbox: Mailbox, epoch: int) -> Swept:
    """Ended deliveries of webhooks, past their age."""
    return Swept(count=await deliveries.forget(database, epoch))


async def _notifications_forgotten(database: Database, _mailbox: Mailbox, epoch: int) -> Swept:
    """Ended messages to sinks of notifications, past their age."""
    return Swept(count=await notifications.forget(database, epoch))


async def _assets_prepared(database: Database, _mailbox: Mailbox, epoch: int) -> Swept:
    """Assets that processes of the release before wrote."""
    return Swept(count=await preparing.prepare(database, epoch))


async def _restores_forgotten(database: Database, _mailbox: Mailbox, epoch: int) -> Swept:
    """Restores that ended long ago."""
    async with database.statements() as alone:
        return Swept(count=await restores.forget(alone, database.settings.request_days, epoch))


def _unless_stepped(sweep: Sweep) -> Sweep:
    """What forgets goes by the clock. Within an hour after a step forth was found it forgets nothing, so that a clock that is wrong can be set
    right before."""

    async def run(database: Database, mailbox: Mailbox, epoch: int) -> Swept:
        return Swept() if database.clock.stepped_forth(TOLD_FOR) else await sweep(database, mailbox, epoch)

    return run


def _watch(one: Watch | InOrder) -> Sweep:
    async def run(database: Database, _mailbox: Mailbox, epoch: int) -> Swept:
        if one.name in EXPLAINED and WORKERS.in_doubt:
            return Swept()
        return Swept(count=await one.run(database, epoch))

    return run


async def _redis(database: Database, mailbox: Mailbox, epoch: int) -> Swept:
    try:
        info = await asyncio.to_thread(mailbox.server_info)
    except OSError:
        info = None
    return Swept(count=await REPORTS(database, "redis", servers_rules.redis(info), epoch))


@dataclass(slots=True)
class Workers:
    """Whether any worker listens. Several looks in a row have to find none: those that are started anew are away for a moment."""

    _found_none: int = 0

    async def __call__(self, database: Database, mailbox: Mailbox, epoch: int) -> Swept:
        try:
            listening = await asyncio.to_thread(mailbox.listeners)
        except OSError:
            return Swept()  # that Redis is away is an alert of its own
        self._found_none = 0 if listening else self._found_none + 1
        if self.in_doubt:
            return Swept()
        return Swept(count=await REPORTS(database, "workers", servers_rules.workers(listening), epoch))

    @property
    def in_doubt(self) -> bool:
        """Whether the last looks found no worker, and too few of them did to say so."""
        return 0 < self._found_none < LOOKS


WORKERS = Workers()
EXPLAINED = frozenset({"claims"})
"""Rules that wait until it is clear whether a worker runs, because they report nothing then."""


# `due` decides how soon a waiting lane moves on, so it is the frequent one; it is one cheap query.
JOBS = (
    Job("due", _reads(sweeps.due), every=0.5, deadline=5),
    Job("waiting", _reads(sweeps.waiting), every=2, deadline=5),
    Job("unsent", _unsent, every=2, deadline=10),
    Job("uploads", _uploads, every=5, deadline=10),
    Job("refetch", _writes(refetch.Sweep()), every=15, deadline=30),
    Job("steps_back", _writes(StepsBack()), every=1, deadline=30),
    Job("orphaned", _writes(sweeps.orphaned), every=2, deadline=10),
    Job("expired", _writes(sweeps.expired), every=2, deadline=10),
    Job("batches", _writes(batches.Sweep()), every=2, deadline=10),
    Job("overdue", _writes(sweeps.check_and_cancel_long_running_tasks), every=5, deadline=10),
    Job("held", _writes(witnesses.due), every=30, deadline=20),
    Job("incidents", _writes(settle_incidents), every=30, deadline=60),
    Job("replay", _writes(replay.due), every=5, deadline=20),
    Job("unsettled", _writes(sweeps.unsettled), every=60, deadline=10),
    Job("stuck_probes", _writes(sweeps.stuck_probes), every=15, deadline=10),
    Job("credentials", _writes(upkeep.due), every=10, deadline=10),
    Job("returned", _returned, every=5, deadline=10),
    Job("requeued", _requeued, every=1, deadline=10),
    Job("archive", _writes(Archiver().run), every=60, deadline=180),
    Job("partitions", _writes(sweeps.partitions), every=600, deadline=60),
    Job("retention", _unless_stepped(_writes(retention.Retention().forget)), every=60, deadline=30),
    Job("events", _unless_stepped(_writes(events.forget)), every=600, deadline=60),
    Job("entities", _unless_stepped(_writes(Entities().forget)), every=600, deadline=30),
    Job("scores", _unless_stepped(_writes(scores.forget)), every=3600, deadline=10),
    Job("absences", _unless_stepped(_writes(absences.forget)), every=600, deadline=10),
    Job("erasures", _writes(erasures.sweep), every=30, deadline=120),
    Job("webhooks_forgotten", _unless_stepped(_forgotten), every=60, deadline=10),
    Job("restores", _writes(restoring.resume), every=30, deadline=60),
    Job("logs_kept", _unless_stepped(_writes(keeping.sweep)), every=60, deadline=60),
    Job("entities_checked", _writes(checking.sweep), every=180, deadline=60),
    Job("restores_forgotten", _unless_stepped(_restores_forgotten), every=600, deadline=10),
    Job("notifications_forgotten", _unless_stepped(_notifications_forgotten), every=600, deadline=10),
    Job("assets_prepared", _assets_prepared, every=30, deadline=20),
    Job("assets_deleted", _writes(Deleter().run), every=30, deadline=90),
    Job("assets_sampled", _writes(backlog.sample), every=30, deadline=10),
    Job("limits_reached", _writes(reached.sweep), every=60, deadline=20),
    Job("limits_foreseen", _writes(foreseen.sweep), every=300, deadline=20),
    Job("budgets_foreseen", _writes(foreseen.sweep_pools), every=120, deadline=20),
    Job("metrics_tallied", _writes(tally.sweep), every=30, deadline=20),
    Job(Exporter.JOB, _writes(Exporter().sweep), every=5, deadline=60),
    Job("metrics_measured", _writes(state.sweep), every=30, deadline=20),
    Job("watch_redis", _redis, every=15, deadline=60),
    # It asks Redis alone, and writes only when the answer changes.
    Job("watch_workers", WORKERS, every=5, deadline=60),
    # Slow answers are what some of them are about, so they are patient.
    *(Job(f"watch_{one.name}", _watch(one), every=one.every, deadline=60) for one in WATCHES),
)
QUIET = frozenset({"due", "waiting", "metrics_measured", Exporter.JOB})
RECORD_EVERY = 2.0


SQL = Statements(__file__)
RECORD, FORGET = SQL("record", Evidence), SQL("forget")


@dataclass(slots=True)
class Sweeper:
    """Runs one job at a time of its name; whatever it raises is noted, and the next run starts from the rows again. `bring_forward`: called with
    the name of a job that is due within so many seconds, because there is evidence for it."""

    database: Database
    mailbox: Mailbox
    leadership: Leadership
    bring_forward: Callable[[str, float], None] = lambda _name, _seconds: None
    _ran: dict[str, tuple[float, str | None]] = field(default_factory=dict)
    _term: int | None = None
    _evidence: Evidence | None = None
    _running: set[str] = field(default_factory=set)
    _once_more: set[str] = field(default_factory=set)
    """Jobs that became due while they ran: what they had read before may not show why."""

    async def run(self, job: Job) -> None:
        self._running.add(job.name)
        try:
            await self._run(job)
        finally:
            self._running.discard(job.name)
            if job.name in self._once_more:
                self._once_more.discard(job.name)
                self.bring_forward(job.name, 0.2)  # this run ends first

    async def _run(self, job: Job) -> None:
        epoch = self.leadership.epoch
        if epoch is None:
            return
        started, said, counts = time.monotonic(), None, self.database.metrics.counts
        try:
            async with asyncio.timeout(job.deadline):
                swept = await self.database.again(partial(job.sweep, self.database, self.mailbox, epoch))
                if swept.send:
                    hit("sweep.before_send", job.name)
                for queue, ids in swept.send:
                    await self.mailbox.send(queue, ids)
                    if job.sweep is _unsent:
                        counts.add(RESENT, queue, by=len(ids))
                for platform in swept.wake:
                    await self.mailbox.wake(platform)
        except TimeoutError:
            said = f"it did not end within {job.deadline:g} s"
            log.error("sweep_late", sweep=job.name, deadline=job.deadline)
        except (StorageUnavailable, ObjectsUnavailable, LimitsUnavailable, ConnectionError) as error:
            said = without_logins(str(error))
            log.warning("sweep_skipped", sweep=job.name, error=said)
        except Exception as error:
            said = without_logins(f"{type(error).__name__}: {error}")[:500]
            log.exception("sweep_failed", sweep=job.name)
        else:
            if swept.count and job.name not in QUIET:
                log.info("swept", sweep=job.name, count=swept.count)
            if swept.count:
                counts.add(SWEPT, job.name, by=swept.count)
        self._ran[job.name] = ((time.monotonic() - started) * 1000, said)

    async def record(self, jobs: tuple[Job, ...] = JOBS) -> None:
        """Write down when each sweep ended well, for those that ask whether they do, and bring forward the rules for which there is evidence."""
        epoch = self.leadership.epoch
        ran, self._ran = self._ran, {}
        if epoch is None or not ran:
            return
        rows = [
            {
                "name": job.name,
                "every": job.every,
                "deadline": job.deadline,
                "ms": ran[job.name][0],
                "error": ran[job.name][1],
            }
            for job in jobs
            if job.name in ran
        ]
        values = {"sweeps": jsonb(rows), "epoch": epoch, **THRESHOLDS}
        try:
            async with asyncio.timeout(10), self.database.statements() as alone:
                self._look(await alone.only(RECORD, values))
                if self._term != epoch:  # another version of the daemon may have had other sweeps
                    await alone.run(FORGET, {"names": [job.name for job in jobs], "epoch": epoch})
                    self._term = epoch
        except (StorageUnavailable, TimeoutError) as error:
            log.warning("sweeps_not_recorded", error=str(error))

    def _look(self, found: Evidence) -> None:
        before, self._evidence = self._evidence, found
        for name, jobs in DUE_BY.items():
            if before is not None and getattr(before, name) == getattr(found, name):
                continue
            for job, seconds in jobs:
                if job in self._running:
                    self._once_more.add(job)
                else:
                    self.bring_forward(job, seconds)


async def serve() -> None:
    """Sweep until SIGTERM or SIGINT."""
    settings = load("message_keys")
    configure(settings, service="scheduler")
    if settings.otlp_endpoint is not None:
        refuse_without_package()
    start_threads("scheduler")
    await asyncio.to_thread(refuse_unsafe, settings)
    await sweep_until(stop_signals(), settings)


async def sweep_until(stopped: asyncio.Event, settings: Settings, jobs: tuple[Job, ...] = JOBS) -> None:
    """Stand for election, and sweep while leading."""
    if settings.otlp_endpoint is None:
        jobs = tuple(job for job in jobs if job.name != Exporter.JOB)
    database, mailbox = Database(settings, name="scheduler"), Mailbox(settings)
    # The memory job store cannot fail; `misfire_grace_time=None` means that a busy moment delays a run and never drops it.
    clock = AsyncIOScheduler(
        timezone=UTC, job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
    )

    def at_once() -> None:
        for job in clock.get_jobs():
            job.modify(next_run_time=datetime.now(UTC))

    def bring_forward(name: str, seconds: float) -> None:
        job, at = clock.get_job(name), datetime.now(UTC) + timedelta(seconds=seconds)
        if job is not None and job.next_run_time is not None and at < job.next_run_time:
            job.modify(next_run_time=at)

    holder = f"{socket.gethostname()}:{os.getpid()}"
    reporter = Reporter(database, name="scheduler", code=own()).start()
    async with (
        listening(database, settings.metrics_listen),
        Leadership(settings, holder=holder, on_elected=at_once) as leadership,
    ):
        sweeper = Sweeper(database, mailbox, leadership, bring_forward)
        for job in jobs:
            clock.add_job(sweeper.run, "interval", args=[job], seconds=job.every, id=job.name)
        clock.add_job(sweeper.record, "interval", args=[jobs], seconds=RECORD_EVERY, id="record")
        clock.start()
        log.info("scheduler_started", jobs=len(jobs))
        try:
            await stopped.wait()
        finally:
            clock.shutdown(wait=False)
    mailbox.close()
    await reporter.close()
    await database.close()


def main() -> int:
    return run(serve)
