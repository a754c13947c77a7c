"""A tenant has a cap of open requests; over it the API refuses with 429 and writes nothing."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from beat_actors.access.scopes import Scope
from beat_actors.database import Database
from beat_actors.requests import open_requests
from tests.integration.api.conftest import Keys, app_over, bearer
from tests.integration.api.promised import Promised

ROUTE = "/v1/scrape-requests"
REFRESH = "/v1/profiles/instagram/c/refresh"


def asked(handle: str) -> dict[str, Any]:
    return {"platform": "instagram", "flow": "refresh_profile_by_handle", "params": {"handle": handle}}


@pytest.fixture
async def capped(settings, wake_ups, monkeypatch) -> AsyncIterator[Promised]:
    monkeypatch.setattr(open_requests, "INTERVAL", 0.0)
    async with Promised(app_over(settings.model_copy(update={"open_requests": 2}), wake_ups)) as conductor:
        yield conductor


async def written(database: Database) -> int:
    async with database.transaction() as transaction:
        return int(await transaction.value("SELECT count(*) FROM scrape_request_log"))


def is_refused(answer: Any) -> None:
    assert (answer.status_code, answer.json["type"]) == (429, "urn:beat:problem:too_many_open")
    assert "retry-after" in answer.headers
    assert "2 requests may be open" in answer.json["detail"]


@pytest.mark.parametrize("account", ["acme", None])
async def test_at_the_cap_every_way_in_is_refused(capped, database, new_key: Keys, account) -> None:
    key = bearer(await new_key(Scope.SUBMIT, account_id=account))
    other = bearer(await new_key(Scope.SUBMIT, account_id=account and "other"))
    many = {"requests": [asked("a"), asked("b"), asked("c")]}
    is_refused(await capped.simulate_post(ROUTE, json=many, headers=key))
    assert await written(database) == 0
    ids = [(await capped.simulate_post(ROUTE, json=asked(h), headers=key)).json["id"] for h in "ab"]
    is_refused(await capped.simulate_post(ROUTE, json=asked("c"), headers=key))
    is_refused(await capped.simulate_post(REFRESH, headers=key))
    assert await written(database) == 2
    assert (await capped.simulate_post(ROUTE, json=asked("c"), headers=other)).status_code == 202
    await capped.simulate_post(f"{ROUTE}/{ids[0]}/cancel", headers=key)
    assert (await capped.simulate_post(ROUTE, json=asked("d"), headers=key)).status_code == 202
    is_refused(await capped.simulate_post(f"{ROUTE}/{ids[0]}/retry", headers=key))
    is_refused(await capped.simulate_post(f"{ROUTE}/retry", json={"status": "CANCELLED"}, headers=key))


@pytest.mark.parametrize("route", [ROUTE, REFRESH])
async def test_a_repeated_key_gets_its_answer_again_at_the_cap(capped, database, new_key: Keys, route: str) -> None:
    key = bearer(await new_key(Scope.SUBMIT, account_id="acme")) | {"Idempotency-Key": "once"}
    body = {"json": asked("a")} if route == ROUTE else {}
    first = await capped.simulate_post(route, headers=key, **body)
    await capped.simulate_post(ROUTE, json=asked("b"), headers=key | {"Idempotency-Key": "other"})
    again = await capped.simulate_post(route, headers=key, **body)
    assert (first.status_code, again.status_code, again.json["id"]) == (202, 202, first.json["id"])
    assert await written(database) == 2


async def test_a_refresh_that_a_reader_starts_is_refused_too(capped, database, new_key: Keys) -> None:
    key = bearer(await new_key(Scope.SUBMIT, Scope.READ, account_id="acme"))
    for handle in "ab":
        assert (await capped.simulate_post(ROUTE, json=asked(handle), headers=key)).status_code == 202
    is_refused(
        await capped.simulate_get(
            "/v1/profiles/instagram/c", params={"allow_stale": "false", "max_age": "60"}, headers=key
        )
    )
    assert await written(database) == 2


async def test_a_tenants_requests_are_counted_once_in_an_interval(capped, database, new_key: Keys, monkeypatch) -> None:
    """What the process accepts is added to the count; what ends meanwhile makes room at the next one."""
    monkeypatch.setattr(open_requests, "INTERVAL", 1e9)
    counted = 0
    count = open_requests.OpenRequests._count

    async def counts(*given: Any) -> None:
        nonlocal counted
        counted += 1
        await count(*given)

    monkeypatch.setattr(open_requests.OpenRequests, "_count", counts)
    key = bearer(await new_key(Scope.SUBMIT, account_id="acme"))
    ids = [(await capped.simulate_post(ROUTE, json=asked(h), headers=key)).json["id"] for h in "ab"]
    is_refused(await capped.simulate_post(ROUTE, json=asked("c"), headers=key))
    await capped.simulate_post(f"{ROUTE}/{ids[0]}/cancel", headers=key)
    is_refused(await capped.simulate_post(ROUTE, json=asked("c"), headers=key))
    assert counted == 1
    monkeypatch.setattr(open_requests, "INTERVAL", 0.0)
    assert (await capped.simulate_post(ROUTE, json=asked("c"), headers=key)).status_code == 202


async def test_the_count_reads_the_index_where_many_are_open(database, capped, new_key: Keys) -> None:
    key = bearer(await new_key(Scope.SUBMIT, account_id="acme"))
    assert (await capped.simulate_post(ROUTE, json=asked("a"), headers=key)).status_code == 202
    async with database.transaction() as transaction:
        await transaction.run("""
            INSERT INTO scrape_request_log (platform, flow, params, work, priority, status, account_id, apart, live)
            SELECT platform, flow, params, work, priority, status, 'other' || n % 100, true, false
            FROM scrape_request_log, generate_series(1, 100000) n
        """)
        await transaction.run("ANALYZE scrape_request_log")
        values = {"account": "acme", "key": None, "most": 100_001}
        plan = [row[0] for row in await transaction.rows("EXPLAIN " + open_requests.COUNT.text, values)]
    assert any("scrape_request_log_open" in line for line in plan), plan
