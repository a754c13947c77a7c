"""An engine whose traces go to a collector, and work that ends in all ways."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from beat_actors.database import Database
from beat_actors.events import log
from beat_actors.settings import Settings
from beat_actors.traces.exporting import Exporter
from tests.collector import Collector
from tests.integration.requests.conftest import World, clock
from tests.worlds import TOY, MovableClock, ScriptedClient, answer, engine_with, registered

__all__ = ["clock"]


class Traced(World):
    """A world with a collector."""

    collector: Collector
    exporter: Exporter

    async def export(self, database: Database | None = None) -> int:
        """One run of the sweep; how many traces. `database`: with other settings."""
        async with self.engine.database.statements() as alone:
            await log.sequence(alone)
        return (await self.exporter.sweep(database or self.engine.database)).count

    async def sums(self) -> dict[str, float]:
        """What is counted of traces, by name and label."""
        rows = await self.rows("SELECT sums FROM metric_sum WHERE name = 'traces'")
        return {" ".join([name, *labels]): value for name, labels, value, *_ in rows[0].sums}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    await collector.start()
    yield collector
    await collector.stop()


@pytest.fixture
def traced_settings(settings: Settings, collector: Collector) -> Settings:
    assert collector.server is not None
    url = str(collector.server.make_url("")).rstrip("/")
    return settings.model_copy(update={"otlp_endpoint": url, "trace_sample": 1.0})


@pytest.fixture
async def world(traced_settings: Settings, collector: Collector, clock: MovableClock) -> AsyncIterator[Traced]:
    """All traces are kept, and requests are exported as soon as they have ended."""
    del clock  # only connections that are made later know of it
    engine = engine_with(traced_settings, ScriptedClient(lambda source, call: answer()))
    with registered(TOY):
        for source in TOY.sources:
            await engine.credentials.add(source, {"key": f"secret-key-of-{source}"})
        world = Traced(engine)
        world.collector, world.exporter = collector, Exporter(settled=0.0)
        await world.export()  # it begins at the end of the log
        yield world
    await engine.close()


def over(settings: Settings, **changes: Any) -> Database:
    """The database of other settings."""
    return Database(settings.model_copy(update=changes), name="test")
