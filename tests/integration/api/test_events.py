"""Events of the log over HTTP: who may read which, and what operators see."""

from typing import Any

from beat_actors.access.scopes import Scope
from beat_actors.database import Composed, Database
from beat_actors.settings import Settings
from tests.events import sequence_all
from tests.integration.api.conftest import Keys, app_over, bearer
from tests.integration.api.promised import Promised

WRITE = Composed(
    "tests/write",
    """
INSERT INTO event (event_id, type, subject, account_id, owner, data) VALUES
    (gen_random_uuid(), 'beat.scrape_request.complete', 'scrape_request/1', 'acme', '', '{}'),
    (gen_random_uuid(), 'beat.scrape_request.complete', 'scrape_request/2', 'other', '', '{}'),
    (gen_random_uuid(), 'beat.data.changed', 'of_shop', 'acme', 'shop.example', '{"platform": "shopify"}'),
    (gen_random_uuid(), 'beat.alert.opened', 'alert/1', NULL, '', '{}')
""",
)
GRANT = Composed(
    "tests/grant",
    "INSERT INTO owner_grant (account_id, platform, owner, granted_by) VALUES ('acme', 'shopify', 'shop.example', 'test')",
)


async def test_an_account_reads_its_own_events_and_no_others(
    settings: Settings, wake_ups: Any, database: Database, new_key: Keys
) -> None:
    async with database.transaction() as transaction:
        await transaction.run(WRITE)
    await sequence_all(database)
    keys = {
        "acme": await new_key(Scope.READ, account_id="acme"),
        "reader": await new_key(Scope.READ),
        "operator": await new_key(Scope.OPERATE),
    }

    async def seen(key: str) -> list[int]:
        codes: list[int] = []
        async with Promised(app_over(settings, wake_ups), headers=bearer(keys[key])) as api:
            codes += [(await api.simulate_get(f"/v1/events/{seq}")).status_code for seq in range(1, 6)]
        return codes

    assert await seen("acme") == [200, 404, 404, 404, 404]
    assert await seen("reader") == [404] * 5
    assert await seen("operator") == [200, 200, 200, 200, 404]
    async with database.transaction() as transaction:
        await transaction.run(GRANT)
    assert await seen("acme") == [200, 404, 200, 404, 404]
    async with Promised(app_over(settings, wake_ups), headers=bearer(keys["operator"])) as api:
        page = (await api.simulate_get("/v1/events", params={"type": "beat.scrape_request.*"})).json
        assert [one["subject"] for one in page["events"]] == ["scrape_request/1", "scrape_request/2"]
        assert (page["next"], page["last"]) == (4, 4)
        assert (await api.simulate_get("/v1/events", params={"after": "4"})).json["events"] == []
        assert (await api.simulate_get("/v1/events/sinks")).json["sinks"] == []
