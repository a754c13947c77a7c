"""How long the requests of YouTube take while a source of Instagram takes connections and never answers: `make beside`.

The same requests of YouTube come without and with the fault, in turn, beside requests of Instagram that wait for that source. Printed are the ratios of
their p95 at each rate of Instagram's requests, in one run.
"""

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from beat_actors.database import migrate
from beat_actors.engine import Engine
from beat_actors.local.servers import UNSAFE_BUT_FAST
from beat_actors.local.stack import Stack
from beat_actors.settings import Settings
from beat_actors.simulator.client import SimulatorClient

HANGS = "lama"
CREDENTIALS = {HANGS: 8, "ytapi": 4}
YOUTUBE_RATE = 5
"""Requests of YouTube a second."""
LATENCY = 0.05
PROFILES = 1000
LATER = "UPDATE credential SET check_at = clock_timestamp() + interval '1 day'"
TOOK = """
SELECT extract(epoch FROM scraped_at - created_at)::float8 FROM scrape_request_log
WHERE platform = 'youtube' AND status = 'COMPLETE' AND created_at > to_timestamp(%(since)s)
"""
OPEN = "SELECT count(*) FROM scrape_request_log WHERE platform = 'youtube' AND status IN ('PENDING', 'PROCESSING')"
OVER, DEADLINE = 3.0, 60.0
"""Seconds after a round until requests of Instagram expire, and until those of YouTube have ended."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rates", default="2,50", help="requests of Instagram a second, with commas")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each is measured")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="beat-beside-"))
    stack = Stack(root / "beat", postgres_settings=UNSAFE_BUT_FAST, profiles=PROFILES, api_port=0)
    try:
        with stack.running(migrate=migrate.upgrade):
            asyncio.run(prepare(stack))
            for rate in (float(text) for text in options.rates.split(",")):
                asyncio.run(measure(stack, rate, options.seconds, options.rounds))
    finally:
        stack.home.erase()
        shutil.rmtree(root, ignore_errors=True)


async def prepare(stack: Stack) -> None:
    """Credentials enough that no limit is met, and no checks of them."""
    settings = Settings.model_validate(
        {name.removeprefix("BEAT_").lower(): value for name, value in stack.env.items() if name.startswith("BEAT_")}
    )
    engine = Engine.start(settings, name="bench")
    try:
        for source, count in CREDENTIALS.items():
            for n in range(count):
                await engine.credentials.add(source, {"key": f"bench-{source}-{n}"})
        async with engine.database.transaction() as transaction:
            await transaction.connection.execute(LATER)
    finally:
        await engine.close()


async def measure(stack: Stack, rate: float, seconds: float, rounds: int) -> None:
    times: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * rounds):
        hangs = number % 2 == 1
        times[hangs] += await _round(stack, rate, seconds, hangs=hangs)
    for hangs, found in times.items():
        what = f"{HANGS} hangs" if hangs else "all answer"
        p50, p95 = statistics.median(found) * 1000, _p95(found) * 1000
        print(f"{rate:g}/s of Instagram, {what}: YouTube p50 {p50:.0f} ms, p95 {p95:.0f} ms (of {len(found)})")
    print(f"ratio p95 beside a hang at {rate:g}/s {_p95(times[True]) / _p95(times[False]):.2f}", flush=True)


async def _round(stack: Stack, rate: float, seconds: float, *, hangs: bool) -> list[float]:
    """The seconds that each request of YouTube took."""
    async with (
        aiohttp.ClientSession(headers=stack.authorization) as http,
        SimulatorClient(stack.simulator.url) as simulator,
        await psycopg.AsyncConnection.connect(stack.postgres.url, autocommit=True) as connection,
    ):
        await simulator.clear_faults()
        await simulator.set_limits(enabled=False)
        await simulator.set_latency(LATENCY)
        if hangs:
            await simulator.add_fault("hang", HANGS)
        since = time.time()
        # What still waits when the round is over must not be work of the next one.
        expires_at = datetime.fromtimestamp(since + seconds + OVER, UTC).isoformat()
        instagram = {"platform": "instagram", "flow": "refresh_profile_basic", "expires_at": expires_at}
        youtube = {"platform": "youtube", "flow": "refresh_profile_by_handle"}
        await asyncio.gather(
            _load(http, stack, rate, seconds, instagram, {}),
            _load(http, stack, YOUTUBE_RATE, seconds, youtube, {"posts": 0}),
        )
        ends = time.monotonic() + DEADLINE
        while time.monotonic() < ends:
            (left,) = await (await connection.execute(OPEN)).fetchone() or (0,)
            if not left:
                break
            await asyncio.sleep(0.2)
        rows = await (await connection.execute(TOOK, {"since": since})).fetchall()
        await asyncio.sleep(OVER)
        return [float(seconds) for (seconds,) in rows]


async def _load(
    http: aiohttp.ClientSession,
    stack: Stack,
    rate: float,
    seconds: float,
    wanted: dict[str, Any],
    params: dict[str, Any],
) -> None:
    """Requests at an even rate; none waits for the one before."""
    began, sent = time.monotonic(), list[asyncio.Task[None]]()
    while (now := time.monotonic() - began) < seconds:
        while len(sent) < now * rate:
            handle = {"handle": f"creator_{len(sent) % PROFILES:06d}"}
            body = {**wanted, "params": {**handle, **params}, "force": True}
            sent.append(asyncio.create_task(_post(http, stack, body)))
        await asyncio.sleep(0.01)
    await asyncio.gather(*sent)


async def _post(http: aiohttp.ClientSession, stack: Stack, body: dict[str, Any]) -> None:
    async with http.post(f"{stack.api_url}/v1/scrape-requests", json=body) as response:
        assert response.status == 202, await response.text()


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[18]


if __name__ == "__main__":
    main()
