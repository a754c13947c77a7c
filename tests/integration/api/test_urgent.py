"""The priority customer is a permission: a key needs the scope `urgent` to submit, refresh or retry with it."""

from typing import Any

import pytest

from beat_actors.access.scopes import Scope
from beat_actors.database import Database
from tests.integration.api.conftest import Keys, bearer

ROUTE = "/v1/scrape-requests"
REFRESH = "/v1/profiles/instagram/creator/refresh"


def asked(handle: str, **fields: Any) -> dict[str, Any]:
    return {"platform": "instagram", "flow": "refresh_profile_by_handle", "params": {"handle": handle}, **fields}


async def priorities(database: Database) -> list[int]:
    async with database.transaction() as transaction:
        return [row.priority for row in await transaction.rows("SELECT priority FROM scrape_request_log ORDER BY id")]


def is_refused(answer: Any) -> bool:
    assert (answer.status_code, answer.json["type"]) == (403, "urn:beat:problem:forbidden")
    assert 'scope="urgent"' in answer.headers["www-authenticate"]
    return "scope urgent" in answer.json["detail"]


@pytest.mark.parametrize("account", [None, "acme"])
async def test_without_the_scope_customer_is_refused_and_nothing_else(bare, database, new_key: Keys, account) -> None:
    feeder = bearer(await new_key(Scope.SUBMIT, account_id=account))
    assert is_refused(await bare.simulate_post(ROUTE, json=asked("a", priority="customer"), headers=feeder))
    assert is_refused(await bare.simulate_post(REFRESH, json={"priority": "customer"}, headers=feeder))
    assert await priorities(database) == []
    assert (await bare.simulate_post(ROUTE, json=asked("a"), headers=feeder)).status_code == 202
    assert (await bare.simulate_post(ROUTE, json=asked("b", priority="batch"), headers=feeder)).status_code == 202
    assert (await bare.simulate_post(REFRESH, headers=feeder)).status_code == 202
    assert await priorities(database) == [2, 3, 2]


async def test_in_a_list_the_urgent_ones_are_refused_for_themselves(bare, database, new_key: Keys) -> None:
    feeder = bearer(await new_key(Scope.SUBMIT))
    listed = {"requests": [asked("a", priority="customer"), asked("b")]}
    answer = await bare.simulate_post(ROUTE, json=listed, headers=feeder)
    assert (answer.status_code, answer.json["accepted"]) == (202, 1)
    assert answer.json["outcomes"][0]["type"] == "urn:beat:problem:forbidden"
    assert await priorities(database) == [2]


@pytest.mark.parametrize(
    ("scopes", "account"),
    [((Scope.SUBMIT, Scope.URGENT), "acme"), ((Scope.OPERATE,), None), ((Scope.ADMIN,), None)],
)
async def test_with_the_scope_it_is_accepted(bare, database, new_key: Keys, scopes, account) -> None:
    urgent = bearer(await new_key(*scopes, account_id=account))
    assert (await bare.simulate_post(ROUTE, json=asked("a", priority="customer"), headers=urgent)).status_code == 202
    assert (await bare.simulate_post(REFRESH, json={"priority": "customer"}, headers=urgent)).status_code == 202
    assert await priorities(database) == [1, 1]


async def test_a_retry_needs_it_for_what_was_asked_as_customer(bare, database, new_key: Keys) -> None:
    """Also one by filter, which retries the rest."""
    urgent = bearer(await new_key(Scope.SUBMIT, Scope.URGENT, account_id="acme"))
    feeder = bearer(await new_key(Scope.SUBMIT, account_id="acme"))
    ids = []
    for handle, priority in (("a", "customer"), ("b", "standard")):
        answer = await bare.simulate_post(ROUTE, json=asked(handle, priority=priority), headers=urgent)
        ids.append(answer.json["id"])
        assert (await bare.simulate_post(f"{ROUTE}/{ids[-1]}/cancel", headers=urgent)).status_code == 200
    async with database.transaction() as transaction:  # their calls are not out
        await transaction.run("UPDATE scrape_request_log SET live = false")
    assert is_refused(await bare.simulate_post(f"{ROUTE}/{ids[0]}/retry", headers=feeder))
    many = await bare.simulate_post(f"{ROUTE}/retry", json={"status": "CANCELLED"}, headers=feeder)
    assert (many.json["retried"], many.json["refused"]) == (1, 1)
    assert [one["id"] for one in many.json["outcomes"] if one.get("type") == "urn:beat:problem:forbidden"] == ids[:1]
    assert (await bare.simulate_post(f"{ROUTE}/{ids[0]}/retry", headers=urgent)).status_code == 202
