"""The engine over a platform with three sources, and one way to let work run to its end."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.requests import intake, lifecycle
from beat_actors.requests.intake import Accepted, NewRequest
from beat_actors.settings import Settings
from tests.events import ENDS, LIVES, lives
from tests.stages import retrieve
from tests.worlds import TOY, MovableClock, ScriptedClient, answer, engine_with, registered


class World:
    """An engine, and what tests do with it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.client: ScriptedClient = engine.client

    async def ask(self, name: str = "n", **fields: Any) -> Accepted:
        (accepted,) = await intake.accept(self.engine.database, [NewRequest("toy", "look", {"name": name}, **fields)])
        return accepted

    async def run(self) -> None:
        """Turn and work until nothing is left to do."""
        await self.work((await turn(self.engine.database, TOY)).leased)

    async def work(self, leased: list[int]) -> None:
        """Do what is leased, and what comes of it."""
        while leased:
            retrieved = await retrieve(self.engine, leased)
            await process(self.engine, (await ingest(self.engine, retrieved.next)).next)
            leased = (await turn(self.engine.database, TOY)).leased

    async def cancel(self, *ids: int) -> list[int]:
        async with self.engine.database.transaction() as transaction:
            return await lifecycle.cancel(transaction, ids, reason="no longer wanted")

    async def rows(self, sql: str, *params: Any) -> list[Any]:
        async with self.engine.database.transaction() as transaction:
            return await transaction.rows(sql, params)

    async def statuses(self) -> dict[int, str]:
        return {row.id: row.status for row in await self.rows("SELECT id, status FROM scrape_request_log")}

    async def request(self, request_id: int) -> Any:
        (row,) = await self.rows("SELECT * FROM scrape_request_log WHERE id = %s", request_id)
        return row

    async def ends(self) -> list[tuple[int, str]]:
        """(request, end) of each event that says how a request ended."""
        found = await self.rows(
            f"SELECT (data->>'id')::bigint AS id, data->>'status' AS status FROM event o WHERE {ENDS} ORDER BY o.id"
        )
        return [(row.id, row.status) for row in found]

    async def lives(self) -> dict[int, list[str]]:
        """What happened to each request, in order."""
        return lives(await self.rows(LIVES))


@pytest.fixture
def clock(database_url: str) -> Iterator[MovableClock]:
    clock = MovableClock(database_url)
    yield clock
    clock.close()


@pytest.fixture
async def world(settings: Settings, clock: MovableClock) -> AsyncIterator[World]:
    del clock  # only connections that are made later know of it
    engine = engine_with(settings, ScriptedClient(lambda source, call: answer()))
    with registered(TOY):
        await engine.credentials.add("toy-second", {"key": "a"})
        yield World(engine)
    await engine.close()
