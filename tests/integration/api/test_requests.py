"""The API's first routes against a real database: what is accepted is committed, what is bad gets a sentence and no row."""

import asyncio
import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import falcon.asgi
import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from api import body, health
from api.body import MAX_DEPTH, MAX_LIST_BYTES
from beat_actors.access.scopes import Scope
from beat_actors.access.tokens import mint
from beat_actors.database import Database, migrate
from beat_actors.settings import Settings
from tests.in_one import in_one
from tests.integration.api.conftest import app_over, bearer
from tests.integration.api.promised import Promised

GOOD = {"platform": "instagram", "flow": "refresh_profile_by_handle", "params": {"handle": "Creator.One"}}
ROUTE = "/v1/scrape-requests"


async def count(database: Database) -> int:
    async with database.transaction() as transaction:
        return int(await transaction.value("SELECT count(*) FROM scrape_request_log"))


async def test_a_request_is_accepted_committed_and_the_broker_woken(api, database, wake_ups) -> None:
    answer = await api.simulate_post(ROUTE, json=GOOD)
    assert answer.status_code == 202
    request_id = answer.json["id"]
    assert answer.headers["location"] == f"{ROUTE}/{request_id}"
    assert wake_ups.asked == ["instagram"]
    shown = (await api.simulate_get(f"{ROUTE}/{request_id}")).json
    assert (shown["status"], shown["params"]) == ("PENDING", {"handle": "creator.one", "posts": 12})
    async with database.transaction() as transaction:
        lane = await transaction.row("SELECT l.* FROM lane l JOIN scrape_fetch f ON f.lane_id = l.id")
    assert lane.sources == ["graphapi", "arraybobo", "jotucker", "lama", "bestsolutions"]


async def test_without_redis_a_request_is_accepted_all_the_same(api, database, wake_ups) -> None:
    wake_ups.redis = False
    assert (await api.simulate_post(ROUTE, json=GOOD)).status_code == 202
    ready = await api.simulate_get("/readyz")
    assert ready.status_code == 200
    assert "nothing is lost" in ready.json["checks"]["redis"]


async def test_a_redis_that_hangs_is_not_waited_for(api, wake_ups, database, monkeypatch) -> None:
    async def wake(_platform: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(wake_ups, "wake", wake)
    assert (await api.simulate_post(ROUTE, json=GOOD)).status_code == 202
    assert await count(database) == 1


async def test_a_locked_table_is_a_503_that_says_when_to_come_again(api, database, database_url) -> None:
    await asyncio.to_thread(migrate.upgrade, database_url)  # a copy of a database does not have its defaults
    async with database.transaction() as other:
        await other.run("LOCK TABLE scrape_fetch IN ACCESS EXCLUSIVE MODE")
        answer = await api.simulate_post(ROUTE, json=GOOD)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert await count(database) == 0
    assert (await api.simulate_post(ROUTE, json=GOOD)).status_code == 202


async def test_a_thousand_at_once_with_an_outcome_for_each(api, database) -> None:
    items: list[Any] = [{**GOOD, "params": {"handle": f"creator_{n:06d}"}} for n in range(998)]
    items += [{**GOOD, "params": {"handle": ""}}, {**GOOD, "flow": "nonsense"}]
    answer = await api.simulate_post(ROUTE, json={"requests": items})
    assert answer.status_code == 202
    assert (answer.json["accepted"], answer.json["refused"]) == (998, 2)
    assert answer.json["outcomes"][-1]["type"] == "urn:beat:problem:unknown_flow"
    assert await count(database) == 998
    assert (await api.simulate_post(ROUTE, json={"requests": [*items, GOOD]})).status_code == 400
    none = await api.simulate_post(ROUTE, json={"requests": items[998:]})
    assert (none.status_code, none.headers["content-type"], none.json["refused"]) == (400, "application/json", 2)


async def test_the_same_idempotency_key_is_the_same_request(api, database) -> None:
    headers = {"Idempotency-Key": "abc"}
    first = await api.simulate_post(ROUTE, json=GOOD, headers=headers)
    again = await api.simulate_post(ROUTE, json=GOOD, headers=headers)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    others: tuple[dict[str, Any], ...] = (
        {**GOOD, "params": {"handle": "someone"}}, {**GOOD, "priority": "batch"}, {**GOOD, "account_id": "zeta"}, {"requests": [GOOD]},
    )  # fmt: skip
    for asked in others:
        other = await api.simulate_post(ROUTE, json=asked, headers=headers)
        assert other.status_code == 409
        assert other.json["type"] == "urn:beat:problem:idempotency_key_reused"
    assert await count(database) == 1


async def test_an_idempotency_key_covers_all_of_a_list_what_was_refused_too(api, database) -> None:
    headers = {"Idempotency-Key": "list"}
    bad, worse = {**GOOD, "params": {"handle": ""}}, {**GOOD, "flow": "nonsense"}
    second = {**GOOD, "params": {"handle": "second"}}
    first = await api.simulate_post(ROUTE, json={"requests": [GOOD, bad, second]}, headers=headers)
    again = await api.simulate_post(ROUTE, json={"requests": [GOOD, bad, second]}, headers=headers)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert again.headers["idempotency-replayed"] == "true"
    for items in ([GOOD, worse, second], [GOOD, second], [bad, GOOD, second], [GOOD, second, bad], [GOOD, bad]):
        assert (await api.simulate_post(ROUTE, json={"requests": items}, headers=headers)).status_code == 409
    assert (await api.simulate_post(ROUTE, json=GOOD, headers=headers)).status_code == 409
    # What its items are known by is nobody else's key, and is not shown.
    own = await api.simulate_post(
        ROUTE, json={**GOOD, "params": {"handle": "third"}}, headers={"Idempotency-Key": "list 1"}
    )
    assert own.status_code == 202
    shown = (await api.simulate_get(f"{ROUTE}/{first.json['outcomes'][2]['id']}")).json
    assert shown["idempotency_key"] == "list"
    assert await count(database) == 3


async def test_s7_2_list_scrape_data_filters_counts_and_pages(api, database) -> None:
    items = [{**GOOD, "params": {"handle": f"a{n}"}, "account_id": "acme" if n % 2 else "zeta"} for n in range(25)]
    await api.simulate_post(ROUTE, json={"requests": items})
    seen: list[int] = []
    cursor = None
    while True:
        params = {"account_id": "acme", "limit": 5, "counts": "true"} | ({"cursor": cursor} if cursor else {})
        page = (await api.simulate_get(ROUTE, params=params)).json
        seen += [request["id"] for request in page["requests"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 12
    assert seen == sorted(seen, reverse=True)
    assert page["counts"]["PENDING"] == 12
    none = (await api.simulate_get(ROUTE, params={"status": "FAILED"})).json
    assert none["requests"] == []


async def test_s7_2_the_backlog_by_flow_and_status(api, database) -> None:
    asked = [{**GOOD, "params": {"handle": f"a{n}"}} for n in range(6)]
    asked += [{**GOOD, "flow": "refresh_profile_basic", "params": {"handle": f"a{n}"}} for n in range(4)]
    ids = [one["id"] for one in (await api.simulate_post(ROUTE, json={"requests": asked})).json["outcomes"]]
    async with database.transaction() as transaction:
        await transaction.run("UPDATE scrape_request_log SET status = 'PROCESSING' WHERE id = ANY(%s)", (ids[:2],))
        await transaction.run(
            "UPDATE scrape_request_log SET status = 'FAILED', scraped_at = clock_timestamp(), data = %s WHERE id = ANY(%s)",
            (json.dumps({"error": {"code": "missing"}}), ids[2:4]),
        )

    async def listed(**params: str) -> list[int]:
        return [one["id"] for one in (await api.simulate_get(ROUTE, params=params)).json["requests"]]

    basic = "refresh_profile_basic"
    assert await listed(flow=basic) == ids[:5:-1]
    assert await listed(status="PENDING", flow=GOOD["flow"]) == [ids[5], ids[4]]
    assert await listed(status="PROCESSING") == [ids[1], ids[0]]
    assert await listed(status="FAILED", error="missing") == [ids[3], ids[2]]
    assert await listed(status="FAILED", error="private") == []
    page = (await api.simulate_get(ROUTE, params={"flow": GOOD["flow"], "counts": "true", "limit": "1"})).json
    assert page["counts"] == {"PENDING": 2, "PROCESSING": 2, "COMPLETE": 0, "FAILED": 2, "CANCELLED": 0}


async def test_uncollected_results_are_listed_until_their_requester_reads_them(api, database) -> None:
    asked = [{**GOOD, "params": {"handle": f"a{n}"}} for n in range(3)]
    ids = [one["id"] for one in (await api.simulate_post(ROUTE, json={"requests": asked})).json["outcomes"]]

    async def uncollected() -> list[int]:
        page = (await api.simulate_get(ROUTE, params={"uncollected": "true", "counts": "true"})).json
        assert sum(page["counts"].values()) == len(page["requests"])
        return [one["id"] for one in page["requests"]]

    assert await uncollected() == []
    assert (await api.simulate_get(f"{ROUTE}/{ids[0]}")).json[
        "collected_at"
    ] is None  # there was nothing to collect yet
    async with database.transaction() as transaction:
        await transaction.run(
            "UPDATE scrape_request_log SET status = 'COMPLETE', scraped_at = clock_timestamp(), observed_at = clock_timestamp() "
            "WHERE id = ANY(%s)",
            (ids[:2],),
        )
    assert await uncollected() == [ids[1], ids[0]]
    first = (await api.simulate_get(f"{ROUTE}/{ids[0]}")).json
    assert first["collected_at"] is not None
    assert first["freshness"]["mode"] == "fresh"
    assert (await api.simulate_get(f"{ROUTE}/{ids[0]}")).json == first
    assert await uncollected() == [ids[1]]
    assert (await api.simulate_get(ROUTE, params={"uncollected": "maybe"})).status_code == 400


async def test_tags_are_carried_and_bounded(api) -> None:
    tags = {"campaign": "spring", "of": "Ünïcode ✓"}
    asked = (await api.simulate_post(ROUTE, json={**GOOD, "tags": tags})).json
    assert (await api.simulate_get(asked["location"])).json["tags"] == tags
    for bad in ({f"t{n}": "x" for n in range(21)}, {"a": "x" * 256}, {"a" * 256: "x"}, {"a": 1}, ["a"], {"a": "\0"}):
        assert (await api.simulate_post(ROUTE, json={**GOOD, "tags": bad})).status_code == 400


async def test_a_request_is_cancelled_once_and_only_while_it_has_not_ended(api) -> None:
    asked = (await api.simulate_post(ROUTE, json=GOOD)).json
    cancelled = await api.simulate_post(f"{asked['location']}/cancel", json={"reason": "asked twice"})
    assert (cancelled.status_code, cancelled.json["status"]) == (200, "CANCELLED")
    shown = (await api.simulate_get(asked["location"])).json
    assert shown["data"]["error"] == {"code": "cancelled", "message": "asked twice"}
    again = await api.simulate_post(f"{asked['location']}/cancel")
    assert again.json == cancelled.json
    assert (await api.simulate_post(f"{ROUTE}/999/cancel")).status_code == 404
    assert (await api.simulate_post(f"{asked['location']}/cancel", json={"why": 1})).status_code == 400


async def test_s3_7_retry_of_one_and_by_filter(api, database, wake_ups) -> None:
    asked = [{**GOOD, "params": {"handle": f"a{n}"}} for n in range(3)]
    ids = [one["id"] for one in (await api.simulate_post(ROUTE, json={"requests": asked})).json["outcomes"]]
    await asyncio.sleep(0)
    wake_ups.asked.clear()
    assert (await api.simulate_post(f"{ROUTE}/{ids[0]}/retry")).status_code == 409
    async with database.transaction() as transaction:
        await transaction.run(
            "UPDATE scrape_request_log SET status = 'FAILED', live = false, open_fetches = 0, scraped_at = clock_timestamp()"
        )
        await transaction.run("UPDATE scrape_request_log SET flow = 'was_once' WHERE id = %s", (ids[2],))
    one = await api.simulate_post(f"{ROUTE}/{ids[0]}/retry")
    assert (one.status_code, one.headers["location"]) == (202, f"{ROUTE}/{ids[0]}")
    assert wake_ups.asked == ["instagram"]
    many = await api.simulate_post(f"{ROUTE}/retry", json={"platform": "instagram"})
    assert (many.json["retried"], many.json["refused"], many.json["next_cursor"]) == (1, 1, None)
    assert {one["id"]: one.get("type") for one in many.json["outcomes"]} == {
        ids[1]: None,
        ids[2]: "urn:beat:problem:unknown_flow",
    }
    async with database.transaction() as transaction:
        found = await transaction.rows("SELECT id, status, retry_count FROM scrape_request_log ORDER BY id")
    assert [(row.status, row.retry_count) for row in found] == [("PENDING", 1), ("PENDING", 1), ("FAILED", 0)]
    assert (await api.simulate_post(f"{ROUTE}/999/retry")).status_code == 404
    for bad in (
        {"status": "COMPLETE"},
        {"limit": 1001},
        {"limit": 0},
        {"unknown": 1},
        {"cursor": "x"},
        {"created_after": "soon"},
    ):
        assert (await api.simulate_post(f"{ROUTE}/retry", json=bad)).status_code == 400


async def test_max_age_answers_at_once_and_the_same_each_time(api, database) -> None:
    (first,) = (await api.simulate_post(ROUTE, json={"requests": [GOOD]})).json["outcomes"]
    async with database.transaction() as transaction:
        await transaction.run(
            "UPDATE scrape_request_log SET status = 'COMPLETE', live = false, scraped_at = clock_timestamp(), items = 3, "
            "observed_at = clock_timestamp() - interval '40 seconds', data = '{\"items\": 3}'"
        )
    key = {"Idempotency-Key": "k"}
    stored = await api.simulate_post(ROUTE, json={**GOOD, "max_age": 60}, headers=key)
    assert stored.status_code == 200
    assert (stored.json["status"], stored.json["items"], stored.json["joined_to"]) == ("COMPLETE", 3, first["id"])
    assert stored.json["freshness"]["mode"] == "stored"
    assert stored.headers["location"] == f"{ROUTE}/{stored.json['id']}"
    assert (await api.simulate_post(ROUTE, json={**GOOD, "max_age": 60}, headers=key)).content == stored.content
    assert (await api.simulate_post(ROUTE, json={**GOOD, "max_age": 30})).status_code == 202
    for bad in (-1, 10**9, "60", True):
        assert (await api.simulate_post(ROUTE, json={**GOOD, "max_age": bad})).status_code == 400


async def test_one_key_for_a_batch_is_the_same_batch(api, database) -> None:
    batch = {"requests": [{**GOOD, "params": {"handle": f"a{n}"}} for n in range(3)] + [{"platform": "myspace"}]}
    key = {"Idempotency-Key": "nightly"}
    answers = await asyncio.gather(*(api.simulate_post(ROUTE, json=batch, headers=key) for _ in range(6)))
    assert {one.status_code for one in answers} == {202}
    assert len({one.content for one in answers}) == 1
    assert await count(database) == 3
    batch["requests"].append({**GOOD, "params": {"handle": "a9"}})
    assert (await api.simulate_post(ROUTE, json=batch, headers=key)).status_code == 409
    assert await count(database) == 3
    for bad in (" ", "k" * 256):
        assert (await api.simulate_post(ROUTE, json=GOOD, headers={"Idempotency-Key": bad})).status_code == 400


async def test_the_eta_is_after_the_blocker_and_after_what_is_ahead(api, database) -> None:
    asked = [{**GOOD, "params": {"handle": f"a{n}"}} for n in range(100)]
    ids = [one["id"] for one in (await api.simulate_post(ROUTE, json={"requests": asked})).json["outcomes"]]
    await decided(database, leased=120)

    async def eta(request_id: int) -> datetime | None:
        text = (await api.simulate_get(f"{ROUTE}/{request_id}/explain")).json["eta"]
        return None if text is None else datetime.fromisoformat(text)

    first, last = await eta(ids[0]), await eta(ids[-1])
    assert 48 < (last - first).total_seconds() < 52  # 99 are ahead of it, and two a second were leased of late
    until = datetime.now(UTC) + timedelta(hours=1)
    blocker = {"source": "graphapi", "credential_id": 7, "why": "cooling down", "until": until.timestamp()}
    async with database.transaction() as transaction:
        await transaction.run("UPDATE lane SET blocked_until = %s, reasons = %s", (until, json.dumps([blocker])))
    assert timedelta(0) < await eta(ids[0]) - until < timedelta(seconds=10)
    async with database.transaction() as transaction:
        reasons = json.dumps([{**blocker, "until": None}])
        await transaction.run("UPDATE lane SET blocked_until = NULL, reasons = %s", (reasons,))
    assert await eta(ids[0]) is None


async def test_a_request_that_waits_tells_when_it_is_expected_and_why_no_time_is_known(api, database) -> None:
    asked = [{**GOOD, "params": {"handle": f"a{n}"}} for n in range(121)]
    ids = [one["id"] for one in (await api.simulate_post(ROUTE, json={"requests": asked})).json["outcomes"]]

    async def expected(request_id: int) -> dict[str, Any]:
        return (await api.simulate_get(f"{ROUTE}/{request_id}", params={"expected": "true"})).json["expected"]

    async def blocked(*reasons: dict[str, Any]) -> None:
        untils = [one["until"] for one in reasons if one["until"] is not None]
        until = datetime.fromtimestamp(min(untils), UTC) if untils else None
        async with database.transaction() as transaction:
            await transaction.run("UPDATE lane SET blocked_until = %s, reasons = %s", (until, json.dumps(reasons)))

    found = await expected(ids[-1])
    assert found["at"] is None
    assert "120 fetches are ahead of it, and nothing was leased" in found["unknown"]
    await decided(database, leased=120)
    found = await expected(ids[-1])
    at, earliest, latest = (datetime.fromisoformat(found[name]) for name in ("at", "earliest", "latest"))
    assert earliest < at < latest
    assert 55 < (at - datetime.now(UTC)).total_seconds() < 70
    assert "120 fetches are ahead of it" in found["basis"]
    assert "2.0 leases a second" in found["basis"]
    later = datetime.now(UTC).timestamp() + 3600
    outage = {"source": "lama", "credential_id": None, "why": "outage: its breaker is open", "until": later - 3500}
    await blocked(outage)
    found = await expected(ids[0])
    assert (found["at"], found["earliest"], found["latest"]) == (None, None, None)
    assert found["unknown"].startswith("lama: outage: its breaker is open; it is tried again at ")
    await blocked(outage, {"source": "graphapi", "credential_id": 7, "why": "cooling down", "until": later})
    found = await expected(ids[0])
    assert 0 <= datetime.fromisoformat(found["at"]).timestamp() - later < 10
    await blocked({"source": None, "credential_id": None, "why": "the flow look is paused", "until": None})
    assert (await expected(ids[0]))["unknown"] == "the flow look is paused; nobody knows when that ends"
    assert (await api.simulate_get(f"{ROUTE}/{ids[0]}")).json["expected"] is None
    page = (await api.simulate_get(ROUTE, params={"limit": "5"})).json["requests"]
    assert all("expected" not in one for one in page)


async def decided(database: Database, *, leased: int) -> None:
    """A turn of a moment ago."""
    async with database.transaction() as transaction:
        await transaction.run(
            "INSERT INTO broker_decision (at, platform, seed, settled, leased, detail) "
            "VALUES (clock_timestamp(), 'instagram', 1, 0, %s, '{}')",
            (leased,),
        )


async def lease_first(database: Database, account: str, count: int) -> None:
    """The first fetches of an account were sent a moment ago."""
    async with database.transaction() as transaction:
        await transaction.run(
            "UPDATE scrape_fetch SET stage = 'DONE', sent_at = clock_timestamp() WHERE id IN (SELECT f.id FROM scrape_fetch f "
            "JOIN scrape_request_log r ON r.id = f.request_id WHERE r.account_id = %s ORDER BY f.id LIMIT %s)",
            (account, count),
        )


async def test_what_is_ahead_is_counted_in_the_order_of_tenants(api, bare, database, new_key) -> None:
    """An account's backlog delays its own requests; what is ahead of another's, and its estimate, follow that."""
    keys = {
        name: bearer(await new_key(Scope.SUBMIT, Scope.READ, account_id=name)) for name in ("acme", "globex", "initech")
    }
    ids: dict[str, list[int]] = {}
    for name, count in (("acme", 300), ("globex", 61), ("initech", 1)):
        asked = [{**GOOD, "params": {"handle": f"{name}{n}"}} for n in range(count)]
        answer = await bare.simulate_post(ROUTE, json={"requests": asked}, headers=keys[name])
        ids[name] = [one["id"] for one in answer.json["outcomes"]]
    await decided(database, leased=3000)
    await lease_first(database, "acme", 240)
    await lease_first(database, "globex", 30)

    async def explained(name: str, nth: int, headers: dict[str, str] | None = None) -> dict[str, Any]:
        client = api if headers is None else bare
        found: dict[str, Any] = (await client.simulate_get(f"{ROUTE}/{ids[name][nth]}/explain", headers=headers)).json
        return found

    async def apart(name: str, headers: dict[str, str] | None = None) -> float:
        """Seconds between the estimates for its first and its last request that wait."""
        first = {"acme": 240, "globex": 30}[name]
        etas = [datetime.fromisoformat((await explained(name, nth, headers))["eta"]) for nth in (first, -1)]
        return (etas[1] - etas[0]).total_seconds()

    for name, ahead in (("acme", 59), ("globex", 30), ("initech", 0)):
        operator, own = await explained(name, -1), await explained(name, -1, keys[name])
        assert operator["fetches"][0]["ahead"] == own["fetches"][0]["ahead"] == ahead
        assert (operator["fetches"][0]["tenants"], own["fetches"][0]["tenants"]) == (3, None)
        assert f"{ahead} ahead of it; its tenant takes turns with 2 others." in operator["summary"]
        assert own["summary"].endswith(f"{ahead} ahead of it.")
    # 59 at four leases a second, 30 at one in two seconds.
    for headers in (None, keys["acme"]):
        assert 13 < await apart("acme", headers) < 17
    for headers in (None, keys["globex"]):
        assert 58 < await apart("globex", headers) < 62


async def test_what_is_more_urgent_is_ahead_too(api, database) -> None:
    def asked(count: int, priority: str) -> dict[str, Any]:
        handles = [f"{priority}{n}" for n in range(count)]
        return {"requests": [{**GOOD, "params": {"handle": one}, "priority": priority} for one in handles]}

    batch = (await api.simulate_post(ROUTE, json=asked(5, "batch"))).json["outcomes"]
    await api.simulate_post(ROUTE, json=asked(20, "customer"))
    await api.simulate_post(ROUTE, json=asked(10, "standard"))

    async def ahead() -> int:
        return int((await api.simulate_get(f"{batch[4]['location']}/explain")).json["fetches"][0]["ahead"])

    assert await ahead() == 4 + 20 + 10
    async with database.transaction() as transaction:
        await transaction.run(
            "UPDATE lane SET reasons = '[]' WHERE priority = 1"
        )  # what waits for a person is in nobody's way
    assert await ahead() == 4 + 10


async def test_s3_2_explain_gives_every_blocker(api, database) -> None:
    request_id = (await api.simulate_post(ROUTE, json=GOOD)).json["id"]
    async with database.transaction() as transaction:
        await transaction.run(
            "UPDATE lane SET blocked_until = now() + interval '1 hour', reasons = %s::jsonb",
            (
                json.dumps(
                    [{"source": "graphapi", "credential_id": 7, "why": "cooling down", "until": 4_000_000_000.5}]
                ),
            ),
        )
    found = (await api.simulate_get(f"{ROUTE}/{request_id}/explain")).json
    (blocker,) = found["fetches"][0]["blockers"]
    assert (blocker["source"], blocker["why"]) == ("graphapi", "cooling down")
    assert blocker["until"].startswith("2096")
    assert "graphapi: cooling down" in found["summary"]


@in_one(
    ("body", "said"),
    [
        ({**GOOD, "platform": "myspace"}, "there is no platform 'myspace'"),
        ({**GOOD, "flow": "refresh_everything"}, "has no flow"),
        ({**GOOD, "params": {"handle": ""}}, "handle"),
        ({**GOOD, "params": {"handle": "x" * 10_000}}, "10000 characters"),
        ({**GOOD, "params": {"handle": "a\0b"}}, "U+0000"),
        ({**GOOD, "params": {"handle": "a b"}}, "handle"),
        ({**GOOD, "params": {}}, "handle"),
        ({**GOOD, "params": {"handle": "a", "posts": 10**30}}, "posts"),
        ({**GOOD, "params": {"handle": "a", "more": 1}}, "more"),
        ({**GOOD, "params": []}, "params"),
        ({**GOOD, "priority": "urgent"}, "priority is customer, standard or batch"),
        ({**GOOD, "expires_at": "2030-01-01T00:00:00"}, "time zone"),
        ({**GOOD, "expires_at": "soon"}, "expires_at"),
        ({**GOOD, "expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
        ({**GOOD, "expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"),
        ({**GOOD, "expires_at": "0001-01-01T00:00:00Z"}, "from 2000"),
        ({**GOOD, "expires_at": "9999-12-31T23:59:59Z"}, "before 2200"),
        ({**GOOD, "expires_at": "2020-01-01T00:00:00Z"}, "expires_at has passed (2020-01-01T00:00:00Z"),
        ({**GOOD, "account_id": "a" * 300}, "account_id"),
        ({**GOOD, "unknown": 1}, "unknown"),
        ([], "request"),
        ("x", "request"),
        ({}, "platform"),
    ],
)
async def test_bad_input_gets_a_sentence_and_no_row(api, database, body: Any, said: str) -> None:
    answer = await api.simulate_post(ROUTE, json=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert said in answer.json["detail"]
    assert await count(database) == 0


async def test_a_body_that_need_not_be_there_is_read_where_it_is(api, database, monkeypatch) -> None:
    """Whatever the headers say of it: curl sends a type without a body, and who sends in chunks says no length."""
    monkeypatch.setattr(falcon.asgi.Request, "content_length", None)
    typed = {"content-type": "application/json"}
    first = await api.simulate_post("/v1/profiles/instagram/one/refresh", headers=typed)
    assert first.status_code == 202
    asked = (await api.simulate_post(ROUTE, json=GOOD)).json["location"]
    for sent, status in ((b'{"nonsense": 1}', 400), (b"{", 400), (b'{"reason": "enough"}', 200)):
        assert (await api.simulate_post(f"{asked}/cancel", body=sent, headers=typed)).status_code == status
    assert (await api.simulate_get(asked)).json["data"]["error"]["message"] == "enough"
    again = (await api.simulate_post(ROUTE, json=GOOD)).json["location"]
    assert (await api.simulate_post(f"{again}/cancel", headers=typed)).status_code == 200


async def test_a_repeated_call_gets_its_answer_again_after_its_deadline(api) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    typed = {"Idempotency-Key": "once"}
    first = await api.simulate_post(ROUTE, json={**GOOD, "expires_at": soon}, headers=typed)
    await asyncio.sleep(1.1)
    again = await api.simulate_post(ROUTE, json={**GOOD, "expires_at": soon}, headers=typed)
    assert (again.status_code, again.json["id"]) == (202, first.json["id"])
    without = await api.simulate_post(ROUTE, json={**GOOD, "expires_at": soon})
    assert (without.status_code, without.json["field"]) == (400, "expires_at")
    many = await api.simulate_post(ROUTE, json={"requests": [{**GOOD, "expires_at": soon}, GOOD]})
    assert (many.json["accepted"], many.json["refused"], many.json["outcomes"][0]["field"]) == (1, 1, "expires_at")


EXTREME = ("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00")


async def test_an_extreme_time_is_refused_wherever_one_is_taken(api, database) -> None:
    """PostgreSQL holds what Python cannot read again: one such row would break every list that it stands in."""
    for time in EXTREME:
        many = await api.simulate_post(ROUTE, json={"requests": [{**GOOD, "expires_at": time}, GOOD]})
        assert (many.json["accepted"], many.json["refused"]) == (1, 1)
        refresh = await api.simulate_post("/v1/profiles/instagram/creator/refresh", json={"expires_at": time})
        assert (refresh.status_code, refresh.json["field"]) == (400, "expires_at")
        again = await api.simulate_post(f"{ROUTE}/retry", json={"created_after": time})
        assert (again.status_code, again.json["field"]) == (400, "created_after")
        listed = await api.simulate_get(ROUTE, params={"created_before": time})
        assert (listed.status_code, listed.json["field"]) == (400, "created_before")
        feed = await api.simulate_get("/v1/changes", params={"since": time})
        assert (feed.status_code, feed.json["field"]) == (400, "since")
    assert (await api.simulate_get(ROUTE)).status_code == 200


async def test_a_deadline_is_kept_in_utc_whatever_its_zone(api, database) -> None:
    """PostgreSQL knows no zone that is further than 16 hours away."""
    accepted = await api.simulate_post(ROUTE, json={**GOOD, "expires_at": "2100-01-01T00:00:00+23:59"})
    assert accepted.status_code == 202
    shown = (await api.simulate_get(f"{ROUTE}/{accepted.json['id']}")).json
    assert datetime.fromisoformat(shown["expires_at"]) == datetime(2099, 12, 31, 0, 1, tzinfo=UTC)


@in_one(
    ("body", "status"),
    [
        (b"", 400),
        (b"{not json", 400),
        (b'{"platform": NaN}', 400),
        (
            b'{"platform": "instagram", "flow": "refresh_profile_by_handle", "params": {"handle": "a", "posts": NaN}}',
            400,
        ),
        (b'{"platform": "\\ud800"}', 400),
        (b'{"platform": "instagram", "flow": "refresh_profile_by_handle", "params": {"handle": "\\udc00x"}}', 400),
        (b"\xff\xfe", 400),
        (
            b'{"platform": "x", "platform": "instagram", "flow": "refresh_profile_by_handle", "params": {"handle": "a"}}',
            400,
        ),
        (
            b'{"platform": "instagram", "flow": "refresh_profile_by_handle", "params": {"handle": "a", "h\\u0061ndle": "b"}}',
            400,
        ),
        (
            b'{"requests": [{"platform": "instagram", "flow": "refresh_profile_by_handle", "params": {"handle": "a"}, "tags": {"x": "1", "x": "2"}}]}',
            400,
        ),
        (b"[" * 100_000 + b"]" * 100_000, 400),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400),
        (b'{"params": "' + b"x" * (30 << 20) + b'"}', 413),
        (b" " * (MAX_LIST_BYTES + 1), 413),
        (b'{"params": {"posts": 1e999}}', 400),
        (b'{"params": {"posts": -1e999}}', 400),
        (b'{"params": {"posts": ' + b"9" * 100_000 + b"}}", 400),
        (b'{"params": {"posts": Infinity}}', 400),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, 400),
        (b"{" + b",".join(b'"%d": 1' % n for n in range(100_000)) + b"}", 413),
        (b"{" + b",".join(b'"%d": 1' % n for n in range(70_000)) + b"}", 400),
    ],
)
async def test_a_hostile_body_is_refused_and_leaves_no_row(api, database, body: bytes, status: int) -> None:
    answer = await api.simulate_post(ROUTE, body=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json["detail"]
    assert await count(database) == 0


@in_one(
    ("value", "said"),
    [
        ("user\u202egnp.exe", "$.params.handle contains U+202E"),
        ("\u2067x\u2069", "$.params.handle contains U+2067"),
        ("x\x1b[31m", "$.params.handle contains U+001B"),
        ("x\x9b", "$.params.handle contains U+009B"),
        ("x" * 20_001, "20001 characters"),
        (2**63, "$.params.handle is a number beyond 9223372036854775807"),
        (-(10**40), "$.params.handle is a number beyond"),
        ([[[["\0"]]]], "$.params.handle[0][0][0][0] contains U+0000"),
        ({"a\u202e": 1}, "a name in $.params.handle contains U+202E"),
        ({"x" * 201: 1}, "201 characters"),
    ],
)
async def test_what_no_store_or_reader_should_meet_is_refused_by_its_place(
    api, database, value: Any, said: str
) -> None:
    answer = await api.simulate_post(ROUTE, json={**GOOD, "params": {"handle": value}})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json["detail"]
    assert await count(database) == 0


async def test_depth_is_counted_in_levels(api) -> None:
    def nested(levels: int) -> bytes:
        return b"[" * levels + b"]" * levels

    headers = {"content-type": "application/json"}
    deepest = await api.simulate_post(ROUTE, body=nested(MAX_DEPTH), headers=headers)
    deeper = await api.simulate_post(ROUTE, body=nested(MAX_DEPTH + 1), headers=headers)
    assert "levels deep" not in deepest.json["detail"]
    assert f"more than {MAX_DEPTH} levels deep" in deeper.json["detail"]


@pytest.mark.parametrize("name", ["Idempotency-Key"])
@pytest.mark.parametrize("value", ["x" * 256, "a\x7fb", "tab\tbed"])
async def test_headers_that_are_kept_are_looked_at_too(api, database, name: str, value: str) -> None:
    answer = await api.simulate_post(ROUTE, json=GOOD, headers={name: value})
    assert answer.status_code == 400
    assert await count(database) == 0


async def test_a_body_that_does_not_come_is_not_waited_for(api, monkeypatch) -> None:
    monkeypatch.setattr(body, "MAX_SECONDS", 0.05)

    async def never(*_: Any) -> bytes:
        await asyncio.Event().wait()
        return b""

    monkeypatch.setattr(body, "_read", never)
    answer = await api.simulate_post(ROUTE, json=GOOD)
    assert answer.status_code == 408
    assert answer.json["type"] == "urn:beat:problem:body_too_slow"


async def test_a_packed_body_is_refused_unopened(api) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert (await api.simulate_post(ROUTE, body=gzip.compress(b"{}"), headers=headers)).status_code == 415


async def test_a_body_that_lies_about_its_length_is_cut_off(api, database) -> None:
    answer = await api.simulate_post(
        ROUTE, body=b"x" * (MAX_LIST_BYTES + 10), headers={"content-type": "application/json", "content-length": "5"}
    )
    assert answer.status_code in (400, 413)
    assert await count(database) == 0


@in_one(
    ("method", "path", "status"),
    [
        ("GET", "/v1/scrape-requests/0x10", 400),
        ("GET", "/v1/scrape-requests/99999999999999999999", 400),
        ("GET", "/v1/scrape-requests/9223372036854775807", 404),
        ("GET", "/v1/scrape-requests/1/explain", 404),
        ("GET", "/v1/scrape-requests?limit=1000", 400),
        ("GET", "/v1/scrape-requests?limit=-1", 400),
        ("GET", "/v1/scrape-requests?status=LOST", 400),
        ("GET", "/v1/scrape-requests?cursor=%00", 400),
        ("GET", "/v1/scrape-requests?cursor=YmVmb3JlIDk5OTk5OTk5OTk5OTk5OTk5OTk5OTk", 400),
        ("GET", "/v1/scrape-requests?created_after=yesterday", 400),
        ("GET", "/v1/scrape-requests?flow=%00", 400),
        ("GET", "/v1/profiles/instagram/nobody", 404),
        ("GET", "/v1/profiles/instagram/%00", 400),
        ("GET", "/v1/profiles/myspace/tom", 400),
        ("GET", "/v1/profiles/instagram/nobody?posts=x", 400),
        ("DELETE", "/v1/scrape-requests", 405),
        ("GET", "/nowhere", 404),
    ],
)
async def test_bad_paths_and_parameters_are_problems(api, method: str, path: str, status: int) -> None:
    answer = await api.simulate_request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json["status"] == status
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_another_content_type_is_refused(api) -> None:
    answer = await api.simulate_post(ROUTE, body=b"{}", headers={"content-type": "text/plain"})
    assert answer.status_code == 415


@given(
    handle=st.text(max_size=60) | st.text(alphabet=st.characters(categories=["Cs", "Cc", "Cf"]), max_size=5),
    posts=st.none() | st.integers() | st.text(max_size=5),
    account=st.none() | st.text(max_size=20),
)
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
async def test_any_text_is_stored_as_it_is_or_refused(api, database, handle, posts, account) -> None:
    body = {**GOOD, "params": {"handle": handle, "posts": posts}, "account_id": account}
    before = await count(database)
    answer = await api.simulate_post(
        ROUTE, body=json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    assert answer.status_code in (202, 400)
    assert await count(database) == before + (answer.status_code == 202)


async def test_readyz_and_healthz_report_what_is_missing(api, database) -> None:
    assert (await api.simulate_get("/healthz")).status_code == 200
    checks = (await api.simulate_get("/readyz")).json["checks"]
    assert checks.pop("scheduler").startswith("no scheduler leads")
    assert checks == {"database": "ok", "redis": "ok"}
    async with database.transaction() as transaction:
        await transaction.run("INSERT INTO leader (name, epoch, seen_at) VALUES ('scheduler', 1, clock_timestamp())")
        await transaction.run(
            "INSERT INTO sweep (name, every, deadline, ended_at) VALUES ('due', 1, 1, clock_timestamp() - interval '5 s')"
        )
    assert (await api.simulate_get("/readyz")).json["checks"]["scheduler"].startswith("late sweeps: due")
    async with database.transaction() as transaction:
        await transaction.run("UPDATE sweep SET ended_at = clock_timestamp()")
    assert (await api.simulate_get("/readyz")).json["checks"]["scheduler"] == "ok"
    with psycopg.connect(database.settings.owner_url, autocommit=True) as owner:
        owner.execute("UPDATE alembic_version SET version_num = '0001'")
    behind = await api.simulate_get("/readyz")
    assert behind.status_code == 503
    assert "beat migrate" in behind.json["checks"]["database"]


async def test_all_who_ask_at_once_whether_it_is_ready_share_one_look(bare, monkeypatch) -> None:
    """It needs no key, so no rate bounds it."""
    asked, begun, go_on = health._asked, asyncio.Event(), asyncio.Event()
    looks: list[str] = []

    async def held(services: Any, question: str) -> Any:
        looks.append(question)
        begun.set()
        await go_on.wait()
        return await asked(services, question)

    monkeypatch.setattr(health, "_asked", held)
    monkeypatch.setattr(health, "WITHIN", 60.0)
    sent = [asyncio.create_task(bare.simulate_get("/readyz")) for _ in range(20)]
    await begun.wait()
    sent[0].cancel()
    for _ in range(100):
        await asyncio.sleep(0)
    go_on.set()
    assert {answer.status_code for answer in await asyncio.gather(*sent[1:])} == {200}
    assert len(looks) == 2  # the schema and the sweeps
    assert (await bare.simulate_get("/readyz")).status_code == 200
    assert len(looks) == 4  # and it is looked at anew


async def test_without_a_database_nothing_is_accepted_and_the_answer_says_when_to_come_back(
    settings: Settings, wake_ups
) -> None:
    gone = settings.model_copy(update={"database_url": "postgresql://beat@127.0.0.1:9/none"})
    headers = {"Authorization": f"Bearer {mint().text}"}
    async with Promised(app_over(gone, wake_ups), headers=headers) as api:
        answer = await api.simulate_post(ROUTE, json=GOOD)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "2"
        assert "127.0.0.1" not in answer.text
        assert (await api.simulate_get("/healthz")).status_code == 200
        assert (await api.simulate_get("/readyz")).status_code == 503
    assert wake_ups.asked == []


async def test_readyz_allows_a_newer_schema_until_it_is_contracted(api, database) -> None:
    with psycopg.connect(database.settings.owner_url, autocommit=True) as owner:
        owner.execute("UPDATE alembic_version SET version_num = '9998'")
        assert (await api.simulate_get("/readyz")).status_code == 200
        owner.execute("UPDATE schema_compatibility SET oldest = '9998'")
    answer = await api.simulate_get("/readyz")
    assert answer.status_code == 503
    assert "deploy the newer code" in answer.json["checks"]["database"]


async def test_a_database_that_takes_no_writes_is_reported_and_accepts_nothing(api, database_url) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        role = f"ALTER ROLE beat_process IN DATABASE {admin.info.dbname}"
        # As in a fail-over, sessions end; those of a pooler would keep what they began with.
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'beat_process'"
        admin.execute(f"{role} SET default_transaction_read_only = on")
        admin.execute(end)
        answer = await api.simulate_get("/readyz")
        assert (answer.status_code, answer.json["checks"]["database"].partition(":")[0]) == (503, "it takes no writes")
        refused = await api.simulate_post(ROUTE, json=GOOD)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        admin.execute(f"{role} RESET default_transaction_read_only")
        admin.execute(end)
    assert (await api.simulate_get("/readyz")).status_code == 200
