"""How long a reader waits for the redirect of a stored asset: `python -m bench.redirects`.

One API process and the database on one machine. Calls come at a steady rate, whether the one before has been answered or not. Three kinds: each
asset once, so that every call looks into the database; few assets again and again; ids that do not exist. `healthz` shows what the machine adds.
"""

import argparse
import asyncio
import hashlib
import itertools
import time
import uuid
from collections.abc import Iterator

import aiohttp
import psycopg

from beat_actors.database import migrate
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import PostgresServer, ValkeyServer, running
from beat_actors.settings import Settings
from bench.api import serving
from bench.engine import KEY

ADD = """
INSERT INTO asset_log (platform, entity, entity_key, field, url, status, class, content)
SELECT 'instagram', 'instagram_account', n::text, 'picture', 'https://origin.invalid/' || n, 'COMPLETE', 0, %s FROM generate_series(1, %s) n
"""
FEW = 100
WARM_UP = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=int, default=200, help="calls a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each part")
    parser.add_argument("--rows", type=int, default=100_000, help="assets")
    options = parser.parse_args()
    with temporary_home() as home:
        postgres, valkey = PostgresServer.at(home), ValkeyServer.at(home)
        with running(home, postgres, valkey):
            migrate.upgrade(postgres.url)
            ids = rows(postgres.url, options.rows)
            settings = Settings(
                database_url=postgres.url,
                redis_url=valkey.url,
                vault_keys=KEY,
                message_keys=KEY,
                asset_base_url="https://cdn.example.com",
            )
            with serving(home, settings, "api") as api:
                asyncio.run(measure(api, ids, options.rate, options.seconds))


def rows(url: str, count: int) -> list[str]:
    content = hashlib.sha256(b"picture").digest()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO asset_object (content, bytes, media_type) VALUES (%s, 7, 'image/jpeg')", (content,)
        )
        connection.execute(ADD, (content, count))
        connection.execute("VACUUM ANALYZE asset_log")
        found = connection.execute("SELECT public_id::text FROM asset_log ORDER BY random()").fetchall()
        return [str(row[0]) for row in found]


async def measure(api: str, ids: list[str], rate: int, seconds: float) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        await steady(http, api, itertools.repeat(f"assets/{ids[0]}"), 302, rate, WARM_UP / rate)
        kinds: tuple[tuple[str, Iterator[str], int], ...] = (
            ("each once", (f"assets/{each}" for each in ids[FEW:]), 302),
            ("few again", (f"assets/{each}" for each in itertools.cycle(ids[:FEW])), 302),
            ("unknown", (f"assets/{uuid.uuid4()}" for _ in itertools.count()), 404),
            ("healthz", itertools.repeat("healthz"), 200),
        )
        for name, wanted, status in kinds:
            took = await steady(http, api, wanted, status, rate, seconds)
            p = [took[min(int(len(took) * share), len(took) - 1)] * 1000 for share in (0.5, 0.95, 0.99)]
            print(
                f"{name}: {rate}/s, p50 {p[0]:.1f} ms, p95 {p[1]:.1f} ms, p99 {p[2]:.1f} ms (of {len(took)})",
                flush=True,
            )


async def steady(
    http: aiohttp.ClientSession, api: str, wanted: Iterator[str], status: int, rate: int, seconds: float
) -> list[float]:
    """Seconds that each took, sorted."""
    took: list[float] = []

    async def one(path: str) -> None:
        began = time.perf_counter()
        async with http.get(f"{api}/{path}", allow_redirects=False) as response:
            assert response.status == status, await response.text()
        took.append(time.perf_counter() - began)

    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, begin + number / rate - time.perf_counter()))
            group.create_task(one(next(wanted)))
    return sorted(took)


if __name__ == "__main__":
    main()
