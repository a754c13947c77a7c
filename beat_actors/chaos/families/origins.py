"""F12: the hosts of pictures attack with their answers, refuse, or do not answer."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from beat_actors.chaos.scene import Scene
from beat_actors.chaos.waiting import until
from beat_actors.simulator.client import SimulatorClient
from beat_actors.simulator.media import SOURCE

# No redirects: the simulator's lead to another picture.
KINDS: tuple[Mapping[str, Any], ...] = (
    {"kind": "hang"},
    {"kind": "truncated"},
    {"kind": "truncated", "body": "cut"},
    {"kind": "html"},
    {"kind": "revoked"},
    {"kind": "outage"},
    {"kind": "gigabyte"},
    {"kind": "reset"},
    {"kind": "slow_loris", "delay": 0.2},
    {"kind": "gzip_bomb"},
)
GIVES: Mapping[str, tuple[str, ...]] = {
    "html": ("html",),
    "revoked": ("expired",),
    "truncated": ("truncated", "damaged"),
    "gigabyte": ("too large", "unknown_type"),
    "gzip_bomb": ("packed",),
}
"""The words of failures for which such an answer is a reason. All other answers only put an upload off."""
SHARE = 0.6
"""Of the requests, which get such an answer."""


async def hostile(scene: Scene) -> None:
    """Most pictures get one of these answers, in equal shares, while the requests arrive and until each was given."""

    async def break_them(simulator: SimulatorClient) -> None:
        for n, details in enumerate(KINDS):
            # The simulator tries the newest fault first, so each rate leaves the others their shares.
            rate = SHARE / (len(KINDS) - SHARE * (len(KINDS) - 1 - n))
            await simulator.add_fault(**details, source=SOURCE, rate=rate)

    hits: Counter[str] = Counter()

    async def missed(simulator: SimulatorClient) -> list[str]:
        """The kinds of answers that no picture got yet."""
        hits.clear()
        for active in await simulator.faults():
            hits[active.kind.value] += active.hits
        return sorted(kind for kind in {str(details["kind"]) for details in KINDS} if not hits[kind])

    async def met(simulator: SimulatorClient) -> list[str]:
        """Which answer a picture gets is chance, so the fault lasts until each kind was given. Returns those that were not."""
        ends = time.monotonic() + scene.timing.deadline
        while (lacking := await missed(simulator)) and time.monotonic() < ends:  # noqa: ASYNC110 - the simulator is asked
            await asyncio.sleep(0.2)
        return lacking

    async def heal(simulator: SimulatorClient) -> Mapping[str, Sequence[str]]:
        await missed(simulator)
        await simulator.clear_faults()
        return (await simulator.media(pictures=True))["faults"]

    await scene.rig.with_simulator(break_them)
    await asyncio.sleep(scene.timing.outage)
    await until(lambda: scene.ended() > 0, within=scene.timing.deadline, what="no request ended")
    lacking = await scene.rig.with_simulator(met)
    kinds_by_picture = await scene.rig.with_simulator(heal)
    scene.heal()
    scene.extra |= {"hostile_answers": hits.total()}
    scene.complain(bool(lacking), f"no picture got the answers: {', '.join(lacking)}")
    scene.pictures.excused |= reasons(kinds_by_picture)


def reasons(kinds_by_picture: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """The words of failures for which each picture got a reason."""
    return {
        name: frozenset(word for kind in kinds for word in GIVES.get(kind, ()))
        for name, kinds in kinds_by_picture.items()
    }
