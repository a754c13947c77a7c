"""The matrix: every fault by name, what it does, and how long Beat may take to recover from it.

The modules of `families` have the coroutine of each fault. It runs while the requests arrive, and heals what it broke before it returns.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from beat_actors.chaos.families import (
    buckets,
    clocks,
    failovers,
    falsehoods,
    network,
    origins,
    poison,
    processes,
    providers,
    publishing,
    repetition,
    schedulers,
    stores,
    storms,
    uploads,
)
from beat_actors.chaos.layout import Layout
from beat_actors.chaos.report import Budget
from beat_actors.chaos.scene import Scene
from beat_actors.failpoints import BOUNDARIES


@dataclass(frozen=True, slots=True)
class Fault:
    """`what`: in words. `prepare`: before the first request is sent. `recovers`: whose time to recover applies, "process", "publisher", "store", "upload" or "bucket". `requests`: how many arrive.

    `brief`: whether CI runs the fault. `breaks_api`: whether connections to the API may break off. Otherwise the API must answer 202, or 503
    with Retry-After. `api`: seconds in which it must answer. `layout`: of the stack that the fault needs.
    `wipes`: Redis loses data, the stream of events too. The publisher sends them again when it has the next event to send.
    """

    name: str
    family: str
    what: str
    inject: Callable[[Scene], Coroutine[Any, Any, None]]
    recovers: str | None = None
    requests: int = 120
    brief: bool = False
    breaks_api: bool = False
    api: float | None = None
    layout: Layout = Layout.PLAIN
    wipes: bool = False
    prepare: Callable[[Scene], Coroutine[Any, Any, None]] | None = None

    def budget(self, scene: Scene) -> Budget:
        timing = scene.timing
        budgets = {
            "process": timing.process_budget,
            "publisher": timing.publisher_budget,
            "store": timing.store_budget,
            "upload": timing.upload_budget,
            "bucket": timing.bucket_budget,
        }
        ttr = None if self.recovers is None else budgets[self.recovers]
        return Budget(ttr=ttr, failed=scene.failed, extra_calls=scene.extra_calls, api=self.api)


def _stages() -> list[Fault]:
    found = []
    for stage in ("turn", "retrieve", "through", "ingest", "process"):
        points = len(BOUNDARIES[stage])
        found.append(
            Fault(
                f"kill.{stage}",
                "F1",
                f"SIGKILL of the worker at each of the {points} boundaries of {stage}",
                partial(processes.kill_at_boundaries, stage=stage),
                recovers="process",
                brief=True,
            )
        )
        found.append(
            Fault(
                f"pause.{stage}",
                "F1",
                f"a worker frozen beyond its lease at a boundary of {stage}, another one with each seed",
                partial(processes.pause_at_boundary, stage=stage),
                recovers="process",
                brief=stage == "retrieve",
            )
        )
    return found


def _of_pictures(
    name: str, what: str, inject: Callable[[Scene], Coroutine[Any, Any, None]], *, deadlines: int = 1, **others: Any
) -> Fault:
    """A fault that is over when every picture is uploaded or given up, and ends with the check of all of them."""
    given = {"requests": 60, "layout": Layout.PICTURES, **others}
    return Fault(name, inject=partial(uploads.with_pictures, fault=inject, deadlines=deadlines), what=what, **given)


HOSTILE: Mapping[str, Mapping[str, Any]] = {
    "hang": {},
    "slow_loris": {"delay": 0.2},
    "gigabyte": {},
    "gzip_bomb": {},
    "redirect": {},
    "redirect_loop": {"kind": "redirect", "body": "loop"},
    "html": {},
    "truncated": {},
    "reset": {},
    "unstorable": {},
    "huge": {},
    "nested": {},
}

RESET = (
    ("postgres", "PostgreSQL", ("postgres",)),
    ("redis", "Valkey", ("valkey",)),
    ("providers", "the providers", ("simulator",)),
    ("all", "PostgreSQL, Valkey and the providers", ("postgres", "valkey", "simulator")),
)

FAULTS: tuple[Fault, ...] = (
    *_stages(),
    Fault(
        "kill.intake", "F1", "SIGKILL of the API before and after it commits a request", processes.kill_intake,
        recovers="process", breaks_api=True,
    ),
    Fault(
        "kill.anywhere", "F1", "SIGKILL of a worker at random moments", processes.kill_anywhere, recovers="process",
    ),
    Fault(
        "kill.starting", "F1", "SIGKILL of every worker, and again while they start", processes.kill_while_starting,
        recovers="process",
    ),
    Fault(
        "kill.parent", "F1", "SIGKILL of the parent of the workers of one group after the other", processes.kill_parents,
        recovers="process",
    ),
    Fault(
        "stop.workers", "F1", "SIGTERM of one group of workers after the other, as a deploy does", processes.rolling_restart,
        recovers="process",
    ),
    Fault(
        "kill.publish", "F1", f"SIGKILL of the publisher at each of the {len(BOUNDARIES['publish'])} boundaries of publish",
        publishing.kill_at_boundaries, recovers="publisher", brief=True,
    ),
    Fault(
        "pause.publish", "F1", "the publisher frozen beyond its lease at a boundary of publish, another one with each seed; a second one takes over",
        publishing.pause_at_boundary, recovers="publisher", brief=True,
    ),
    Fault(
        "scheduler.kill", "F2", "SIGKILL of the only scheduler, also between a sweep and its messages, while messages are lost",
        schedulers.scheduler_killed, recovers="process", brief=True, wipes=True,
    ),
    Fault(
        "scheduler.pause", "F2", "of two schedulers the one that leads is frozen, and every message is lost",
        schedulers.leader_frozen, recovers="process", brief=True, wipes=True,
    ),
    Fault(
        "scheduler.two", "F2", "of two schedulers the one that leads is killed three times, and every message is lost",
        schedulers.leader_killed, recovers="process", wipes=True,
    ),
    Fault(
        "poison.parse", "F3", "payloads that kill the worker that parses them", poison.poison_parse, brief=True, requests=60,
    ),
    Fault("poison.write", "F3", "a record that kills the worker that writes it", poison.poison_write, requests=60),
    Fault(
        "duplicate.delivery", "F4", "every stage message of every fetch sent again, several times, also after its end",
        repetition.duplicate_delivery, brief=True,
    ),
    Fault(
        "duplicate.submission", "F4", "every request submitted by 50 clients at once under one idempotency key",
        repetition.duplicate_submission, requests=20, brief=True,
    ),
    Fault("cancel", "F4", "some of the requests cancelled at random moments, while workers die", repetition.cancellations),
    Fault("redis.wipe", "F5", "FLUSHALL, twenty times in two seconds", stores.redis_wiped, recovers="store", brief=True, api=1.0, wipes=True),
    Fault(
        "redis.lost", "F5", "Valkey killed, and its data lost", stores.redis_lost, recovers="store", api=1.0, wipes=True,
    ),
    Fault("redis.down", "F5", "Valkey down", stores.redis_down, recovers="store", brief=True, api=1.0),
    Fault("redis.hung", "F5", "Valkey frozen: it takes connections and never answers", stores.redis_hung, recovers="store", api=1.0),
    Fault("redis.full", "F5", "Valkey at maxmemory: it refuses every write", stores.redis_full, recovers="store", api=1.0),
    Fault(
        "redis.failover", "F5", "the replica of Valkey is promoted; the old primary follows it, and refuses writes, loads data and lacks its primary",
        failovers.redis_failover, recovers="store", brief=True, api=1.0, layout=Layout.PROXIED, wipes=True,
    ),
    Fault(
        "redis.killed", "F5", "Valkey killed for good, and its replica promoted", failovers.redis_killed, recovers="store", api=1.0,
        layout=Layout.PROXIED, wipes=True,
    ),
    Fault("postgres.down", "F6", "PostgreSQL stopped at once and kept down", stores.postgres_down, recovers="store", brief=True, api=3.0),
    Fault("postgres.hung", "F6", "PostgreSQL frozen: it takes connections and never answers", stores.postgres_hung, recovers="store", api=3.0),
    Fault("postgres.restart", "F6", "PostgreSQL restarted three times", stores.postgres_restarted, recovers="store", api=3.0),
    Fault(
        "postgres.slow", "F6", "scrape_fetch under an ACCESS EXCLUSIVE lock", stores.postgres_locked, recovers="store", brief=True,
        api=3.0,
    ),
    Fault("postgres.full", "F6", "every connection taken by somebody else", stores.postgres_full, recovers="store", api=3.0),
    Fault(
        "postgres.failover", "F6", "the primary killed for good, and its synchronous standby promoted", failovers.postgres_failover,
        recovers="store", brief=True, api=3.0, layout=Layout.STANDBY,
    ),
    Fault(
        "postgres.switchover", "F6", "the primary made read only under its connections, and its standby promoted",
        failovers.postgres_switchover, recovers="store", brief=True, api=3.0, layout=Layout.STANDBY,
    ),
    *(
        Fault(
            f"reset.{name}", "F7", f"connections to {what} reset, half closed and delayed at random",
            partial(network.resets, servers=servers), recovers="store", brief=name == "all", api=6.0, layout=Layout.PROXIED,
        )
        for name, what, servers in RESET
    ),
    *(
        Fault(
            f"hostile.{name}", "F8", f"the first two sources answer every call with: {name.replace('_', ' ')}", providers.hostile,
            prepare=partial(providers.become_hostile, kinds={name: details}),
        )
        for name, details in HOSTILE.items()
    ),
    Fault(
        "hostile.mixed", "F8", "the first two sources answer with all of these in turn", providers.hostile,
        prepare=partial(providers.become_hostile, kinds=HOSTILE), brief=True,
    ),
    Fault(
        "hang.beside", "F8", "every source of one platform takes connections and never answers, while another platform is healthy",
        providers.beside_a_hang, brief=True,
    ),
    Fault("storm", "F9", "429 on every credential, then all of them back at once", storms.storm, brief=True),
    Fault("clock.ahead", "F9", "one group of workers with its clock 90 s ahead", partial(clocks.skewed, seconds=90)),
    Fault("clock.behind", "F9", "one group of workers with its clock 90 s behind", partial(clocks.skewed, seconds=-90)),
    _of_pictures(
        "kill.upload",
        f"SIGKILL of a process that uploads pictures at each of the {len(BOUNDARIES['upload'])} boundaries of upload, {uploads.KILLS} times",
        uploads.kill_at_boundaries, family="F10", recovers="upload", requests=120,
        # So many processes die that all pictures are suspected of it. They wait for up to six minutes, and are uploaded a few at a time.
        deadlines=4,
    ),
    _of_pictures(
        "pause.upload",
        "a process that uploads pictures frozen beyond its leases at a boundary of upload, another one with each seed",
        uploads.pause_at_boundary, family="F10", recovers="upload",
    ),
    _of_pictures(
        "killall.assets", "SIGKILL of all processes of Beat with PostgreSQL, Valkey and S3 at once, and a start of all",
        uploads.killed_altogether, family="F10", recovers="upload", breaks_api=True, wipes=True, requests=120,
    ),
    _of_pictures("s3.down", "S3 killed, and kept down", buckets.s3_down, family="F11", recovers="bucket", brief=True),
    _of_pictures("s3.hung", "S3 frozen: it takes connections and never answers", buckets.s3_hung, family="F11", recovers="bucket"),
    _of_pictures("s3.slow", "S3 takes seconds for each PUT", buckets.s3_slow, family="F11"),
    _of_pictures("s3.full", "S3 has no room: it answers 507 to each PUT", buckets.s3_full, family="F11", recovers="bucket"),
    _of_pictures("s3.slowdown", "S3 answers 503 SlowDown to half of the PUTs", buckets.s3_slow_down, family="F11"),
    _of_pictures(
        "s3.lying", "S3 says of half of the PUTs that it has stored the object, and has not; then `beat assets check`", buckets.s3_lying, family="F11",
    ),
    _of_pictures(
        "origin.hostile", f"most pictures are answered in one of {len(origins.KINDS)} hostile ways", origins.hostile, family="F12", brief=True,
    ),
    Fault(
        "corrupt", "F13", f"a source answers a share of its calls falsely, in {len(falsehoods.WAYS)} ways, while true events look alike",
        partial(falsehoods.corrupt, kills=False), requests=60,
    ),
    Fault(
        "corrupt.kill", "F13",
        f"the same, and SIGKILL of workers at random and at each of the {len(BOUNDARIES['hold'])} boundaries around the decision about a held record",
        partial(falsehoods.corrupt, kills=True), requests=60, brief=True,
    ),
)  # fmt: skip
