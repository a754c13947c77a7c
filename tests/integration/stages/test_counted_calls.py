"""The counters of calls, held against the ledger of the simulated providers."""

from beat_actors.broker.turn import turn
from beat_actors.database.reporting import Reporter
from beat_actors.engine import Engine
from beat_actors.pipeline.ingest import ingest
from beat_actors.platforms.instagram import platform
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.simulator import SimulatorClient
from tests.integration.observe.scraped import of, samples, scrape
from tests.integration.stages.conftest import CHAIN
from tests.stages import retrieve

FLOW = "refresh_profile_by_handle"


async def test_s1_3_the_sum_of_the_counted_calls_is_the_ledger_of_the_providers(
    engine: Engine, admin: SimulatorClient
) -> None:
    """While sources fail, refuse and answer what nobody can read, and a process dies over its calls."""
    await admin.add_fault("outage", CHAIN[0])
    await admin.add_fault("malformed", CHAIN[1])
    wanted = [NewRequest("instagram", FLOW, {"handle": f"creator_{n:06d}", "posts": 0}) for n in range(12)]
    await intake.accept(engine.database, wanted)
    for _ in range(12):
        retrieved = await retrieve(engine, (await turn(engine.database, platform)).leased)
        await ingest(engine, retrieved.next, go_on=True)
    await turn(engine.database, platform)
    await Reporter(engine.database, name="worker").report()
    found = samples(await scrape(engine.database))
    ledger = await admin.ledger()
    assert of(found, "beat_upstream_calls_total") == ledger["calls"] > 24
    for source, entry in ledger["by_source"].items():
        assert of(found, "beat_upstream_calls_total", source=source) == sum(entry["by_operation"].values())
    assert of(found, "beat_upstream_calls_total", source=CHAIN[0], outcome="ok") == 0
    assert of(found, "beat_upstream_call_duration_seconds_count") == ledger["calls"]
