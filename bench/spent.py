"""On what a worker spends its CPU time: `python -m bench.spent`.

One process leases, calls, commits, reads and writes, as a worker does; the broker's turns between the rounds are not counted. It prints the CPU
time of a scrape in rounds without a profiler, as the median, and then, of a round under `cProfile`, the functions that took the most by themselves.
"""

import argparse
import asyncio
import cProfile
import os
import pstats
import statistics
import time
from collections.abc import Sequence

import uvloop

from beat_actors.broker.turn import turn
from beat_actors.database import migrate
from beat_actors.engine import Engine
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import PostgresServer, ValkeyServer, running
from beat_actors.pipeline.onward import Onward
from beat_actors.pipeline.retrieve import Retriever
from beat_actors.pipeline.stage import StageResult
from beat_actors.platforms.registry import platforms
from beat_actors.settings import Settings
from bench import engine
from bench.contender import handle
from bench.upstream import upstream

HANDLES = 2000
COUNT = 400
"""Scrapes of a round: as many as one dispatch cycle leases."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds without the profiler (default: 5)")
    parser.add_argument("--top", type=int, default=50, help="functions that are shown (default: 50)")
    parser.add_argument("--callers", default="", help="also show who calls the functions whose names match this")
    options = parser.parse_args()
    with temporary_home() as home:
        postgres, valkey, answers = PostgresServer.at(home), ValkeyServer.at(home), upstream(home, HANDLES)
        with running(home, postgres, valkey, answers):
            setup = engine.Setup(postgres.url, valkey.url, f"http://127.0.0.1:{answers.port}")
            os.environ |= setup.env()
            migrate.upgrade(postgres.url)
            asyncio.run(engine.prepare(setup, [handle(n) for n in range(HANDLES)], COUNT * (options.rounds + 2)))
            profile = cProfile.Profile(time.process_time)
            times = uvloop.run(measure(options.rounds, profile))
    print(f"{statistics.median(times):.3f} ms of CPU a scrape ({min(times):.3f}..{max(times):.3f})")
    stats = pstats.Stats(profile).strip_dirs().sort_stats("tottime")
    rows = sorted(stats.stats.items(), key=lambda row: -row[1][2])  # type: ignore[attr-defined]
    total = sum(row[1][2] for row in rows)
    print(f"{total / COUNT * 1000:.3f} ms under the profiler, of it:")
    print("    µs own   µs whole     calls   a scrape")
    for (file, line, name), (_, calls, own, whole, _) in rows[: options.top]:
        per = (part / COUNT * 1e6 for part in (own, whole))
        print("{:10.1f} {:10.1f} {:9.2f}   {}:{} {}".format(*per, calls / COUNT, file, line, name))
    if options.callers:
        stats.print_callers(options.callers)


async def measure(rounds: int, profile: cProfile.Profile) -> list[float]:
    """Milliseconds of CPU time a scrape in each round; the first round of all warms up, and the last one is profiled."""
    beat = Engine.start(Settings(), name="bench")  # type: ignore[call-arg]  # from the environment
    times = []
    try:
        await round_of(beat, await leased(beat))
        for _ in range(rounds):
            leases = await leased(beat)
            started = time.process_time()
            await round_of(beat, leases)
            times.append((time.process_time() - started) * 1000 / COUNT)
        leases = await leased(beat)
        profile.enable()
        await round_of(beat, leases)
        profile.disable()
    finally:
        await beat.close()
    return times


async def leased(beat: Engine, count: int = COUNT) -> list[int]:
    """At least so many calls."""
    found: list[int] = []
    while len(found) < count:
        found += (await turn(beat.database, platforms()["instagram"])).leased
        await asyncio.sleep(0.1)
    return found


async def round_of(beat: Engine, leases: Sequence[int]) -> None:
    async def told(_: StageResult) -> None: ...

    async def read(_: StageResult, left: Sequence[int]) -> None:
        assert not left

    batch = beat.settings.stage_batch
    retriever = Retriever(beat, told, Onward(beat, read))
    for first in range(0, len(leases), batch):
        await retriever.take(leases[first : first + batch])
        await retriever._all_done()  # draining would leave what is retrieved to other processes
    await retriever.close()


if __name__ == "__main__":
    main()
