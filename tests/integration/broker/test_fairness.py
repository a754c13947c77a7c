"""Each account waits behind its own work alone, through real turns."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from beat_actors.broker.fair import LOWER_SHARE
from beat_actors.broker.leasing import CANDIDATES
from beat_actors.broker.turn import turn
from beat_actors.database import jsonb
from beat_actors.engine import Engine
from beat_actors.requests import intake, states
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from tests.worlds import TOY, ScriptedClient, answer, engine_with, registered

pytestmark = pytest.mark.slow

FLOOD = """
WITH request AS (
    INSERT INTO scrape_request_log (platform, flow, params, account_id)
    SELECT 'toy', 'look', '{"name": "somebody"}', %s FROM generate_series(1, %s) RETURNING id
)
INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority, tenant)
SELECT r.id, f.lane_id, f.platform, f.operation, f.params, f.priority, beat_tenant(%s, NULL)
FROM request r, (SELECT * FROM scrape_fetch ORDER BY id LIMIT 1) f
"""
# The calls came back, and the limits have room again.
DONE = "UPDATE scrape_fetch SET stage = 'DONE' WHERE stage = 'LEASED' RETURNING tenant"


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    engine = engine_with(settings, ScriptedClient(lambda source, call: answer()))
    with registered(TOY):
        for n in range(40):
            await engine.credentials.add("toy-third", {"key": f"k{n}"})
        yield engine
    await engine.close()


async def ask(engine: Engine, account: str | None, *names: str, **fields: object) -> None:
    wanted = [NewRequest("toy", "look", {"name": name}, account_id=account, **fields) for name in names]
    await intake.accept(engine.database, wanted)


async def flood(engine: Engine, account: str, count: int) -> None:
    async with engine.database.transaction() as transaction:
        await transaction.run("SET LOCAL statement_timeout = 0")
        await transaction.run(FLOOD, (account, count, account))


async def served(engine: Engine) -> Counter[str]:
    """The tenants of one turn's leases, whose calls are then over."""
    await turn(engine.database, TOY)
    async with engine.database.transaction() as transaction:
        await transaction.run("UPDATE credential_usage SET counts = '{}'")
        return Counter(row.tenant for row in await transaction.rows(DONE))


async def test_one_request_waits_a_turn_behind_another_accounts_backlog(engine: Engine) -> None:
    await ask(engine, "a", "first")
    await flood(engine, "a", 100_000)
    await ask(engine, "b", "only")
    got = await served(engine)
    assert got["account/b"] == 1
    assert got["account/a"] > 1


async def test_many_small_accounts_are_served_before_a_flood_goes_on(engine: Engine) -> None:
    await ask(engine, "a", "first")
    await flood(engine, "a", 5000)
    for n in range(300):
        await ask(engine, f"small-{n:03}", "only")
    got: Counter[str] = Counter()
    while sum(count for tenant, count in got.items() if tenant.startswith("account/small")) < 300:
        turn_ = await served(engine)
        assert turn_, "every turn gives leases"
        got += turn_
    assert got["account/a"] < 600
    assert max(count for tenant, count in got.items() if tenant != "account/a") == 1


async def test_accounts_and_keys_of_the_installation_get_equal_shares(engine: Engine) -> None:
    await ask(engine, "a", "first")
    await flood(engine, "a", 2000)
    await ask(engine, "b", *(f"n{n}" for n in range(400)))
    await ask(engine, None, *(f"n{n}" for n in range(400)), api_key_id=7)
    got: Counter[str] = Counter()
    while got.total() < 300:
        got += await served(engine)
    assert set(got) == {"account/a", "account/b", "key/7"}
    assert max(got.values()) - min(got.values()) <= 0.1 * max(got.values())


async def test_what_has_waited_for_long_stays_in_its_class(engine: Engine) -> None:
    await ask(engine, "a", *(f"n{n}" for n in range(300)), priority=states.Priority.BATCH)
    async with engine.database.transaction() as transaction:
        await transaction.run("UPDATE scrape_fetch SET created_at = created_at - interval '1 day'")
    await ask(engine, "b", *(f"n{n}" for n in range(300)), priority=states.Priority.CUSTOMER)
    got = await served(engine)
    assert 0 < got["account/a"] <= got.total() / LOWER_SHARE + 1


async def test_a_turn_reads_as_much_for_many_tenants_as_for_few(engine: Engine) -> None:
    await ask(engine, "a", "first")
    for n in range(30):
        await flood(engine, f"t{n:02}", 200)
    async with engine.database.transaction() as transaction:
        lane = await transaction.value("SELECT id FROM lane ORDER BY id LIMIT 1")
        for tenants in (10, 30):
            lanes = jsonb([{"id": lane, "served": "account/t20", "rows": tenants}])
            found = await transaction.rows(CANDIDATES, {"lanes": lanes, "now": 0.0})
            assert len({row.tenant for row in found}) == tenants
            assert len(found) <= 5 * tenants
            assert found[0].tenant == "account/t21"
