"""Requests are found, counted, retried and cancelled by their tags and other filters, and no page reads more than a bounded number of rows."""

import re
from typing import Any

import pytest

from beat_actors.access.scopes import Scope
from beat_actors.requests import listing, views
from tests.integration.api.conftest import Keys, app_over, bearer
from tests.integration.api.promised import Promised
from tests.integration.api.test_access import GOOD

ROUTE = "/v1/scrape-requests"


async def ask(api: Any, name: str, **fields: Any) -> int:
    answer = await api.simulate_post(ROUTE, json=GOOD | {"params": {"handle": name}} | fields)
    assert answer.status_code == 202, answer.text
    return answer.json["id"]


async def ids(api: Any, query: str) -> list[int]:
    return [one["id"] for one in (await api.simulate_get(f"{ROUTE}?{query}")).json["requests"]]


async def test_requests_are_filtered_and_counted_by_tags(api, database) -> None:
    spring = [await ask(api, f"s{n}", tags={"campaign": "spring", "n": str(n)}) for n in range(3)]
    autumn = await ask(api, "a", tags={"campaign": "autumn", "n": "1"})
    await ask(api, "plain")
    assert await ids(api, "tag.campaign=spring") == spring[::-1]
    assert await ids(api, "tag.campaign=spring&tag.n=1") == [spring[1]]
    assert await ids(api, "tag.n=1") == [autumn, spring[1]]
    assert await ids(api, "tag.campaign=winter") == []
    await api.simulate_post(f"{ROUTE}/{spring[0]}/cancel")
    found = (await api.simulate_get(f"{ROUTE}?tag.campaign=spring&counts=true")).json
    assert (found["counts"]["PENDING"], found["counts"]["CANCELLED"], found["counts_complete"]) == (2, 1, True)
    assert await ids(api, "tag.campaign=spring&status=cancelled") == [spring[0]]
    for query in ("&".join(f"tag.t{n}=x" for n in range(6)), "tag.=x"):
        assert (await api.simulate_get(f"{ROUTE}?{query}")).status_code == 400
    async with database.transaction() as transaction:
        await transaction.run("DELETE FROM scrape_fetch")
        await transaction.run("DELETE FROM scrape_request_log")
        assert await transaction.rows("SELECT FROM request_tag") == []


async def test_an_account_finds_its_own_requests_by_tags(settings, wake_ups, api, new_key: Keys) -> None:
    mine = await ask(api, "mine", account_id="acme", tags={"campaign": "spring"})
    await ask(api, "others", account_id="other", tags={"campaign": "spring"})
    key = await new_key(Scope.READ, account_id="acme")
    async with Promised(app_over(settings, wake_ups), headers=bearer(key)) as reader:
        assert await ids(reader, "tag.campaign=spring") == [mine]
        found = (await reader.simulate_get(f"{ROUTE}?tag.campaign=spring&counts=true")).json
        assert sum(found["counts"].values()) == 1


async def test_a_page_looks_at_a_bounded_number_of_tagged_requests_and_its_cursor_goes_on(api, monkeypatch) -> None:
    made = [await ask(api, f"n{n}", tags={"campaign": "spring", "odd": str(n % 2)}) for n in range(7)]
    monkeypatch.setattr(listing, "SCANNED", 3)
    monkeypatch.setattr(listing, "COUNTED", 3)
    found, cursor, pages = [], "", 0
    while True:
        page = (await api.simulate_get(f"{ROUTE}?tag.campaign=spring&tag.odd=1{cursor}")).json
        found += [one["id"] for one in page["requests"]]
        pages += 1
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == [made[5], made[3], made[1]]
    assert pages == 3
    counted = (await api.simulate_get(f"{ROUTE}?tag.campaign=spring&counts=true")).json
    assert (sum(counted["counts"].values()), counted["counts_complete"]) == (3, False)


@pytest.mark.parametrize("account", [None, "acme"])
async def test_the_plan_of_a_tag_reads_its_index(database, account: str | None) -> None:
    wanted = views.Filter(tags={"campaign": "spring"}, account_id=account)
    looked = listing.looked_at(wanted, 10**9)
    params = {"tag": listing.tag_of("campaign", "spring"), "account_id": account, "before": 10**9, "most": 50}
    async with database.transaction() as transaction:
        await transaction.run(
            "INSERT INTO request_tag SELECT CASE WHEN n % 3 = 0 THEN 'other' ELSE 'acme' END, "
            "md5(CASE WHEN n % 2 = 0 THEN 'campaign' || chr(31) || 'spring' ELSE n::text END)::uuid, n FROM generate_series(1, 100000) n"
        )
        await transaction.run("ANALYZE request_tag")
        plan = "\n".join(row[0] for row in await transaction.rows(f"EXPLAIN {looked}", params))
    assert re.search(r"Index Only Scan (Backward )?using request_tag_(pkey|of_all)", plan), plan
    assert "Sort" not in plan


async def test_requests_are_cancelled_by_a_filter_that_must_be_given(api, database) -> None:
    spring = [await ask(api, f"s{n}", tags={"campaign": "spring"}) for n in range(3)]
    other = await ask(api, "other")
    refused = await api.simulate_post(f"{ROUTE}/cancel", json={})
    assert refused.status_code == 400
    assert "name at least one of platform, flow, account_id, batch_id, tags" in refused.json["detail"]
    answer = await api.simulate_post(f"{ROUTE}/cancel", json={"tags": {"campaign": "spring"}, "limit": 2})
    assert answer.json | {"next_cursor": None} == {"cancelled": 2, "ids": spring[1:], "next_cursor": None}
    body = {"tags": {"campaign": "spring"}, "cursor": answer.json["next_cursor"], "reason": "over"}
    assert (await api.simulate_post(f"{ROUTE}/cancel", json=body)).json["ids"] == spring[:1]
    assert (await api.simulate_get(f"{ROUTE}/{spring[0]}")).json["data"]["error"]["message"] == "over"
    assert (await api.simulate_get(f"{ROUTE}/{other}")).json["status"] == "PENDING"
    again = await api.simulate_post(f"{ROUTE}/cancel", json={"platform": "instagram"})
    assert again.json["ids"] == [other]
    actions = (await api.simulate_get("/v1/audit?limit=10")).json["entries"]
    assert next(one["detail"]["ids"] for one in actions if one["action"] == "request.cancel") == [other]


async def test_a_key_cancels_by_a_filter_only_what_is_its_own(settings, wake_ups, api, new_key: Keys) -> None:
    others = await ask(api, "others")
    key = await new_key(Scope.SUBMIT, Scope.READ)
    async with Promised(app_over(settings, wake_ups), headers=bearer(key)) as caller:
        own = await ask(caller, "own")
        answer = await caller.simulate_post(f"{ROUTE}/cancel", json={"platform": "instagram"})
        assert answer.json["ids"] == [own]
    assert (await api.simulate_get(f"{ROUTE}/{others}")).json["status"] == "PENDING"
    bound = await new_key(Scope.SUBMIT, account_id="acme")
    async with Promised(app_over(settings, wake_ups), headers=bearer(bound)) as caller:
        assert (await caller.simulate_post(f"{ROUTE}/cancel", json={})).status_code == 400


async def test_what_failed_is_retried_by_its_tags(api) -> None:
    spring = await ask(api, "s", tags={"campaign": "spring"})
    other = await ask(api, "o", tags={"campaign": "autumn"})
    await api.simulate_post(f"{ROUTE}/cancel", json={"platform": "instagram"})
    answer = await api.simulate_post(f"{ROUTE}/retry", json={"status": "CANCELLED", "tags": {"campaign": "spring"}})
    assert [one["id"] for one in answer.json["outcomes"]] == [spring]
    assert (await api.simulate_get(f"{ROUTE}/{other}")).json["status"] == "CANCELLED"
