"""F13: a source answers falsely while workers die. No false value is served that a rule can know, and every held record comes to one end."""

import asyncio
import contextlib
from collections import Counter

from actors.mailbox import Mailbox
from beat_actors.chaos.load import Load, Wanted
from beat_actors.chaos.scene import Scene
from beat_actors.chaos.waiting import ChaosError, until
from beat_actors.database import Database
from beat_actors.failpoints import pairs
from beat_actors.pipeline.deciding import settle_incidents
from beat_actors.requests import witnesses
from beat_actors.simulator.client import SimulatorClient

SOURCES = ("graphapi", "arraybobo", "jotucker")
"""The first of the chain. One of them answers falsely, without those before it; the others are the witnesses."""
WAYS = ("zero", "negative", "thousandfold", "thousandth", "swapped", "identity")
"""Those that the gate can know."""
RATES = (0.15, 0.3, 0.6)
"""Shares of false answers: so few that each is asked about by itself, and so many that a sample decides about all."""
TRUE_EVENTS = {"viral": 0.03, "purge": 0.03, "unverify": 0.05, "hide_likes": 0.03}
"""What truly happens meanwhile, and to which share of all people. It looks as the falsehoods do."""
KILLS = 3
ROUNDS = 5
"""How often held records are looked at again, at most: after the last a person decides."""
HURRY = "UPDATE held_record SET next_at = clock_timestamp() WHERE decided_at IS NULL AND next_at IS NOT NULL AND state = 'waiting'"
ASKING = "SELECT count(*) AS n FROM held_record WHERE decided_at IS NULL AND state = 'asking'"
WAITING = "SELECT count(*) AS n FROM held_record WHERE decided_at IS NULL AND state = 'waiting'"
FIRST = "UPDATE credential SET enabled = false WHERE source = ANY(%s)"
STATES = "SELECT state, count(*) AS n FROM held_record GROUP BY state ORDER BY state"


async def corrupt(scene: Scene, *, kills: bool) -> None:
    """All profiles are asked for twice. Before the second time some truly change, and one source begins to answer falsely. `kills`: workers are
    killed meanwhile, at random and around the decision about held records."""
    scene.compares_truth = True
    turn, place = divmod(scene.seed, len(SOURCES))
    source, rate = SOURCES[place], RATES[(place + turn) % len(RATES)]
    await asyncio.to_thread(scene.rig.run, FIRST, list(SOURCES[:place]))
    await _submitted(scene)
    await scene.drained()

    async def begin(simulator: SimulatorClient) -> None:
        for kind, share in TRUE_EVENTS.items():
            await simulator.let_happen(kind, share=share)
        await simulator.add_fault("corrupt", source, rate=rate, ways=list(WAYS), seed=scene.seed)

    await scene.rig.with_simulator(begin)
    if kills:
        scene.rig.failpoints.arm(*(f"{point}=kill@{scene.dice.randint(1, 2)}" for point in pairs("hold")))
    second = asyncio.create_task(_ask_again(scene))
    if kills:
        for _ in range(KILLS):
            await scene.pause(0.3, 2.0)
            scene.kill_worker()
    await second
    await scene.drained()
    if kills:
        await scene.fired(len(pairs("hold")))
    told = await scene.rig.with_simulator(lambda simulator: simulator.ledger())
    await scene.rig.with_simulator(lambda simulator: simulator.clear_faults())
    scene.heal()
    await _decided(scene)
    false = told["by_source"][source]["corrupted"]
    states = Counter({row.state: row.n for row in await asyncio.to_thread(scene.rig.rows, STATES)})
    scene.extra |= {"source": source, "rate": rate, "false": sum(false.values()), "held": states.total()}
    scene.extra |= {f"held_{state}": states[state] for state in ("accepted", "rejected", "person")}
    scene.complain(not false, "no answer was false, so nothing was tested")
    scene.complain(not states, "no record was held, so nothing was tested")


async def _submitted(scene: Scene) -> None:
    """Wait until the API has accepted all requests of the run."""
    await until(
        lambda: len(scene.load.ids) == len(scene.load.wanted),
        within=scene.timing.deadline,
        what="not all requests were accepted",
    )


async def _ask_again(scene: Scene) -> None:
    """Submit a second request for each profile."""
    window = scene.timing.window
    again = [
        Wanted(f"{wanted.key}-again", wanted.handle, scene.dice.uniform(0.0, window)) for wanted in scene.load.wanted
    ]
    load = Load(again, scene.load.authorization, scene.load.ids, scene.load.answers)
    scene.load.wanted.extend(again)
    await load.run(scene.rig.stack.api_url, timeout=scene.timing.deadline)


async def _decided(scene: Scene) -> None:
    """The source tells the truth again, and the times come at which held records are looked at: until none waits, or `ROUNDS` times. The sweeps run
    beside those of the scheduler, so that nobody waits for its next one."""
    settings = scene.rig.settings()
    database, mailbox = Database(settings, name="chaos"), Mailbox(settings)
    try:
        for _ in range(ROUNDS):
            await asyncio.to_thread(scene.rig.run, HURRY)
            await settle_incidents(database)
            for platform in (await witnesses.due(database)).wake:
                await mailbox.wake(platform)
            with contextlib.suppress(ChaosError):
                await until(lambda: not scene.count(ASKING), within=scene.timing.deadline, what="held records are left")
            if not await asyncio.to_thread(scene.count, WAITING):
                return
    finally:
        mailbox.close()
        await database.close()
