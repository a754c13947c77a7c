"""What each fault does, by family. Each heals what it broke before it returns."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Mapping
from typing import Any

import psutil
import psycopg

from actors.mailbox import INGEST, PROCESS, RETRIEVE, Mailbox
from beat_actors.chaos.load import Load, at_once, choose
from beat_actors.chaos.rig import CREDENTIALS, GROUPS, HTTP_TIMEOUT, POPULATION, Mark
from beat_actors.chaos.scene import GRACE, Scene
from beat_actors.chaos.waiting import ChaosError, until
from beat_actors.failpoints import pairs
from beat_actors.leadership import PATIENCE
from beat_actors.platforms.registry import platforms

COPIES = 50
REDELIVERIES = 3
# Seconds until another scheduler leads: it asks for the lock once a second, and looks past a holder that was not seen for `PATIENCE`.
DEAD = 5.0
FROZEN = PATIENCE + DEAD


# F1: processes die, freeze or are asked to stop.


STEP_BY_STEP = dict.fromkeys(("ingest", "process"), ("through.before_read=raise", "through.before_write=raise"))
"""What has to be armed for all boundaries of a stage to be passed: on the ordinary way, the process that retrieved does the work of both."""


async def kill_at_boundaries(scene: Scene, *, stage: str) -> None:
    """Every boundary once, whichever worker comes by; the dice say at which time."""
    points = pairs(stage)
    struck = (f"{point}=kill@{scene.dice.randint(1, 3)}" for point in points)
    scene.rig.book.arm(*struck, *STEP_BY_STEP.get(stage, ()))
    await scene.fired(len(points))
    scene.heal()


async def pause_at_boundary(scene: Scene, *, stage: str) -> None:
    """One worker freezes while it holds work; the others have to take it over, and it must do no harm when it wakes."""
    points = pairs(stage)
    point = points[(scene.seed + 1) % len(points)]
    scene.extra["point"] = point
    struck = f"{point}=pause:{scene.timing.pause}@{scene.dice.randint(1, 3)}"
    scene.rig.book.arm(struck, *STEP_BY_STEP.get(stage, ()))
    (hit,) = await scene.fired(1)
    scene.healed_at = hit.at
    scene.quiet_at = hit.at + scene.timing.pause + GRACE


async def kill_intake(scene: Scene) -> None:
    points = pairs("intake")
    scene.rig.book.arm(*(f"{point}=kill@{scene.dice.randint(3, 40)}" for point in points))
    await scene.fired(len(points))
    scene.heal()


async def kill_anywhere(scene: Scene) -> None:
    for _ in range(4):
        await scene.pause(0.3, 1.2)
        victims = scene.rig.workers()
        if victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                scene.dice.choice(victims).send_signal(signal.SIGKILL)
    scene.heal()


async def kill_while_starting(scene: Scene) -> None:
    """Both groups at once, and again when their workers are there and not ready yet."""
    for _ in range(2):
        await scene.pause(0.2, 0.6)
        await until(
            lambda: len(scene.rig.workers()) == len(GROUPS), within=scene.timing.patience, what="no workers", every=0.01
        )
        for victim in scene.rig.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGKILL)
    scene.heal()


async def kill_parents(scene: Scene) -> None:
    """The parent of each group alone: its workers are orphans, until its supervisor ends them."""
    for name in GROUPS:
        await scene.pause(0.2, 0.8)
        scene.rig.kill_parent(name)
    scene.heal()


async def rolling_restart(scene: Scene) -> None:
    for name in GROUPS:
        await scene.pause(0.2, 0.8)
        began = time.monotonic()
        await asyncio.to_thread(scene.rig.hold, name, signal.SIGTERM)
        took = time.monotonic() - began
        scene.extra["exit_s"] = f"{max(took, float(str(scene.extra.get('exit_s', 0)))):.1f}"
        scene.complain(took > 30, f"{name} took {took:.0f} s to stop")
        await asyncio.to_thread(scene.rig.release, name)
    scene.heal()


# F2: the scheduler. Messages are lost meanwhile, so that there is something for it to find.


async def scheduler_killed(scene: Scene) -> None:
    scene.rig.book.arm("sweep.before_send~unsent=kill@1")
    await _lose_messages(scene, scene.timing.window)
    await scene.fired(1)
    for _ in range(2):
        await scene.pause(0.3, 1.0)
        scene.rig.signal("scheduler", signal.SIGKILL)
    scene.heal()


async def leader_frozen(scene: Scene) -> None:
    """The leader of two freezes, and stays so until the other has led everything to its end; awake again, it follows."""
    await _strand(scene)
    second = await _second_scheduler(scene)
    leader, epoch = await _leader(scene)
    mark = scene.rig.mark()
    with scene.rig.frozen(leader):
        await _let_go(scene)
        await _replaced(scene, epoch, within=FROZEN)
        await scene.rig.ready()
        scene.heal()
        await drained(scene)
        scene.complain((await _leader(scene))[0] == leader, "a frozen scheduler leads")
    await until(
        lambda: bool(scene.rig.logged("not_leading", mark)), within=FROZEN, what="the frozen leader did not step down"
    )
    await asyncio.to_thread(scene.rig.hold, second)


async def leader_killed(scene: Scene) -> None:
    """Of two schedulers the one that leads is killed, again and again; what the last of them finds is lost in every message."""
    await _strand(scene)
    second = await _second_scheduler(scene)
    for last in (False, False, True):
        leader, epoch = await _leader(scene)
        mark = scene.rig.mark()
        scene.rig.signal(leader, signal.SIGKILL)
        if last:
            await _let_go(scene)
        await _replaced(scene, epoch, within=DEAD)
        await _started(scene, mark)  # the one that was killed stands again
    await scene.rig.ready()
    scene.heal()
    await drained(scene)
    await asyncio.to_thread(scene.rig.hold, second)


async def _strand(scene: Scene) -> None:
    """No worker lives while the requests arrive."""
    for name in GROUPS:
        await asyncio.to_thread(scene.rig.hold, name)
    await until(
        lambda: len(scene.load.ids) == len(scene.load.wanted),
        within=scene.timing.patience,
        what="not all were accepted",
    )


async def _let_go(scene: Scene) -> None:
    """The workers come back to queues that are lost: nothing moves now unless somebody sweeps."""
    scene.rig.valkey().flushall()
    for name in GROUPS:
        await asyncio.to_thread(scene.rig.release, name)


async def _second_scheduler(scene: Scene) -> str:
    """Beside the first, and ready to take over."""
    mark, service = scene.rig.mark(), scene.rig.second_scheduler()
    await asyncio.to_thread(scene.rig.start_extra, service)
    await _started(scene, mark)
    return service.name


async def _started(scene: Scene, since: Mark) -> None:
    await until(
        lambda: bool(scene.rig.logged("scheduler_started", since)),
        within=scene.timing.patience,
        what="no scheduler started",
    )


async def _leader(scene: Scene) -> tuple[str, int]:
    """The service that leads, and its epoch. Raises `ChaosError` where none comes to."""
    found: list[tuple[str, int]] = []

    def led() -> bool:
        found.extend(scene.rig.leader())
        return bool(found)

    await until(led, within=DEAD + FROZEN, what="no scheduler leads")
    return found[0]


async def _replaced(scene: Scene, epoch: int, *, within: float) -> None:
    """Wait for the next epoch, and note how long that took."""
    began = time.monotonic()
    await until(
        lambda: any(newer > epoch for _, newer in scene.rig.leader()), within=within, what="no other scheduler led"
    )
    took = time.monotonic() - began
    scene.extra["takeover_s"] = f"{max(took, float(str(scene.extra.get('takeover_s', 0)))):.1f}"


async def _lose_messages(scene: Scene, seconds: float) -> None:
    """So often that hardly one is delivered."""
    client, ends = scene.rig.valkey(), time.monotonic() + seconds
    while time.monotonic() < ends:
        client.flushall()
        await asyncio.sleep(0.02)


# F3: payloads that kill.


async def poison_parse(scene: Scene) -> None:
    """A payload of one source kills whoever parses it; it is quarantined, and the next source answers."""
    marked = scene.dice.sample([wanted.handle for wanted in scene.load.wanted], 2)
    scene.rig.book.arm(*(f"ingest.parse~graphapi+{handle}=kill" for handle in marked))
    most = scene.rig.settings().stage_attempts
    await until(lambda: len(scene.hits()) >= 2, within=scene.timing.patience, what="no poison was parsed")
    await drained(scene)
    hits = scene.hits()
    scene.extra["deaths"] = len(hits)
    scene.extra_calls = len(marked)
    for handle in marked:
        tries = sum(1 for hit in hits if handle in hit.armed)
        scene.complain(tries > most, f"{handle} killed {tries} workers, and {most} tries are allowed")
    _nobody_else_quarantined(scene, len(marked))


def survived_without_redis(scene: Scene, mark: Mark) -> None:
    """What could not be sent was left to the sweeps, and broke nothing off that had been committed."""
    broken_off = [line for event in BROKEN_OFF for line in scene.rig.logged(event, mark)]
    scene.complain(bool(broken_off), f"a Redis that was away broke off: {', '.join(map(str, broken_off[:3]))[:500]}")


BROKEN_OFF = ("batch_failed", "sweep_failed", "upkeep_broken_off")


async def poison_write(scene: Scene) -> None:
    """What is to be written kills whoever writes it: there is no other source for that, so its request fails, alone."""
    (row,) = scene.rig.rows("SELECT last_value AS id FROM scrape_request_log_id_seq")
    marked = row.id + scene.dice.randint(5, 20)
    scene.rig.book.arm(f"process.write~{marked}=kill")
    scene.failed = 1
    most = scene.rig.settings().stage_attempts
    await until(lambda: len(scene.hits()) >= 1, within=scene.timing.patience, what="no poison was written")
    await drained(scene)
    scene.extra["deaths"] = len(scene.hits())
    scene.complain(len(scene.hits()) > most, f"it killed {len(scene.hits())} workers, and {most} tries are allowed")
    _nobody_else_quarantined(scene, 1)


def _nobody_else_quarantined(scene: Scene, poisoned: int) -> None:
    (row,) = scene.rig.rows("SELECT count(DISTINCT fetch_id) AS n FROM quarantine WHERE kind = 'poison'")
    scene.extra["quarantined"] = row.n
    scene.complain(row.n != poisoned, f"{row.n} fetches were quarantined for {poisoned} poisoned")


async def drained(scene: Scene) -> None:
    """Until everything has ended, or patience has; what is left then is the checker's to say."""
    with contextlib.suppress(ChaosError):
        await until(
            lambda: scene.ended() == len(scene.load.wanted), within=scene.timing.patience, what="it did not end"
        )


# F4: everything comes more than once.

STAGES = {"LEASED": RETRIEVE, "RETRIEVED": INGEST, "INGESTED": PROCESS}


async def duplicate_delivery(scene: Scene) -> None:
    """Each fetch's message is sent again while it is worked on, and those of all stages once everything has ended."""
    mailbox = Mailbox(scene.rig.settings())
    seen: set[tuple[int, str]] = set()
    sent = 0
    try:
        while await asyncio.to_thread(scene.ended) < len(scene.load.wanted):
            rows = await asyncio.to_thread(
                scene.rig.rows, "SELECT id, stage FROM scrape_fetch WHERE stage = ANY(%s)", list(STAGES)
            )
            fresh = [(row.id, row.stage) for row in rows if (row.id, row.stage) not in seen]
            seen.update(fresh)
            for stage, queue in STAGES.items():
                ids = [id for id, at in fresh if at == stage]
                for _ in range(REDELIVERIES):
                    sent += len(ids) * await mailbox.send(queue, ids)
            await mailbox.ring("instagram")
            await asyncio.sleep(0.01)
        everything = [row.id for row in await asyncio.to_thread(scene.rig.rows, "SELECT id FROM scrape_fetch")]
        for queue in STAGES.values():
            sent += len(everything) * await mailbox.send(queue, everything)
    finally:
        mailbox.close()
    scene.extra["redelivered"] = sent
    scene.complain(sent < len(everything) * 3, "nothing was delivered twice")
    await until(lambda: _queues_empty(scene), within=scene.timing.patience, what="the second messages were not taken")


async def duplicate_submission(scene: Scene) -> None:
    await at_once(scene.load, scene.rig.stack.api_url, COPIES, patience=scene.timing.patience)
    scene.extra["submissions"] = len(scene.load.answers)


def _queues_empty(scene: Scene) -> bool:
    client = scene.rig.valkey()
    namespace = scene.rig.settings().redis_namespace
    return not any(client.llen(f"{namespace}:{queue}") for queue in STAGES.values())


async def cancellations(scene: Scene) -> None:
    """Clients change their minds, at whatever stage their requests are, while workers die."""
    cancelled: set[int] = set()
    async with scene.load.session() as http:
        for n in range(40):
            await scene.pause(0.0, 0.1)
            if n % 15 == 10 and (victims := scene.rig.workers()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    scene.dice.choice(victims).kill()
            left = [request for request in scene.load.accepted if request not in cancelled]
            if left:
                request = scene.dice.choice(left)
                async with http.post(f"{scene.rig.stack.api_url}/v1/scrape-requests/{request}/cancel") as response:
                    if (await response.json())["status"] == "CANCELLED":
                        cancelled.add(request)
    scene.heal()
    await drained(scene)
    (row,) = scene.rig.rows("SELECT array_agg(id) AS ids FROM scrape_request_log WHERE status = 'CANCELLED'")
    scene.complain(
        set(row.ids or []) != cancelled,
        f"{cancelled ^ set(row.ids or [])} were cancelled and are not, or the other way round",
    )
    scene.complain(not cancelled, "nothing could be cancelled")


# F5: what carries the messages.


async def redis_wiped(scene: Scene) -> None:
    for _ in range(20):
        await scene.pause(0.02, 0.2)
        scene.rig.valkey().flushall()
    scene.heal()


async def redis_lost(scene: Scene) -> None:
    for _ in range(2):
        await scene.pause(0.3, 1.0)
        await asyncio.to_thread(scene.rig.lose_valkey)
    scene.heal()


async def redis_down(scene: Scene) -> None:
    await scene.pause(0.2, 0.8)
    await asyncio.to_thread(scene.rig.hold, "valkey")
    await asyncio.sleep(scene.timing.outage)
    await asyncio.to_thread(scene.rig.release, "valkey")
    scene.heal()


async def redis_hung(scene: Scene) -> None:
    await scene.pause(0.2, 0.8)
    with scene.rig.frozen("valkey"):
        await asyncio.sleep(scene.timing.lock)
    scene.heal()


async def redis_full(scene: Scene) -> None:
    await scene.pause(0.2, 0.8)
    client = scene.rig.valkey()
    client.config_set("maxmemory", "1mb")
    await asyncio.sleep(scene.timing.lock)
    client.config_set("maxmemory", "0")
    scene.heal()


# F6: what holds the truth.


async def postgres_down(scene: Scene) -> None:
    await scene.pause(0.2, 0.8)
    await asyncio.to_thread(scene.rig.hold, "postgres", signal.SIGQUIT)
    await asyncio.sleep(scene.timing.outage)
    await asyncio.to_thread(scene.rig.release, "postgres")
    scene.heal()


async def postgres_hung(scene: Scene) -> None:
    """It takes connections, as the kernel does that for it, and answers nothing."""
    await scene.pause(0.2, 0.8)
    with scene.rig.frozen_with_children("postgres"):
        await asyncio.sleep(scene.timing.lock)
    scene.heal()


async def postgres_restarted(scene: Scene) -> None:
    for _ in range(3):
        await scene.pause(0.3, 0.9)
        await asyncio.to_thread(scene.rig.hold, "postgres", signal.SIGINT)
        await asyncio.to_thread(scene.rig.release, "postgres")
    scene.heal()


async def postgres_locked(scene: Scene) -> None:
    """A migration that was not thought through."""
    await scene.pause(0.2, 0.8)
    async with await psycopg.AsyncConnection.connect(scene.rig.stack.postgres.url) as connection:
        await connection.execute("SET statement_timeout = 0")
        await connection.execute("SET idle_in_transaction_session_timeout = 0")
        await connection.execute("LOCK TABLE scrape_fetch IN ACCESS EXCLUSIVE MODE")
        await asyncio.sleep(scene.timing.lock)
    scene.heal()


async def postgres_full(scene: Scene) -> None:
    """Somebody else's program leaks connections until there is none; ours are cut off, and find no way back in."""
    await scene.pause(0.2, 0.8)
    taken: list[psycopg.AsyncConnection[Any]] = []
    url = scene.rig.stack.postgres.url
    try:
        deadline = time.monotonic() + scene.timing.lock
        while time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    taken.append(await psycopg.AsyncConnection.connect(url, autocommit=True))
            await taken[0].execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'beat %'"
            )
            await asyncio.sleep(0.05)
    finally:
        scene.extra["taken"] = len(taken)
        for connection in taken:
            await connection.close()
    scene.heal()


# F8: providers that attack.


async def hostile(scene: Scene, *, kinds: Mapping[str, Mapping[str, Any]]) -> None:
    """The first sources of both chains answer so, by equal shares, for the whole run."""
    peak = asyncio.create_task(_peak_memory(scene))

    async def break_them(simulator: Any) -> None:
        for n, (name, details) in enumerate(kinds.items()):
            for source in (
                "graphapi",
                "jotucker",
            ):  # the newest fault is asked first, and leaves the others their shares
                await simulator.add_fault(**{"kind": name, **details}, source=source, rate=1 / (n + 1))

    for name in GROUPS:  # a process does not give back the memory that an earlier answer took
        await asyncio.to_thread(scene.rig.hold, name)
        await asyncio.to_thread(scene.rig.release, name)
    await scene.rig.with_simulator(break_them)
    await drained(scene)
    ledger = await scene.rig.with_simulator(lambda simulator: simulator.ledger())
    scene.complain(not ledger["faulted"], "no call met the hostile answer")
    peak.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await peak
    (row,) = scene.rig.rows("SELECT max(ms) / 1000 AS slowest FROM trace_log")
    scene.extra |= {"faulted": ledger["faulted"], "slowest_call_s": f"{row.slowest:.1f}"}
    # A second or two is what a crowded machine takes to notice; more would be a deadline that does not hold.
    said = f"a call took {row.slowest:.1f} s, and {HTTP_TIMEOUT:g} are allowed"
    scene.complain(row.slowest > 3 * HTTP_TIMEOUT, said)
    if HTTP_TIMEOUT + 2 < row.slowest <= 3 * HTTP_TIMEOUT:
        scene.late.append(said)
    blamed = scene.rig.rows("SELECT id FROM credential WHERE disabled_till IS NOT NULL OR dead_at IS NOT NULL")
    scene.complain(bool(blamed), f"{len(blamed)} credentials were blamed for what they did not do")


HEALTHY, SPREAD = 40, 6.0
"""Requests of the healthy platform in each of the two measurements, and the seconds over which they arrive: longer than a call hangs."""
MOST_SLOWDOWN, NOTICEABLE = 4.0, 1.0
"""How many times longer one may take beside the platform that hangs, and the seconds below which nothing is a difference."""
SLOWEST = """
SELECT extract(epoch FROM max(scraped_at - created_at))::float8 AS seconds FROM scrape_request_log WHERE idempotency_key LIKE %s
"""


async def beside_a_hang(scene: Scene) -> None:
    """All sources of Instagram take connections and never answer, while YouTube's requests arrive; then the same number without the fault."""
    sources = platforms()["instagram"].sources
    await scene.rig.add_credentials({"ytapi": 3})

    async def hang(simulator: Any) -> None:
        for source in sources:
            await simulator.add_fault("hang", source=source)

    await scene.rig.with_simulator(hang)
    await until(lambda: _calls_out(scene) > 0, within=scene.timing.patience, what="no call hangs")
    beside = await _slowest_healthy(scene, "beside")
    hanging = await asyncio.to_thread(_open_requests, scene)
    await scene.rig.with_simulator(lambda simulator: simulator.clear_faults())
    scene.heal()
    await drained(scene)
    alone = await _slowest_healthy(scene, "alone")
    scene.extra |= {"beside_s": f"{beside:.1f}", "alone_s": f"{alone:.1f}", "hanging": hanging}
    scene.complain(
        beside > MOST_SLOWDOWN * max(alone, NOTICEABLE),
        f"a request of the healthy platform took {beside:.1f} s beside the hang, and {alone:.1f} s at most alone",
    )
    scene.complain(not hanging, "nothing hung any more when the healthy platform had ended")


async def _slowest_healthy(scene: Scene, name: str) -> float:
    """Submit requests of YouTube, and wait until all have ended; the seconds that the slowest took."""
    keys = f"healthy-{scene.seed}-{name}"
    wanted = choose(scene.dice, keys, HEALTHY, POPULATION, SPREAD, "youtube")
    load = Load(wanted, scene.load.authorization, scene.load.ids, scene.load.answers)
    scene.load.wanted.extend(wanted)
    await load.run(scene.rig.stack.api_url, patience=scene.timing.patience)
    await until(
        lambda: _open_requests(scene, "youtube") == 0, within=scene.timing.patience, what="the healthy platform hangs"
    )
    (row,) = await asyncio.to_thread(scene.rig.rows, SLOWEST, f"{keys}-%")
    return float(row.seconds)


def _open_requests(scene: Scene, platform: str = "instagram") -> int:
    (row,) = scene.rig.rows(
        "SELECT count(*) AS n FROM scrape_request_log WHERE platform = %s AND status IN ('PENDING', 'PROCESSING')",
        platform,
    )
    return int(row.n)


def _calls_out(scene: Scene) -> int:
    (row,) = scene.rig.rows("SELECT count(*) AS n FROM scrape_fetch WHERE lease_until IS NOT NULL AND stage = 'LEASED'")
    return int(row.n)


MOST_MEMORY = 700e6


async def _peak_memory(scene: Scene) -> None:
    peak = 0
    while True:
        for process in scene.rig.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                peak = max(peak, process.memory_info().rss)
        scene.extra["rss_mb"] = round(peak / 1e6)
        if peak > MOST_MEMORY and not any("memory" in complaint for complaint in scene.complaints):
            scene.complaints.append(f"a worker took {peak / 1e6:.0f} MB of memory")
        await asyncio.sleep(0.3)


# F9: limits and clocks.


async def storm(scene: Scene) -> None:
    """Every credential is refused; then all rests end at once."""
    said = min(20.0, scene.timing.storm)
    await scene.rig.with_simulator(lambda simulator: simulator.add_fault("rate_limit", retry_after=said))
    # Until then calls are out that were made before anybody knew.
    await until(lambda: _all_rest(scene), within=scene.timing.patience, what="not every credential was refused")
    before = await _calls(scene)
    began = time.monotonic()
    held = 0
    while time.monotonic() - began < scene.timing.storm:
        held = max(held, await asyncio.to_thread(_held, scene))
        await asyncio.sleep(0.2)
    during = await _calls(scene) - before
    (row,) = scene.rig.rows("SELECT count(*) AS n FROM credential")
    probes = row.n * (1 + int(scene.timing.storm // said))
    scene.extra |= {"storm_calls": during, "probes_allowed": probes, "held": held}
    scene.complain(during > probes, f"{during} calls were made into the storm, and {probes} probes are allowed")
    scene.complain(held > 0, f"{held} fetches held a worker while nothing could be done for them")
    await scene.rig.with_simulator(lambda simulator: simulator.clear_faults())
    scene.rig.run("UPDATE credential SET disabled_till = clock_timestamp() WHERE disabled_till > clock_timestamp()")
    scene.heal()
    before_by_source = await _calls_by_source(scene)
    await asyncio.sleep(AFTERWARDS)
    rate = _worst_rate(before_by_source, await _calls_by_source(scene))
    scene.extra["rate_after"] = f"{rate:.2f}"
    scene.complain(rate > MOST_RATE, f"{rate:.2f} of what is allowed was called in the first {AFTERWARDS:g} s after it")


AFTERWARDS = 10.0
"""Seconds after the storm in which the rate is looked at."""
MOST_RATE = 1.2


async def _calls_by_source(scene: Scene) -> dict[str, int]:
    ledger = await scene.rig.with_simulator(lambda simulator: simulator.ledger())
    return {source: entry["calls"] for source, entry in ledger["by_source"].items()}


def _worst_rate(before: Mapping[str, int], after: Mapping[str, int]) -> float:
    """Of each source the calls in between, as a share of what its tightest limit lets all of its credentials call in that time; the most."""
    worst = 0.0
    for name, source in platforms()["instagram"].sources.items():
        allowed = min(
            limit.calls
            * max(1.0, AFTERWARDS / limit.seconds)
            * (CREDENTIALS[name] if limit.scope == "credential" else 1)
            for limit in source.limits
        )
        worst = max(worst, (after.get(name, 0) - before.get(name, 0)) / allowed)
    return worst


async def _calls(scene: Scene) -> int:
    return int((await scene.rig.with_simulator(lambda simulator: simulator.ledger()))["calls"])


def _all_rest(scene: Scene) -> bool:
    (row,) = scene.rig.rows(
        "SELECT count(*) FILTER (WHERE disabled_till IS NULL OR disabled_till < clock_timestamp()) AS in_use FROM credential"
    )
    return not row.in_use and not _held(scene)


def _held(scene: Scene) -> int:
    (row,) = scene.rig.rows("SELECT count(*) AS n FROM scrape_fetch WHERE lease_until IS NOT NULL AND NOT probe")
    return int(row.n)


async def skewed(scene: Scene, *, seconds: int) -> None:
    """A third group of workers lives in another minute: alone at first, then beside the others, which find its leases and heartbeats."""
    service = scene.rig.skewed_workers(seconds)
    if service is None:
        scene.skipped = "libfaketime-is-not-installed"
        return
    await asyncio.to_thread(scene.rig.start_extra, service)
    for name in GROUPS:
        await asyncio.to_thread(scene.rig.hold, name)
    some = len(scene.load.wanted) // 10
    await until(lambda: scene.ended() >= some, within=scene.timing.patience, what="they did no work alone")
    for name in GROUPS:
        await asyncio.to_thread(scene.rig.release, name)
    scene.heal()
    await drained(scene)
    await asyncio.to_thread(scene.rig.hold, service.name)
