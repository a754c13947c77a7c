"""What one urgent request takes while a batch keeps the engine at a share of its capacity: `python -m bench.latency`.

The upstream answers within a millisecond, so what is measured is the engine's own share: from the request's insertion to its
completion, and how much of that lies before its call is claimed. One run on one machine.
"""

import argparse
import asyncio
import statistics
import time

import psycopg

from actors.mailbox import Mailbox
from beat_actors.database import migrate
from beat_actors.engine import Engine
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import PostgresServer, ValkeyServer, running
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.states import Priority
from bench import engine
from bench.contender import handle
from bench.upstream import upstream

HANDLES = 2000
EVERY = 0.1
TOOK = """
SELECT extract(epoch FROM scraped_at - created_at)::float8 * 1000, extract(epoch FROM picked_at - created_at)::float8 * 1000
FROM scrape_request_log WHERE priority = 1 AND status = 'COMPLETE' AND created_at > to_timestamp(%s)
"""
BATCH = "SELECT count(*) FROM scrape_request_log WHERE priority = 3 AND scraped_at BETWEEN to_timestamp(%s) AND to_timestamp(%s)"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=int, required=True, help="batch requests a second, such as 70 %% of capacity")
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    with temporary_home() as home:
        postgres, valkey, answers = PostgresServer.at(home), ValkeyServer.at(home), upstream(home, HANDLES)
        with running(home, postgres, valkey, answers):
            migrate.upgrade(postgres.url)
            setup = engine.Setup(postgres.url, valkey.url, f"http://127.0.0.1:{answers.port}", defaults=True)
            asyncio.run(engine.prepare(setup, [handle(0)], 1))
            with engine.working(setup), psycopg.connect(postgres.url, autocommit=True) as connection:
                until_they_listen(setup)
                began = time.time()
                asyncio.run(load(setup, options.rate, options.seconds))
                ended = time.time()
                time.sleep(3)
                took = connection.execute(TOOK, (began + 3,)).fetchall()
                (batch,) = connection.execute(BATCH, (began, ended)).fetchone() or (0,)
    print(f"batch: {options.rate} requests/s offered, {batch / options.seconds:.0f}/s completed meanwhile")
    for name, values in (("whole", [row[0] for row in took]), ("until claimed", [row[1] for row in took])):
        cuts = statistics.quantiles(values, n=100)
        print(f"urgent, {name}: p50 {cuts[49]:.0f} ms, p95 {cuts[94]:.0f} ms, p99 {cuts[98]:.0f} ms (of {len(values)})")


def until_they_listen(setup: engine.Setup) -> None:
    """Raises `TimeoutError` where a worker does not start within a minute."""
    mailbox, ends = Mailbox(engine.settings_of(setup)), time.monotonic() + 60
    try:
        while mailbox.listeners() < setup.processes:
            if time.monotonic() > ends:
                raise TimeoutError("the workers did not start")
            time.sleep(0.1)
    finally:
        mailbox.close()


async def load(setup: engine.Setup, rate: int, seconds: int) -> None:
    """Offer the batch evenly, and an urgent request at each step."""
    settings = engine.settings_of(setup)
    beat, mailbox = Engine.start(settings, name="bench"), Mailbox(settings)
    number = 0
    begin = time.monotonic()
    try:
        for step in range(int(seconds / EVERY)):
            wanted = []
            for _ in range(int(rate * EVERY)):
                number += 1
                wanted.append(_request(number, Priority.BATCH))
            await intake.accept(beat.database, wanted)
            await intake.accept(beat.database, [_request(step, Priority.CUSTOMER)])
            await mailbox.wake("instagram")
            await asyncio.sleep(max(0.0, begin + (step + 1) * EVERY - time.monotonic()))
    finally:
        mailbox.close()
        await beat.close()


def _request(number: int, priority: Priority) -> NewRequest:
    return NewRequest(
        "instagram", "refresh_profile_by_handle", {"handle": handle(number % HANDLES)}, priority, force=True
    )


if __name__ == "__main__":
    main()
