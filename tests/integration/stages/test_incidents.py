"""Many unusual records of one source at once: a few of them are asked about, and all of them are decided by that."""

import asyncio

import pytest

from beat_actors.broker import sources
from beat_actors.engine import Engine
from beat_actors.pipeline.deciding import settle_incidents
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.simulator import SimulatorClient
from beat_actors.watch.held import distrusted
from tests.integration.stages.test_gate import FLOW, go_on, only
from tests.observing import rows

HANDLES = [f"creator_{number:06}" for number in range(1, 41)]
FOLLOWERS = "SELECT handle, followers FROM instagram_account ORDER BY handle"
CALLS = "SELECT count(*) AS n FROM scrape_fetch f JOIN held_record h ON h.id = f.witness_of WHERE h.kind = 'profiles'"
OPEN = "SELECT count(*) AS n FROM held_record WHERE kind = 'profiles' AND decided_at IS NULL"


async def refresh_all(engine: Engine) -> None:
    wanted = [NewRequest("instagram", FLOW, {"handle": handle, "posts": 0}, force=True) for handle in HANDLES]
    await intake.accept(engine.database, wanted)
    # Sources have limits: what one cycle cannot lease waits for the next.
    async with asyncio.timeout(200):
        while await rows(engine.database, "SELECT 1 AS one FROM scrape_request_log WHERE live LIMIT 1"):
            await go_on(engine)
            await asyncio.sleep(0.1)


@pytest.fixture
async def known(engine: Engine) -> dict[str, int]:
    """The followers of all profiles, as they are known."""
    await only(engine, "jotucker", "lama", "arraybobo")
    await refresh_all(engine)
    return {row[0]: row[1] for row in await rows(engine.database, FOLLOWERS)}


async def first(engine: Engine) -> str:
    """The source that answers."""
    sql = "SELECT source FROM scrape_fetch WHERE is_first GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
    return str((await rows(engine.database, sql))[0][0])


@pytest.mark.slow
async def test_s6_6_and_s8_4_a_source_whose_answers_are_wrong_leaves_the_chain(
    engine: Engine, admin: SimulatorClient, known: dict[str, int]
) -> None:
    assert len(known) >= 30
    broken = await first(engine)
    await admin.add_fault("corrupt", broken, body="zero")
    await refresh_all(engine)
    await settle_incidents(engine.database)
    assert dict(await rows(engine.database, FOLLOWERS)) == known
    ((calls,),) = await rows(engine.database, CALLS)
    assert 10 <= calls <= 60
    (alert,) = await distrusted(engine.database)
    assert alert.key == f"data:{broken}:profile_by_handle"
    (seen,) = await sources.overview(engine.database, broken)
    assert [(one.operation, one.state) for one in seen.breakers if one.kind == "data"] == [
        ("profile_by_handle", "open")
    ]
    before = await rows(engine.database, "SELECT max(id) AS id FROM scrape_fetch")
    await refresh_all(engine)
    asked = await rows(
        engine.database,
        "SELECT source, count(*) AS n FROM scrape_fetch WHERE is_first AND id > %s GROUP BY 1",
        before[0],
    )
    assert dict(asked).get(broken, 0) <= 5
    assert dict(await rows(engine.database, FOLLOWERS)) == known
    await sources.close_breaker(engine.database, broken, None, actor="test", reason="corrected")
    assert await distrusted(engine.database) == []


@pytest.mark.slow
async def test_s8_4_a_purge_is_believed_after_a_sample(
    engine: Engine, admin: SimulatorClient, known: dict[str, int]
) -> None:
    await admin.let_happen("viral", size=0.6)
    await refresh_all(engine)
    await settle_incidents(engine.database)
    ((calls,),) = await rows(engine.database, CALLS)
    assert calls <= 60
    assert await rows(engine.database, OPEN) == [(0,)]
    now = dict(await rows(engine.database, FOLLOWERS))
    assert all(now[handle] == round(before * 0.6) or before < 50 for handle, before in known.items())
    assert await distrusted(engine.database) == []
