"""F7: connections between Beat and its servers break."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from beat_actors.chaos.proxy import BREAKS
from beat_actors.chaos.scene import Scene
from beat_actors.chaos.waiting import until

RATES = {"postgres": 0.01, "valkey": 0.05, "simulator": 0.1}
"""The share of chunks that a proxy disturbs. A transaction is about five chunks in each direction and a message two, so most get through."""
LONGEST_DELAY = 0.2


async def resets(scene: Scene, *, servers: Sequence[str]) -> None:
    """Let the proxies of these servers break connections while the requests arrive, and until each of them broke one in every way."""
    proxies = scene.rig.proxies
    assert proxies is not None
    chosen, mark = {name: getattr(proxies, name) for name in servers}, scene.rig.mark()
    scene.severed = "simulator" in servers
    before = {name: Counter(proxy.broken) for name, proxy in chosen.items()}
    for name, proxy in chosen.items():
        proxy.disturb(rate=RATES[name], longest=LONGEST_DELAY)
    try:
        await asyncio.sleep(scene.timing.outage)
        await until(
            lambda: (
                all(set(BREAKS) <= set(proxy.broken - before[name]) for name, proxy in chosen.items())
                or scene.ended() == len(scene.load.wanted)
            ),
            within=scene.timing.deadline,
            what="not every way of breaking was used",
        )
    finally:
        for proxy in chosen.values():
            proxy.calm()
    broken = {name: proxy.broken - before[name] for name, proxy in chosen.items()}
    scene.extra |= {f"broken_{name}": count.total() for name, count in broken.items()}
    for name, count in broken.items():
        scene.complain(not count, f"no connection to {name} was broken")
    scene.heal()
    await scene.drained()
    if servers == ("valkey",):
        scene.complain_of_broken_off(mark)
