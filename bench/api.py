"""What the API takes: `make serve`. Requests at a steady rate, batches as fast as they go, reads beside a bare handler's, and calls beside
hostile callers.

One API process and the database on one machine; nobody works on what is accepted. Figures of one run.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import psycopg

from beat_actors.access import keys
from beat_actors.access.keys import MOST_CALLS, RATE_LIMIT, NewKey
from beat_actors.access.scopes import Scope
from beat_actors.database import Database, migrate
from beat_actors.local.home import Home, temporary_home
from beat_actors.local.servers import PostgresServer, ValkeyServer, running
from beat_actors.local.service import answers_http
from beat_actors.settings import Settings
from bench import hostile
from bench.engine import KEY

PROFILES = 1000
BATCH = 100
ROUNDS = 3
PROFILE = """
INSERT INTO instagram_account (profile_id, handle, followers, source, parser_version, request_id, observed_at)
SELECT n::text, 'creator_' || n, n, 'bench', 1, 1, now() FROM generate_series(1, %s) n
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=int, default=200, help="requests a second of the steady part")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each part")
    parser.add_argument("--hostile", action="store_true", help="only the part with hostile callers")
    parser.add_argument(
        "--factor", type=float, default=5.0, help="how much longer a call may take beside a hostile caller"
    )
    options = parser.parse_args()
    with temporary_home() as home:
        postgres, valkey = PostgresServer.at(home), ValkeyServer.at(home)
        with running(home, postgres, valkey):
            migrate.upgrade(postgres.url)
            with psycopg.connect(postgres.url, autocommit=True) as connection:
                connection.execute(PROFILE, (PROFILES,))
            settings = Settings(
                database_url=postgres.url, redis_url=valkey.url, vault_keys=KEY, message_keys=KEY, log_level="WARNING"
            )
            header, another = asyncio.run(new_key(settings)), asyncio.run(new_key(settings, RATE_LIMIT))
            with serving(home, settings, "api") as api, serving(home, settings, "bench.bare:app") as bare:
                if not options.hostile:
                    asyncio.run(measure(api, bare, header, options.rate, options.seconds))
                worst = asyncio.run(hostile.measure(api, header, another, options.seconds))
    if worst > options.factor:
        sys.exit(f"a hostile caller makes others wait {worst:.1f} times as long, more than {options.factor:g}")


async def measure(api: str, bare: str, header: dict[str, str], rate: int, seconds: float) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=header, connector=connector) as http:
        await _closed(_reading(http, api), 1.0)  # warm
        await steady(http, api, rate, 1.0, first=500_000)
        took = await steady(http, api, rate, seconds)
        p = [took[min(int(len(took) * share), len(took) - 1)] * 1000 for share in (0.5, 0.95, 0.99)]
        print(f"post: {rate}/s, p50 {p[0]:.1f} ms, p95 {p[1]:.1f} ms, p99 {p[2]:.1f} ms (of {len(took)})", flush=True)
        print(
            f"post: batches of {BATCH}, {await _closed(_posting(http, api), seconds, 4) * BATCH:.0f} accepted/s",
            flush=True,
        )
        rates: dict[str, list[float]] = {"beat": [], "bare": []}
        for _ in range(ROUNDS):
            for name, url in (("beat", api), ("bare", bare)):
                rates[name].append(await _closed(_reading(http, url), seconds / ROUNDS))
        mine, theirs = (sorted(rates[name])[ROUNDS // 2] for name in ("beat", "bare"))
        print(f"read: {mine:.0f} profiles/s, a bare Falcon and psycopg handler {theirs:.0f}/s")
        print(f"ratio read/bare {mine / theirs:.2f}")


async def steady(http: aiohttp.ClientSession, api: str, rate: int, seconds: float, *, first: int = 0) -> list[float]:
    """Seconds that each took, sorted; sent when it is due, whether the one before has been answered or not. `first`: its number."""
    took: list[float] = []

    async def one(number: int) -> None:
        began = time.perf_counter()
        await _post(http, api, _wanted(first + number))
        took.append(time.perf_counter() - began)

    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, begin + number / rate - time.perf_counter()))
            group.create_task(one(number))
    return sorted(took)


async def _closed(one: Callable[[], Coroutine[Any, Any, None]], seconds: float, clients: int = 16) -> float:
    """How many a second so many clients get done, each one after the other."""
    done, ends = 0, time.perf_counter() + seconds

    async def client() -> None:
        nonlocal done
        while time.perf_counter() < ends:
            await one()
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return done / (time.perf_counter() - began)


def _reading(http: aiohttp.ClientSession, url: str) -> Callable[[], Coroutine[Any, Any, None]]:
    number = 0

    async def one() -> None:
        nonlocal number
        number = number % PROFILES + 1
        async with http.get(f"{url}/v1/profiles/instagram/creator_{number}") as response:
            assert response.status == 200, await response.text()
            await response.read()

    return one


def _posting(http: aiohttp.ClientSession, api: str) -> Callable[[], Coroutine[Any, Any, None]]:
    number = 0

    async def one() -> None:
        nonlocal number
        number += BATCH
        await _post(http, api, {"requests": [_wanted(number + n + 1_000_000) for n in range(BATCH)]})

    return one


async def _post(http: aiohttp.ClientSession, api: str, body: dict[str, Any]) -> None:
    async with http.post(f"{api}/v1/scrape-requests", json=body) as response:
        assert response.status == 202, await response.text()
        await response.read()


def _wanted(number: int) -> dict[str, Any]:
    return {
        "platform": "instagram",
        "flow": "refresh_profile_by_handle",
        "params": {"handle": f"creator_{number}"},
    }


async def new_key(settings: Settings, rate_limit: int = MOST_CALLS) -> dict[str, str]:
    database = Database(settings, name="bench")
    try:
        async with database.transaction() as transaction:
            key = NewKey("bench", (Scope.SUBMIT, Scope.READ), rate_limit=rate_limit)
            created = await keys.create(transaction, key, actor="bench")
    finally:
        await database.close()
    return {"Authorization": f"Bearer {created.minted.text}"}


@contextmanager
def serving(home: Home, settings: Settings, app: str) -> Iterator[str]:
    """One process of a server: the API as it is served, or another application."""
    port = home.port(app.partition(":")[0].replace(".", "-"))
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BEAT_")},
        "BEAT_ENVIRONMENT": settings.environment,
        "BEAT_DATABASE_URL": str(settings.database_url),
        "BEAT_REDIS_URL": str(settings.redis_url),
        "BEAT_VAULT_KEYS": KEY,
        "BEAT_MESSAGE_KEYS": KEY,
        "BEAT_LOG_LEVEL": "WARNING",
        "BEAT_API_PORT": str(port),
        "BEAT_HEALTH_PORT": str(home.port(f"{app.partition(':')[0]}-health")),
        **({"BEAT_ASSET_BASE_URL": settings.asset_base_url} if settings.asset_base_url else {}),
    }
    options = ["--interface", "asgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--no-ws", app]
    command = [sys.executable, "-m", *(["api"] if app == "api" else ["granian", *options])]
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while not answers_http(port) and time.monotonic() < deadline:
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
