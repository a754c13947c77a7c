"""/v1/webhooks: a secret is shown once, each account sees its own, and what is changed is on record."""

import re
from pathlib import Path
from typing import Any

from beat_actors.access.scopes import Scope
from beat_actors.database import Database
from beat_actors.events import catalog
from beat_actors.webhooks.endpoints import TESTS
from tests.in_one import in_one
from tests.integration.api.conftest import bearer
from tests.integration.api.test_access import GOOD

ROOT = Path(catalog.__file__).parents[1]
BOTH = (Scope.SUBMIT, Scope.READ)
URL = "https://example.com/hooks?token=hidden"


async def made(api: Any, headers: dict[str, str], **fields: Any) -> Any:
    answer = await api.simulate_post("/v1/webhooks", json={"url": URL} | fields, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json


async def test_an_endpoint_lives_and_its_secret_is_shown_once(bare, database: Database, new_key) -> None:
    headers = bearer(await new_key(*BOTH, account_id="acme"))
    one = await made(bare, headers)
    path = f"/v1/webhooks/{one['id']}"
    assert one["secret"].startswith("whsec_")
    assert (one["account_id"], one["state"], one["events"]) == ("acme", "active", ["*"])
    listed = await bare.simulate_get("/v1/webhooks", headers=headers)
    assert [found["id"] for found in listed.json["webhooks"]] == [one["id"]]
    paused = await bare.simulate_patch(path, json={"state": "paused", "events": ["beat.alert.*"]}, headers=headers)
    assert (paused.json["state"], paused.json["events"]) == ("paused", ["beat.alert.*"])
    assert (await bare.simulate_post(f"{path}/test", headers=headers)).status_code == 409
    await bare.simulate_patch(path, json={"state": "active"}, headers=headers)
    tested = await bare.simulate_post(f"{path}/test", headers=headers)
    assert tested.status_code == 202
    page = (await bare.simulate_get(f"{path}/deliveries?state=pending", headers=headers)).json
    assert [(d["id"], d["type"]) for d in page["deliveries"]] == [(tested.json["delivery_id"], "beat.webhook.test")]
    resent = await bare.simulate_post(f"{path}/deliveries/{tested.json['delivery_id']}/resend", headers=headers)
    assert resent.status_code == 409
    rotated = (await bare.simulate_post(f"{path}/rotate", headers=headers)).json
    assert rotated["secret"] not in (one["secret"], "")
    since = await bare.simulate_post(f"{path}/resend", json={"since": "2030-01-31T12:00:00Z"}, headers=headers)
    assert (since.status_code, since.json) == (202, {"resent": 0})
    assert (await bare.simulate_delete(path, headers=headers)).status_code == 200
    assert (await bare.simulate_get(path, headers=headers)).status_code == 404
    for secret in (one["secret"], rotated["secret"]):
        assert secret not in listed.text + paused.text + str(page)
    async with database.statements() as alone:
        rows = await alone.rows(
            "SELECT action, audit_log::text AS whole FROM audit_log WHERE action LIKE 'webhook%%' ORDER BY id", ()
        )
    verbs = ["create", "change", "change", "test", "rotate", "resend", "delete"]
    assert [row.action for row in rows] == [f"webhook.{verb}" for verb in verbs]
    assert "whsec_" not in str(rows)
    assert "hidden" not in str(rows)  # what a URL's query holds may be a secret


async def test_another_account_finds_no_endpoint_by_any_way(bare, new_key) -> None:
    acme, zeta = [bearer(await new_key(*BOTH, account_id=account)) for account in ("acme", "zeta")]
    number = (await made(bare, acme))["id"]
    path = f"/v1/webhooks/{number}"
    ways: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
        ("GET", path, None), ("PATCH", path, {"state": "paused"}), ("DELETE", path, None), ("POST", f"{path}/rotate", None),
        ("POST", f"{path}/test", None), ("GET", f"{path}/deliveries", None), ("POST", f"{path}/deliveries/1/resend", None),
        ("POST", f"{path}/resend", {"since": "2030-01-31T12:00:00Z"}),
    )  # fmt: skip
    for method, way, body in ways:
        given = {"json": body} if body else {}
        assert (await bare.simulate_request(method, way, headers=zeta, **given)).status_code == 404, way
    assert (await bare.simulate_get("/v1/webhooks", headers=zeta)).json == {"webhooks": []}
    assert (await bare.simulate_get(path, headers=acme)).json["state"] == "active"
    refused = await bare.simulate_post("/v1/webhooks", json={"url": URL, "account_id": "acme"}, headers=zeta)
    assert refused.status_code == 403


async def test_everybodys_events_are_for_who_operates(bare, new_key) -> None:
    reader, operator = bearer(await new_key(*BOTH)), bearer(await new_key(Scope.OPERATE))
    assert (await bare.simulate_post("/v1/webhooks", json={"url": URL}, headers=reader)).status_code == 403
    number = (await made(bare, operator))["id"]
    assert (await bare.simulate_get(f"/v1/webhooks/{number}", headers=reader)).status_code == 404
    assert (await bare.simulate_get(f"/v1/webhooks/{number}", headers=operator)).json["account_id"] is None
    feeder = bearer(await new_key(Scope.SUBMIT, account_id="acme"))
    refused = await bare.simulate_post("/v1/webhooks", json={"url": URL}, headers=feeder)
    assert (refused.status_code, "read" in refused.json["detail"]) == (403, True)


async def test_a_refusal_names_the_field(api) -> None:
    for body, field in (
        ({"url": "http://example.com/"}, "url"),
        ({"url": "https://169.254.169.254/latest"}, "url"),
        ({"url": URL, "events": ["order.created"]}, "events[0]"),
        ({"url": URL, "events": []}, "events"),
    ):
        answer = await api.simulate_post("/v1/webhooks", json=body)
        assert (answer.status_code, answer.json["field"]) == (400, field)


async def test_test_events_beyond_the_rate_are_429_and_say_when_to_come_back(bare, new_key) -> None:
    headers = bearer(await new_key(*BOTH, account_id="acme"))
    path = f"/v1/webhooks/{(await made(bare, headers))['id']}/test"
    answers = [await bare.simulate_post(path, headers=headers) for _ in range(TESTS + 1)]
    assert [one.status_code for one in answers] == [202] * TESTS + [429]
    refused = answers[-1]
    assert refused.json["type"] == "urn:beat:problem:too_many_tests"
    assert 0 < int(refused.headers["retry-after"]) <= 60


async def test_a_key_that_ends_says_what_becomes_of_its_webhooks(bare, new_key) -> None:
    admin, first = bearer(await new_key(Scope.ADMIN)), await new_key(*BOTH, account_id="acme")
    one = await made(bare, bearer(first))
    assert (one["reason"], one["api_key_id"]) == (None, first.id)
    rotated = (await bare.simulate_post(f"/v1/keys/{first.id}/rotate", headers=admin)).json
    ((handed,),) = [rotated["webhooks"]]
    assert handed["id"] == one["id"]
    assert handed["secret"] not in ("", one["secret"])
    other = bearer(await new_key(*BOTH, account_id="acme"))
    revoked = await bare.simulate_delete(f"/v1/keys/{rotated['id']}", params={"reason": "leaked"}, headers=admin)
    assert revoked.json["webhooks_paused"] == [one["id"]]
    path = f"/v1/webhooks/{one['id']}"
    seen = (await bare.simulate_get(path, headers=other)).json
    assert (seen["state"], seen["reason"], seen["api_key_id"]) == ("paused", "key_revoked", rotated["id"])
    resumed = (await bare.simulate_patch(path, json={"state": "active"}, headers=other)).json
    assert (resumed["state"], resumed["reason"]) == ("active", None)
    assert resumed["api_key_id"] not in (first.id, rotated["id"])


@in_one(
    "events",
    [["beat.*"], ["*"], ["beat.scrape_request.*"], ["beat.alert.opened", "beat.scrape_request.failed"], [catalog.TEST]],
)
async def test_names_of_events_that_exist_are_taken(bare, new_key, events: list[str]) -> None:
    headers = bearer(await new_key(*BOTH, account_id="acme"))
    assert (await made(bare, headers, events=events))["events"] == events


@in_one(
    "name",
    [
        "beat.nosuch",
        "beat.scrape_request",
        "beat.scrape_request.done",
        "beat",
        "beat*",
        "beat.scrape*",
        "",
        ".*",
        "x.*",
    ],
)
async def test_a_mistyped_event_is_refused_with_the_list(bare, new_key, name: str) -> None:
    headers = bearer(await new_key(*BOTH, account_id="acme"))
    body = {"url": URL, "events": ["beat.alert.*", name]}
    answer = await bare.simulate_post("/v1/webhooks", json=body, headers=headers)
    assert (answer.status_code, answer.json["field"]) == (400, "events[1]")
    assert all(event in answer.json["detail"] for event in catalog.EVENTS)
    number = (await made(bare, headers))["id"]
    answer = await bare.simulate_patch(f"/v1/webhooks/{number}", json={"events": [name]}, headers=headers)
    assert answer.status_code == 400


async def test_the_event_of_a_request_has_the_documented_fields(api, database: Database) -> None:
    body = GOOD | {"params": {"handle": "one"}, "tags": {"campaign": "spring"}, "priority": "batch"}
    asked = await api.simulate_post("/v1/scrape-requests", json=body, headers={"Idempotency-Key": "mine"})
    location = asked.json["location"]
    assert (await api.simulate_post(f"{location}/cancel")).status_code == 200
    async with database.statements() as alone:
        (data,) = [
            row.data
            for row in await alone.rows("SELECT data FROM event WHERE type = 'beat.scrape_request.cancelled'", ())
        ]
    page = (ROOT.parent / "docs/webhooks.md").read_text()
    documented = set(re.findall(r"`(\w+)`", page.partition("`data` of a request event")[2].partition("\n\n")[0]))
    assert {"params", "idempotency_key", "location", "created_at"} < documented
    assert documented <= set(data)
    assert (data["params"]["handle"], data["idempotency_key"], data["location"]) == ("one", "mine", location)
    assert (data["status"], data["priority"], data["tags"]) == ("CANCELLED", "batch", {"campaign": "spring"})
