"""How much of a provider's limit is used: `make limits`.

Whole runs against a simulator that refuses what is over the limit in any window, counted at arrival, and to which each call is under way for
a random time. `bound` is the most that any rule can use that never exceeds the limit (docs/architecture.md, "How much of a limit can be used").
"""

import argparse
import asyncio
import sys
import time

import psycopg

from beat_actors.local.home import temporary_home
from beat_actors.local.servers import PostgresServer, ValkeyServer, running
from beat_actors.local.service import Service, answers_http
from beat_actors.platforms.registry import platforms
from beat_actors.simulator.client import SimulatorClient
from beat_actors.simulator.ledger import LedgerReport
from bench import engine
from bench.contender import handle
from bench.growth import database_of

HANDLES = 1000
BEGUN = "SELECT EXISTS (SELECT FROM trace_log)"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", default="jotucker", help="one of Instagram's with a single rolling limit")
    parser.add_argument("--credentials", default="1,5,50", help="numbers, with commas")
    parser.add_argument("--latency", default="0.2,1,0-3", help="seconds until a call arrives, or ranges, with commas")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each is measured")
    options = parser.parse_args()
    with temporary_home() as home:
        postgres, valkey = PostgresServer.at(home), ValkeyServer.at(home)
        with running(home, postgres, valkey) as supervisor:
            for latency in options.latency.split(","):
                low, _, high = latency.partition("-")
                port = home.port(f"simulator {latency}")
                supervisor.start(simulator(port, float(low), float(high or low)))
                provider = f"http://127.0.0.1:{port}"
                for credentials in map(int, options.credentials.split(",")):
                    with database_of(postgres) as (url, _connection):
                        run = engine.Setup(url, valkey.url, provider, processes=1, stage_batch=50, calls_per_host=800)
                        mean = (float(low) + float(high or low)) / 2
                        measure(run, options.source, credentials, mean, options.seconds)


def simulator(port: int, low: float, high: float) -> Service:
    line = ("--line-ms", str(low * 1000), "--line-jitter-ms", str((high - low) * 1000))
    plain = ("--missing-every", "0", "--private-every", "0", "--drift-seconds", "0")
    argv = (sys.executable, "-m", "beat_actors.simulator", "--port", str(port), *plain, *line)
    return Service(name=f"simulator-{port}", argv=argv, ready=lambda: answers_http(port))


def measure(setup: engine.Setup, source: str, credentials: int, latency: float, seconds: float) -> None:
    """Print the share of the limit that is used once the work has begun, and how many calls were refused."""
    (limit,) = platforms()["instagram"].sources[source].limits
    allowed = credentials * limit.calls / limit.seconds
    count = int(allowed * 2.2 * seconds) + credentials * limit.calls
    handles = [handle(n) for n in range(HANDLES)]
    asyncio.run(engine.prepare(setup, handles, count, source=source, credentials=credentials))
    with engine.working(setup), psycopg.connect(setup.database_url, autocommit=True) as connection:
        while not (connection.execute(BEGUN).fetchone() or (False,))[0]:
            time.sleep(0.05)
        time.sleep(max(seconds / 2, 2 * limit.seconds))
        before, began = asyncio.run(ledger(setup.upstream_url)), time.monotonic()
        time.sleep(seconds)
        after, ended = asyncio.run(ledger(setup.upstream_url)), time.monotonic()
    used = (after["ok"] - before["ok"]) / (ended - began) / allowed
    bound = limit.seconds / (limit.seconds + latency)
    print(
        f"limits: {limit.calls} calls in {limit.seconds:g} s, {credentials:>2} credentials, {latency:g} s until a call arrives: "
        f"used {used:.0%}, bound {bound:.0%}, {used / bound:.0%} of the bound; refused {after['over_limit']}",
        flush=True,
    )


async def ledger(url: str) -> LedgerReport:
    async with SimulatorClient(url) as provider:
        return await provider.ledger()


if __name__ == "__main__":
    main()
