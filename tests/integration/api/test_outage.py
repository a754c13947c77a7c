"""A provider that alone can tell something is down: what is known is answered as what it is, and its refresh waits."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.instagram import InstagramAccount, platform
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from beat_actors.simulator import Population, SimulatorClient, SimulatorConfig, running
from beat_actors.transport.http import ProviderClient
from tests.observing import age, observe, rows
from tests.stages import retrieve
from tests.worlds import engine_with

OWNER = Population(50, 1, drift_seconds=0).person(7)
USER = str(OWNER.fbid)
INSIGHTS = f"/v1/profiles/instagram/{OWNER.handle}/insights"
DAY = 86_400


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running(SimulatorConfig(profiles=50, seed=1, drift_seconds=0)) as url:
        yield url


@pytest.fixture
async def engine(settings: Settings, url: str) -> AsyncIterator[Engine]:
    """Every source has a credential, so that any of them could be asked."""
    settings = settings.model_copy(update={"simulator_url": url})
    engine = engine_with(settings, ProviderClient(settings))
    for source in ("arraybobo", "jotucker", "lama", "bestsolutions"):
        await engine.credentials.add(source, {"key": f"{source}-1"})
    await engine.credentials.add("graphapi", {"token": "token-own", "user_id": USER})
    yield engine
    await engine.close()


async def work(engine: Engine) -> None:
    """As far as it goes without time passing."""
    for _ in range(20):
        leased = (await turn(engine.database, platform)).leased
        if not leased:
            return
        retrieved = await retrieve(engine, leased)
        await process(engine, (await ingest(engine, retrieved.next)).next)
    raise AssertionError("there is no end to it")


async def snapshot(engine: Engine) -> datetime:
    """Insights that were observed two days ago."""
    who = InstagramAccount(profile_id=str(OWNER.pk), handle=OWNER.handle, graph_id=USER, followers=OWNER.followers)
    await observe(engine.database, "instagram", who)
    await intake.accept(engine.database, [NewRequest("instagram", "refresh_profile_insights", {"user_id": USER})])
    await work(engine)
    await age(engine.database, 2 * DAY, "instagram_profile_insight")
    ((at,),) = await rows(engine.database, "SELECT min(observed_at) FROM instagram_profile_insight")
    return at


async def freshness(api: Any, path: str = INSIGHTS, **params: str) -> dict[str, Any]:
    answer = await api.simulate_get(path, params=params)
    assert answer.status_code == 200
    return answer.json["freshness"]


@pytest.mark.parametrize("operation", ["profile_insights", "post_insights"])
def test_s1_5_insights_have_one_source_alone(operation: str) -> None:
    assert platform.chains[operation] == ("graphapi",)


async def test_s1_5_and_s1_13_during_an_outage_the_last_insights_are_answered_as_stale_and_refreshed_after_it(
    api: Any, engine: Engine, url: str
) -> None:
    """No other source is asked, however long the outage takes."""
    at = await snapshot(engine)
    known = (await api.simulate_get(INSIGHTS)).json["items"]
    assert known
    asked = "SELECT source, outcome FROM trace_log ORDER BY at"
    before = await rows(engine.database, asked)
    async with SimulatorClient(url) as simulator:
        await simulator.add_fault("outage", "graphapi")
        await work(engine)

        during = await api.simulate_get(INSIGHTS)
        block = during.json["freshness"]
        assert (during.status_code, during.json["items"]) == (200, known)
        assert (block["mode"], block["source"], block["refresh_started"]) == ("stale", "graphapi", False)
        assert datetime.fromisoformat(block["as_of"]) == at
        assert "graphapi" in block["why"]
        assert block["next_attempt_at"] is not None
        request = (await api.simulate_get(block["refresh"])).json
        assert request["status"] in ("PENDING", "PROCESSING")
        tried = (await rows(engine.database, asked))[len(before) :]
        assert {source for source, _ in tried} == {"graphapi"}
        assert "upstream_down" in {outcome for _, outcome in tried}

        await simulator.clear_faults()
    # As if the rest that the outage costs were over.
    await rows(engine.database, "UPDATE breaker SET open_until = clock_timestamp() RETURNING 1")
    await rows(engine.database, "UPDATE scrape_fetch SET not_before = NULL WHERE stage = 'WAITING' RETURNING 1")
    await rows(engine.database, "UPDATE lane SET blocked_until = NULL RETURNING 1")
    await work(engine)
    assert (await api.simulate_get(block["refresh"])).json["status"] == "COMPLETE"
    after = await freshness(api)
    assert (after["mode"], after["refresh"]) == ("fresh", None)
    assert datetime.fromisoformat(after["as_of"]) > at
    assert {source for source, _ in await rows(engine.database, asked)} == {"graphapi"}
