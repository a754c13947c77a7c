"""What an idle stack costs, and what one request takes on it: `make measure`.

Prints the share of one core that all of Beat's and the servers' processes use, database queries a second, and the time from
a request's insertion to its completion, less the provider's own latency, which is nothing here. Figures of one machine, one run.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp
import psutil
import psycopg

from beat_actors.database import migrate
from beat_actors.engine import Engine
from beat_actors.local.stack import Stack
from beat_actors.settings import Settings

SECONDS = 20.0
REQUESTS = 40
# Every statement, BEGIN, COMMIT and pings too.
QUERIES = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE datname = current_database()"
COUNTED = {"shared_preload_libraries": "pg_stat_statements"}
TOOK = "SELECT extract(epoch FROM scraped_at - created_at)::float8 * 1000, status FROM scrape_request_log WHERE id = %s"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="beat-") as folder:
        stack = Stack(Path(folder) / "stack", postgres_settings=COUNTED)
        try:
            with stack.running(migrate=migrate.upgrade):
                asyncio.run(add_credential(stack))
                took = asyncio.run(requests(stack))
                time.sleep(5)
                idle(stack)
                told = ", ".join(f"p{p} {statistics.quantiles(took, n=100)[p - 1]:.0f} ms" for p in (50, 95))
                print(f"one request on the idle stack: {told} (of {len(took)}, one after another)")
        finally:
            stack.home.erase()


def idle(stack: Stack) -> None:
    family = [psutil.Process(s.pid) for s in stack.supervisor.status() if s.pid is not None]
    family += [child for process in family for child in process.children(recursive=True)]
    with psycopg.connect(stack.postgres.url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        before = {process.pid: spent(process) for process in family}
        queries = connection.execute(QUERIES).fetchone()
        time.sleep(SECONDS)
        after = connection.execute(QUERIES).fetchone()
        used = sum(spent(process) - before[process.pid] for process in family if process.is_running())
    assert queries is not None
    assert after is not None
    print(f"idle: {used / SECONDS:.1%} of one core in {len(family)} processes")
    print(f"idle: {(after[0] - queries[0]) / SECONDS:.1f} database queries a second")


def spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def add_credential(stack: Stack) -> None:
    env = stack.env
    settings = Settings(
        database_url=env["BEAT_DATABASE_URL"],
        redis_url=env["BEAT_REDIS_URL"],
        vault_keys=env["BEAT_VAULT_KEYS"],
        message_keys=env["BEAT_MESSAGE_KEYS"],
    )
    engine = Engine.start(settings, name="bench")
    await engine.credentials.add("graphapi", {"token": "bench", "user_id": "17841400000000001"})
    await engine.close()


async def requests(stack: Stack) -> list[float]:
    """Milliseconds from insertion to completion, each request alone on the stack; the first two only warm it."""
    took = []
    async with aiohttp.ClientSession(headers=stack.authorization) as http:
        for number in range(REQUESTS + 2):
            body = {
                "platform": "instagram",
                "flow": "refresh_profile_by_handle",
                "params": {"handle": f"creator_{number:06d}"},
                "priority": "customer",
            }
            async with http.post(f"{stack.api_url}/v1/scrape-requests", json=body) as response:
                request = (await response.json())["id"]
            with psycopg.connect(stack.postgres.url, autocommit=True) as connection:
                while True:
                    row = connection.execute(TOOK, (request,)).fetchone()
                    assert row is not None
                    if row[1] == "COMPLETE":
                        took.append(row[0])
                        break
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)
    return took[2:]


if __name__ == "__main__":
    main()
