"""F9: every credential of every source is refused at once."""

import asyncio
import time
from collections.abc import Mapping

from beat_actors.chaos.furnishing import CREDENTIALS
from beat_actors.chaos.scene import Scene
from beat_actors.chaos.waiting import until
from beat_actors.platforms.registry import platforms

AFTERWARDS = 10.0
"""Seconds after the storm over which the rate of calls is measured."""
IN_USE = "SELECT count(*) AS n FROM credential WHERE disabled_till IS NULL OR disabled_till < clock_timestamp()"
MOST_RATE = 1.2
"""The highest allowed ratio of that rate to the tightest limit of a source."""
MOST_RETRY_AFTER = 20.0
"""Seconds that a refusal asks to wait."""


async def storm(scene: Scene) -> None:
    """Refuse every credential. Then let all cooldowns end at once."""
    said = min(MOST_RETRY_AFTER, scene.timing.storm)
    await scene.rig.with_simulator(lambda simulator: simulator.add_fault("rate_limit", retry_after=said))
    # Calls that began before the first refusal are out until then.
    await until(lambda: _all_rest(scene), within=scene.timing.deadline, what="not every credential was refused")
    before = await _calls(scene)
    began = time.monotonic()
    held = 0
    while time.monotonic() - began < scene.timing.storm:
        held = max(held, await asyncio.to_thread(_held, scene))
        await asyncio.sleep(0.2)
    during = await _calls(scene) - before
    probes = scene.count("SELECT count(*) AS n FROM credential") * (1 + int(scene.timing.storm // said))
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
    scene.complain(
        rate > MOST_RATE, f"{rate:.2f} times the limit was called in the first {AFTERWARDS:g} s after the storm"
    )


async def _calls_by_source(scene: Scene) -> dict[str, int]:
    ledger = await scene.rig.with_simulator(lambda simulator: simulator.ledger())
    return {source: entry["calls"] for source, entry in ledger["by_source"].items()}


def _worst_rate(before: Mapping[str, int], after: Mapping[str, int]) -> float:
    """The highest ratio, over all sources, of the calls between two counts to those that the tightest limit allows all of its credentials."""
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
    return not scene.count(IN_USE) and not _held(scene)


def _held(scene: Scene) -> int:
    """How many fetches are leased, except for probes."""
    return scene.count("SELECT count(*) AS n FROM scrape_fetch WHERE lease_until IS NOT NULL AND NOT probe")
