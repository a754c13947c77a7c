"""The Graph API's "does not exist, or cannot be loaded due to missing permissions": the token is asked before anybody is blamed.

Against the simulator, whose ledger is compared with what was charged and traced.
"""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.platforms.registry import platforms
from beat_actors.requests import intake, sweeps
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from beat_actors.simulator import SimulatorClient, SimulatorConfig, running
from tests.stages import retrieve
from tests.worlds import MovableClock

OWNER = "17841400000000007"
GONE = "18000000000999001"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running(SimulatorConfig(profiles=50, drift_seconds=0)) as url:
        yield url


@pytest.fixture
async def simulator(url: str) -> AsyncIterator[SimulatorClient]:
    async with SimulatorClient(url) as client:
        yield client


@pytest.fixture
async def engine(settings: Settings, url: str) -> AsyncIterator[Engine]:
    engine = Engine.start(settings.model_copy(update={"simulator_url": url}), name="test")
    yield engine
    await engine.close()


@pytest.fixture
def clock(database_url: str) -> MovableClock:
    clock = MovableClock(database_url)
    yield clock
    clock.close()


async def add(engine: Engine, token: str = "token-1234") -> int:
    credential, _ = await engine.credentials.add("graphapi", {"token": token, "user_id": OWNER})
    return credential


async def asked(engine: Engine, count: int = 1) -> list[int]:
    """Ask for so many posts that are not there, make the calls, settle them; the requests."""
    wanted = [
        NewRequest("instagram", "refresh_own_post", {"user_id": OWNER, "media_id": str(int(GONE) + n)})
        for n in range(count)
    ]
    accepted = await intake.accept(engine.database, wanted)
    await worked(engine)
    return [one.id for one in accepted]


async def worked(engine: Engine) -> None:
    await retrieve(engine, (await turn(engine.database, platforms()["instagram"])).leased)
    await turn(engine.database, platforms()["instagram"])


async def rows(engine: Engine, sql: str, *params: Any) -> list[Any]:
    async with engine.database.transaction() as transaction:
        return await transaction.rows(sql, params)


async def outcomes(engine: Engine) -> list[tuple[str, str]]:
    return [tuple(row) for row in await rows(engine, "SELECT operation, outcome FROM trace_log ORDER BY at, operation")]


async def assert_the_books_agree(engine: Engine, simulator: SimulatorClient) -> None:
    ledger = (await simulator.ledger())["by_source"]["graphapi"]
    traced = await rows(engine, "SELECT count(*) AS n FROM trace_log")
    charged = await rows(engine, "SELECT calls AS n FROM credential_usage WHERE limit_name = 'total'")
    assert ledger["calls"] == traced[0].n == sum(row.n for row in charged)
    assert ledger["over_limit"] == 0
    assert await rows(engine, "SELECT FROM credential_call") == await rows(engine, "SELECT FROM settlement") == []


async def test_with_a_token_that_may_the_thing_is_missing(engine: Engine, simulator: SimulatorClient) -> None:
    await add(engine)
    (request,) = await asked(engine)
    (row,) = await rows(engine, "SELECT status, data FROM scrape_request_log WHERE id = %s", request)
    assert (row.status, row.data["error"]["code"]) == ("FAILED", "missing")
    assert await outcomes(engine) == [("credential_check", "ok"), ("own_post", "missing")]
    traces = await rows(engine, "SELECT request_id FROM trace_log")
    assert [trace.request_id for trace in traces] == [request, request]  # whose answer was ambiguous
    assert (await simulator.ledger())["by_source"]["graphapi"]["by_operation"] == {"own_post": 1, "debug_token": 1}
    await assert_the_books_agree(engine, simulator)


async def test_many_ambiguous_answers_ask_once(engine: Engine, simulator: SimulatorClient) -> None:
    await add(engine)
    ids = await asked(engine, 10)
    ids += await asked(engine, 5)  # these are known to be missing
    assert {row.status for row in await rows(engine, "SELECT status FROM scrape_request_log")} == {"FAILED"}
    assert (await simulator.ledger())["by_source"]["graphapi"]["by_operation"] == {"own_post": 10, "debug_token": 1}
    assert len(ids) == 15
    await assert_the_books_agree(engine, simulator)


async def test_a_token_without_the_scope_may_not_and_another_may(engine: Engine, simulator: SimulatorClient) -> None:
    poor, rich = await add(engine, "poor-token"), await add(engine, "rich-token")
    await simulator.add_credential("graphapi", "poor-token", scopes=["pages_show_list"])
    await engine.credentials.disable(rich, reason="so that the poor one is asked")
    (request,) = await asked(engine)
    info = await engine.credentials.info(poor)
    assert (info.state, info.denied, info.scopes) == ("ready", ["own_post"], ["pages_show_list"])
    assert ("own_post", "permission_missing") in await outcomes(engine)
    (event,) = await rows(engine, "SELECT cause FROM credential_event WHERE kind = 'denied'")
    assert "instagram_basic" in event.cause["detail"]
    (waits,) = await rows(engine, "SELECT stage FROM scrape_fetch WHERE request_id = %s", request)
    assert waits.stage == "WAITING"
    await engine.credentials.enable(rich, reason="now")
    await worked(engine)
    (row,) = await rows(engine, "SELECT data FROM scrape_request_log WHERE id = %s", request)
    assert row.data["error"]["code"] == "missing"
    await assert_the_books_agree(engine, simulator)


async def test_a_token_whose_access_to_data_is_over_is_dead(engine: Engine, simulator: SimulatorClient) -> None:
    credential = await add(engine)
    await simulator.add_credential("graphapi", "token-1234", data_access_expires_at=int(time.time()) - 60)
    (request,) = await asked(engine)
    info = await engine.credentials.info(credential)
    assert (info.state, info.data_access_expires_at is not None) == ("dead", True)
    assert "log in again" in info.dead_reason
    (waits,) = await rows(engine, "SELECT stage, rotations FROM scrape_fetch WHERE request_id = %s", request)
    assert (waits.stage, waits.rotations) == ("WAITING", 1)
    (row,) = await rows(engine, "SELECT status FROM scrape_request_log WHERE id = %s", request)
    assert row.status == "PROCESSING"
    await assert_the_books_agree(engine, simulator)


@pytest.mark.parametrize("why", ["outage", "html"])
async def test_while_nobody_can_be_asked_the_fetch_waits(
    engine: Engine, simulator: SimulatorClient, clock: MovableClock, why: str
) -> None:
    credential = await add(engine)
    await simulator.add_fault(why, "graphapi", operation="debug_token")
    (request,) = await asked(engine)
    (fetch,) = await rows(engine, "SELECT stage, waiting_for, not_before FROM scrape_fetch")
    assert (fetch.stage, fetch.waiting_for) == ("WAITING", "doubtful")
    assert 55 < fetch.not_before.timestamp() - clock.now() < 75
    assert (await engine.credentials.info(credential)).state == "ready"
    await simulator.clear_faults()
    clock.advance(80)
    assert "instagram" in (await sweeps.due(engine.database)).wake
    await worked(engine)
    (row,) = await rows(engine, "SELECT status, data FROM scrape_request_log WHERE id = %s", request)
    assert (row.status, row.data["error"]["code"]) == ("FAILED", "missing")
    await assert_the_books_agree(engine, simulator)


async def test_p4_without_room_for_the_question_it_is_not_asked(
    engine: Engine, simulator: SimulatorClient, clock: MovableClock
) -> None:
    """Two hundred calls an hour: the last of them is the ambiguous answer."""
    await add(engine)
    await rows(
        engine,
        "INSERT INTO credential_usage (subject, limit_name, head, counts) SELECT 'credential:' || id, 'rolling hour', "
        "floor(%s / ((3600 + 2) / 20.0)), '{199}' FROM credential RETURNING subject",
        clock.now(),
    )
    await asked(engine)
    (fetch,) = await rows(engine, "SELECT stage, waiting_for FROM scrape_fetch")
    assert (fetch.stage, fetch.waiting_for) == ("WAITING", "doubtful")
    assert (await simulator.ledger())["by_source"]["graphapi"]["by_operation"] == {"own_post": 1}
    await assert_the_books_agree(engine, simulator)


async def test_a_revoked_token_is_dead_and_not_ambiguous(engine: Engine, simulator: SimulatorClient) -> None:
    credential = await add(engine)
    await simulator.add_credential("graphapi", "token-1234", revoked=True)
    await asked(engine)
    assert (await engine.credentials.info(credential)).state == "dead"
    assert await outcomes(engine) == [("own_post", "credential_dead")]
    await assert_the_books_agree(engine, simulator)
