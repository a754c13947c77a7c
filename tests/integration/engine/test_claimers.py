"""Many more claimers than connections, and each piece of work wanted by several of them."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from beat_actors.broker.turn import turn
from beat_actors.database import Database
from beat_actors.engine import Engine
from beat_actors.errors import StorageUnavailable
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from tests.observing import rows
from tests.stages import retrieve
from tests.worlds import TOY, First, ScriptedClient, answer, engine_with, registered

PROCESSES, EACH, CONNECTIONS = 15, 10, 3
REQUESTS = 600


class Free(First):
    limits = ()


MANY = replace(TOY, name="many", sources={Free.name: Free()}, chains={"look": (Free.name,)})


class Asked(ScriptedClient):
    """Remembers what each call was for, and takes long enough for others to come."""

    def __init__(self) -> None:
        super().__init__(lambda *_: answer())
        self.names: Counter[str] = Counter()

    async def exchange(self, source, call):
        self.names[call.query["of"]] += 1
        await asyncio.sleep(random.uniform(0, 0.02))
        return await super().exchange(source, call)


@pytest.fixture
async def engines(settings: Settings) -> AsyncIterator[list[Engine]]:
    """One for each process; all ask through one client."""
    client = Asked()
    # Patient, because all of them wait for the lock of one platform, and nobody sweeps up here what a refused one leaves.
    pool = {"database_pool_size": CONNECTIONS, "database_max_overflow": 0, "database_pool_timeout": 20.0}
    settings = settings.model_copy(update=pool)
    with registered(MANY):
        engines = [engine_with(settings, client, name=f"claimer {n}") for n in range(PROCESSES)]
        yield engines
        for engine in engines:
            await engine.close()


@pytest.mark.exhaustive
async def test_s2_4_and_s2_9_and_s4_2_of_150_claimers_one_alone_gets_each_piece_of_work(engines: list[Engine]) -> None:
    """The claimers share a bounded number of connections, and a claimer that finds none free comes back."""
    database = engines[0].database
    await engines[0].credentials.add(Free.name, {"key": "a"})
    await intake.accept(database, [NewRequest("many", "look", {"name": f"n{n}"}) for n in range(REQUESTS)])
    handed: dict[str, list[list[int]]] = {"retrieve": [], "ingest": [], "process": []}
    stages = {"retrieve": (retrieve, "ingest"), "ingest": (ingest, "process"), "process": (process, None)}
    ended = asyncio.Event()
    most_connections = 0

    def hand(stage: str, ids: list[int]) -> None:
        # As after a lost acknowledgement: the same message for three, and a mixed one.
        if ids:
            handed[stage] += [ids, ids, ids, [*ids, *random.choice(handed[stage] or [[]])]]

    async def claim(engine: Engine) -> None:
        while not ended.is_set():
            try:
                if leased := (await turn(engine.database, MANY)).leased:
                    hand("retrieve", leased)
                for stage, (run, following) in stages.items():
                    if handed[stage]:
                        ids = handed[stage].pop(random.randrange(len(handed[stage])))
                        result = await run(engine, ids)
                        if following:
                            hand(following, list(result.next))
            except StorageUnavailable:
                continue
            await asyncio.sleep(0.01)

    async def watch() -> None:
        nonlocal most_connections
        while True:
            ((open_requests, connections),) = await rows(
                observer,
                "SELECT (SELECT count(*) FROM scrape_request_log WHERE status IN ('PENDING', 'PROCESSING')) AS open, "
                "(SELECT count(*) FROM pg_stat_activity WHERE starts_with(application_name, 'beat claimer')) AS connected",
            )
            most_connections = max(most_connections, connections)
            if open_requests == 0:
                ended.set()
                return
            await asyncio.sleep(0.2)

    observer = Database(engines[0].settings, name="observer")  # it is none of those that contend for a pool
    try:
        async with asyncio.timeout(90):
            await asyncio.gather(watch(), *(claim(engine) for engine in engines for _ in range(EACH)))
    finally:
        await observer.close()

    client = engines[0].client
    assert isinstance(client, Asked)
    assert client.names == {f"n{n}": 1 for n in range(REQUESTS)}
    assert await rows(database, "SELECT status, count(*) FROM scrape_request_log GROUP BY 1") == [
        ("COMPLETE", REQUESTS)
    ]
    # The fence rises with each claim: once for each stage. A lease goes back unused, and is claimed again, where no connection comes
    # free to ask about its credential.
    assert await rows(database, "SELECT count(*) FROM scrape_fetch WHERE fence = attempt + 2") == [(REQUESTS,)]
    assert await rows(database, "SELECT count(*) AS calls, count(DISTINCT fetch_id) AS fetches FROM trace_log") == [
        (REQUESTS, REQUESTS)
    ]
    assert await rows(database, "SELECT sum(calls)::int FROM credential_usage WHERE limit_name = 'total'") == [
        (REQUESTS,)
    ]
    assert PROCESSES < most_connections <= PROCESSES * CONNECTIONS
