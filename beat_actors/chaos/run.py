"""One run: a clean stack, requests that arrive, a fault meanwhile, the drain, and the check."""

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import replace
from random import Random
from typing import cast

from beat_actors.chaos.check import (
    CHARGED,
    COUNTED,
    EFFECTS,
    EVENTS,
    FETCHES,
    PAYLOADS,
    REQUESTS,
    TRACES,
    TURNS,
    Evidence,
    check,
    first_success,
    recovery,
)
from beat_actors.chaos.faults import Fault
from beat_actors.chaos.load import Answered, Load, choose
from beat_actors.chaos.published import LOGGED, STREAM, Published, entries, gone, is_at_rest
from beat_actors.chaos.report import Report
from beat_actors.chaos.rig import POPULATION, Rig
from beat_actors.chaos.scene import Scene
from beat_actors.chaos.standing import noticed
from beat_actors.chaos.truths import HOLDS, LATE, REJECTED, SERVED, Served, Truth
from beat_actors.chaos.waiting import ChaosError
from beat_actors.credentials.upkeep import count_due
from beat_actors.database import Composed, Database
from beat_actors.errors import StorageUnavailable
from beat_actors.simulator.client import SimulatorClient, SimulatorRefused

MOST_POSTS = 60
"""More of the newest posts than any request of a run asks for."""

# All work that is not over, and events that have no place or are not in the stream. Messages of dead workers may still arrive, and find nothing to do.
UNFINISHED = Composed(
    "chaos/run.unfinished",
    """
SELECT (SELECT count(*) FROM scrape_request_log WHERE status IN ('PENDING', 'PROCESSING'))
     + (SELECT count(*) FROM scrape_fetch WHERE stage IN ('LEASED', 'SETTLING', 'RETRIEVED', 'INGESTED'))
     + (SELECT count(*) FROM settlement) + (SELECT count(*) FROM event_pending)
     + (SELECT seq FROM event_sequence) - coalesce((SELECT min(seq) FROM event_sink), -1)
""",
    int,
)


async def rehearse(rig: Rig, fault: Fault, seed: int) -> Report:
    """Make one run. Raises `ChaosError` where the stack does not start. A fault that could not be injected is a complaint of the report."""
    dice = Random(f"{fault.name} {seed}")
    await rig.clean()
    began = time.monotonic()
    mark = rig.mark()
    latency = dice.uniform(0.02, 0.15)
    await rig.with_simulator(lambda simulator: simulator.set_latency(latency, latency / 2))
    wanted = choose(dice, f"{fault.name}-{seed}", fault.requests, POPULATION, rig.timing.window)
    load = Load(wanted, rig.authorization)
    scene = Scene(rig, seed, dice, load)
    if fault.prepare is not None:
        await fault.prepare(scene)
    async with noticed() as standstills:
        load_task = asyncio.create_task(_submit(scene))
        try:
            await fault.inject(scene)
        except ChaosError as error:
            scene.complaints.append(str(error))
        await load_task
        ended_at = time.time()
        drained = await _drain(scene)
        await asyncio.sleep(max(0.0, scene.quiet_at - time.time()))
    evidence = await _evidence(scene, fault)
    hits = scene.hits()
    answers = [answer for answer in load.answers if not standstills.met(answer)]
    bad = Counter(answer.status for answer in answers if not _proper(answer, fault))
    if standstills.spans:
        scene.extra["harness_stood_s"] = f"{standstills.seconds:.1f}"
    report = Report(
        fault=fault.name,
        seed=seed,
        findings=check(evidence),
        fired=len(hits),
        zombie_rejected=sum(int(line["rejected"]) for line in rig.logged("fenced_writes", mark)),
        api_bad=bad.total(),
        api_bad_statuses=dict(bad),
        ttr_s=_time_to_recover(fault, scene, evidence),
        run_s=time.monotonic() - began,
        drain_s=max(0.0, drained - (scene.healed_at or ended_at)),
        api_p99_s=_p99([answer.seconds for answer in answers]),
        budget=fault.budget(scene),
        extra=scene.extra,
        complaints=scene.complaints,
        late=scene.late,
        skipped=scene.skipped,
    )
    return replace(report, errors=rig.errors(mark)) if report.broken else report


async def _submit(scene: Scene) -> None:
    with contextlib.suppress(TimeoutError):  # the check finds a request that was never accepted by its key
        await scene.load.run(scene.rig.stack.api_url, timeout=scene.timing.outage + scene.timing.deadline)


async def _drain(scene: Scene) -> float:
    """Wait until no work is left, checks of credentials included, or `timing.deadline` is over. Returns the time of that, in epoch seconds."""
    database = Database(scene.rig.settings(), name="chaos")
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(scene.timing.deadline):
                while await _unfinished(database):  # noqa: ASYNC110 - what is waited for is in the database
                    await asyncio.sleep(0.1)
    finally:
        await database.close()
    return time.time()


async def _unfinished(database: Database) -> int:
    try:
        async with database.transaction() as transaction:
            # A check that is due becomes a call, and the call a settlement. In this order, none of them is missed.
            return await count_due(transaction) + await transaction.only(UNFINISHED)
    except StorageUnavailable:  # the fault, which is not over
        return 1


async def _published(scene: Scene, fault: Fault) -> Published:
    """Read when the sink is at the end of the log: an alert may be raised after the drain, and is published too."""
    events, ends = await asyncio.to_thread(scene.rig.rows_of, LOGGED), time.monotonic() + scene.timing.publisher_budget
    while not is_at_rest(events) and time.monotonic() < ends:
        await asyncio.sleep(0.2)
        events = await asyncio.to_thread(scene.rig.rows_of, LOGGED)
    stream = cast("list[tuple[bytes, dict[bytes, bytes]]]", await asyncio.to_thread(scene.rig.valkey().xrange, STREAM))
    kept_from = 0.0
    if fault.wipes:
        kept_from = scene.healed_at or float("inf")
    found = Published(events=events, entries=entries(stream), kept_from=kept_from)
    if fault.wipes:
        scene.extra["stream_lost"] = gone(found)
    return found


async def _truths(scene: Scene, served: list[Served]) -> dict[str, list[Truth]]:
    """What was true of each person whose values are served, over the span in which they were observed."""
    spans: dict[str, tuple[float, float]] = {}
    for one in served:
        since, until = spans.get(one.person, (one.at, one.at))
        spans[one.person] = min(since, one.at), max(until, one.at)
    found: dict[str, list[Truth]] = {}

    async def ask(simulator: SimulatorClient) -> None:
        for person, (since, until) in spans.items():
            with contextlib.suppress(SimulatorRefused):  # there was nobody, so that nothing is true of them
                told = await simulator.truths(person, since - LATE, until, posts=MOST_POSTS)
                found[person] = [
                    Truth(each["at"], each["person"], {post["shortcode"]: post for post in each["posts"]})
                    for each in told
                ]

    await scene.rig.with_simulator(ask)
    return found


async def _evidence(scene: Scene, fault: Fault) -> Evidence:
    rows_of = scene.rig.rows_of
    served = await asyncio.to_thread(rows_of, SERVED) if scene.compares_truth else None
    ledger = await scene.rig.with_simulator(lambda simulator: simulator.ledger())
    return Evidence(
        keys=frozenset(wanted.key for wanted in scene.load.wanted),
        ids=scene.load.ids,
        requests=await asyncio.to_thread(rows_of, REQUESTS),
        fetches=await asyncio.to_thread(rows_of, FETCHES),
        effects=await asyncio.to_thread(rows_of, EFFECTS),
        events=await asyncio.to_thread(rows_of, EVENTS),
        payloads=await asyncio.to_thread(rows_of, PAYLOADS),
        traces=await asyncio.to_thread(rows_of, TRACES),
        turns=await asyncio.to_thread(rows_of, TURNS),
        charged=(await asyncio.to_thread(rows_of, CHARGED))[0],
        counted=(await asyncio.to_thread(rows_of, COUNTED))[0],
        calls=ledger["calls"],
        good_calls=ledger["ok"],
        over_limit=ledger["over_limit"],
        published=await _published(scene, fault),
        severed=scene.severed,
        holds=await asyncio.to_thread(rows_of, HOLDS),
        rejected=await asyncio.to_thread(rows_of, REJECTED),
        served=served,
        truths=await _truths(scene, served or []),
    )


def _time_to_recover(fault: Fault, scene: Scene, evidence: Evidence) -> float | None:
    if scene.recovered_s is not None:
        return scene.recovered_s
    hits = scene.hits()
    if hits and fault.recovers == "process":
        return recovery(evidence, hits)
    return None if scene.healed_at is None else first_success(evidence, scene.healed_at)


def _proper(answer: Answered, fault: Fault) -> bool:
    """Whether the answer is 202, or 503 with `Retry-After`. A connection may break off only where the fault breaks the API."""
    if answer.status == 0:
        return fault.breaks_api
    return answer.status == 202 or (answer.status == 503 and answer.retry_after)


def _p99(seconds: list[float]) -> float | None:
    return sorted(seconds)[int(len(seconds) * 0.99)] if seconds else None
