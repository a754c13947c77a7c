"""Deny by default: every route of the table, called without a key, with every kind of bad one, with too little, and by another tenant."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import falcon.inspect
import pytest

from api import data
from api.access import OPEN, PUBLIC, App
from api.app import create_app
from api.docs import FILES
from api.services import Provider
from beat_actors.access import keys
from beat_actors.access.scopes import CONTAINS, Scope
from beat_actors.access.tokens import CHECKSUM, DIGITS, _checksum, mint
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.platforms.interface import CHECK, REFRESH
from tests.in_one import in_one
from tests.integration.api.conftest import Keys, bearer

GOOD = {"platform": "instagram", "flow": "refresh_profile_by_handle", "params": {"handle": "creator"}}
# Said here once more, so that a scope that is changed or lost by accident is noticed.
TABLE = {
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/schemas"): OPEN,
    ("GET", "/schemas/{event_type}/{major}"): OPEN,
    ("GET", "/asyncapi.json"): OPEN,
    **{("GET", f"/docs/{name}"): OPEN for name in FILES},
    ("GET", "/assets/{public_id}"): PUBLIC,
    ("HEAD", "/assets/{public_id}"): PUBLIC,
    ("POST", "/v1/scrape-requests"): Scope.SUBMIT,
    ("GET", "/v1/scrape-requests"): Scope.READ,
    ("GET", "/v1/scrape-requests/{request_id}"): Scope.READ,
    ("GET", "/v1/scrape-requests/{request_id}/explain"): Scope.READ,
    ("POST", "/v1/scrape-requests/{request_id}/cancel"): Scope.SUBMIT,
    ("POST", "/v1/scrape-requests/{request_id}/retry"): Scope.SUBMIT,
    ("POST", "/v1/scrape-requests/retry"): Scope.SUBMIT,
    ("POST", "/v1/scrape-requests/cancel"): Scope.SUBMIT,
    ("POST", "/v1/batches"): Scope.SUBMIT,
    ("GET", "/v1/batches"): Scope.READ,
    ("GET", "/v1/batches/{batch_id}"): Scope.READ,
    ("POST", "/v1/batches/{batch_id}/requests"): Scope.SUBMIT,
    ("POST", "/v1/batches/{batch_id}/close"): Scope.SUBMIT,
    ("POST", "/v1/batches/{batch_id}/cancel"): Scope.SUBMIT,
    # What the platforms declare is read, and nothing else.
    **{("GET", path): Scope.READ for path in data.routes(Provider(lambda: pytest.fail("not opened")))},
    ("POST", "/v1/profiles/{platform}/{name}/refresh"): Scope.SUBMIT,
    ("GET", "/v1/forecast"): Scope.OPERATE,
    ("GET", "/metrics"): Scope.METRICS,
    ("GET", "/v1/limits"): Scope.OPERATE,
    ("POST", "/v1/limits/{name}/reset"): Scope.OPERATE,
    ("GET", "/v1/accounts/{account}/grants"): Scope.OPERATE,
    ("POST", "/v1/accounts/{account}/grants"): Scope.OPERATE,
    ("DELETE", "/v1/accounts/{account}/grants"): Scope.OPERATE,
    ("GET", "/v1/keys"): Scope.ADMIN,
    ("POST", "/v1/keys"): Scope.ADMIN,
    ("DELETE", "/v1/keys/{key}"): Scope.ADMIN,
    ("POST", "/v1/keys/{key}/rotate"): Scope.ADMIN,
    ("GET", "/v1/credentials"): Scope.OPERATE,
    ("POST", "/v1/credentials"): Scope.OPERATE,
    ("GET", "/v1/credentials/{credential_id}"): Scope.OPERATE,
    ("POST", "/v1/credentials/{credential_id}/secret"): Scope.OPERATE,
    ("POST", "/v1/credentials/{credential_id}/change/{change}"): Scope.OPERATE,
    ("GET", "/v1/sources"): Scope.OPERATE,
    ("POST", "/v1/sources/{source}/breaker/{change}"): Scope.OPERATE,
    ("POST", "/v1/sources/{source}/data-breaker/{change}"): Scope.OPERATE,
    ("GET", "/v1/flows"): Scope.OPERATE,
    ("PATCH", "/v1/flows/{flow}"): Scope.OPERATE,
    ("GET", "/v1/queues"): Scope.OPERATE,
    ("GET", "/v1/queues/{queue}"): Scope.OPERATE,
    ("POST", "/v1/queues/{queue}/purge"): Scope.OPERATE,
    ("POST", "/v1/queues/{queue}/requeue"): Scope.OPERATE,
    ("GET", "/v1/messages/{message_id}"): Scope.OPERATE,
    ("POST", "/v1/messages/{message_id}/{change}"): Scope.OPERATE,
    ("GET", "/v1/grants"): Scope.OPERATE,
    ("POST", "/v1/credentials/rotate-keys"): Scope.ADMIN,
    ("GET", "/v1/stuck"): Scope.OPERATE,
    ("GET", "/v1/assets"): Scope.OPERATE,
    ("GET", "/v1/assets/{asset_id}"): Scope.OPERATE,
    ("GET", "/v1/assets/backlog"): Scope.OPERATE,
    ("GET", "/v1/assets/costs"): Scope.OPERATE,
    ("POST", "/v1/assets/retry"): Scope.OPERATE,
    ("POST", "/v1/assets/forget"): Scope.OPERATE,
    ("POST", "/v1/erasures"): Scope.OPERATE,
    ("GET", "/v1/scorecard"): Scope.OPERATE,
    ("GET", "/v1/erasures"): Scope.OPERATE,
    ("GET", "/v1/erasures/{erasure_id}"): Scope.OPERATE,
    ("POST", "/v1/erasures/lift"): Scope.OPERATE,
    ("POST", "/v1/assets/allow"): Scope.OPERATE,
    ("POST", "/v1/stuck/requeue"): Scope.OPERATE,
    ("GET", "/v1/database/tables"): Scope.OPERATE,
    ("GET", "/v1/database/connections"): Scope.OPERATE,
    ("GET", "/v1/database/processes"): Scope.OPERATE,
    ("POST", "/v1/blast"): Scope.OPERATE,
    ("GET", "/v1/restores"): Scope.OPERATE,
    ("POST", "/v1/restores"): Scope.OPERATE,
    ("GET", "/v1/restores/{restore_id}"): Scope.OPERATE,
    ("POST", "/v1/restores/{restore_id}/apply"): Scope.OPERATE,
    ("POST", "/v1/restores/{restore_id}/cancel"): Scope.OPERATE,
    ("POST", "/v1/restores/undo"): Scope.OPERATE,
    ("GET", "/v1/quarantine"): Scope.OPERATE,
    ("GET", "/v1/quarantine/{entry_id}"): Scope.OPERATE,
    ("GET", "/v1/quarantine/{entry_id}/payload"): Scope.OPERATE,
    ("POST", "/v1/quarantine/resolve"): Scope.OPERATE,
    ("POST", "/v1/quarantine/replay"): Scope.OPERATE,
    ("GET", "/v1/held"): Scope.OPERATE,
    ("GET", "/v1/held/{held_id}"): Scope.OPERATE,
    ("POST", "/v1/held/{held_id}/accept"): Scope.OPERATE,
    ("POST", "/v1/held/{held_id}/reject"): Scope.OPERATE,
    ("GET", "/v1/events"): Scope.OPERATE,
    ("GET", "/v1/events/{seq}"): Scope.READ,
    ("GET", "/v1/events/sinks"): Scope.OPERATE,
    ("DELETE", "/v1/events/sinks/{sink}"): Scope.OPERATE,
    ("GET", "/v1/events/replays"): Scope.OPERATE,
    ("POST", "/v1/events/replays"): Scope.OPERATE,
    ("POST", "/v1/events/replays/{replay_id}/cancel"): Scope.OPERATE,
    ("GET", "/v1/events/parked"): Scope.OPERATE,
    ("POST", "/v1/events/parked/retry"): Scope.OPERATE,
    ("POST", "/v1/events/parked/drop"): Scope.OPERATE,
    ("GET", "/v1/alerts"): Scope.OPERATE,
    ("POST", "/v1/alerts/{alert_id}/silence"): Scope.OPERATE,
    ("GET", "/v1/notify/sinks"): Scope.OPERATE,
    ("POST", "/v1/notify/sinks"): Scope.OPERATE,
    ("GET", "/v1/notify/sinks/{sink}"): Scope.OPERATE,
    ("PATCH", "/v1/notify/sinks/{sink}"): Scope.OPERATE,
    ("DELETE", "/v1/notify/sinks/{sink}"): Scope.OPERATE,
    ("POST", "/v1/notify/sinks/{sink}/test"): Scope.OPERATE,
    ("GET", "/v1/notify/messages"): Scope.OPERATE,
    ("GET", "/v1/notify/messages/{message_id}"): Scope.OPERATE,
    ("GET", "/v1/audit"): Scope.ADMIN,
    ("GET", "/v1/brief"): Scope.OPERATE,
    ("GET", "/v1/overview"): Scope.OPERATE,
    ("GET", "/v1/webhooks"): Scope.READ,
    ("POST", "/v1/webhooks"): Scope.SUBMIT,
    ("GET", "/v1/webhooks/{webhook_id}"): Scope.READ,
    ("PATCH", "/v1/webhooks/{webhook_id}"): Scope.SUBMIT,
    ("DELETE", "/v1/webhooks/{webhook_id}"): Scope.SUBMIT,
    ("POST", "/v1/webhooks/{webhook_id}/rotate"): Scope.SUBMIT,
    ("POST", "/v1/webhooks/{webhook_id}/test"): Scope.SUBMIT,
    ("POST", "/v1/webhooks/{webhook_id}/resend"): Scope.SUBMIT,
    ("GET", "/v1/webhooks/{webhook_id}/deliveries"): Scope.READ,
    ("POST", "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/resend"): Scope.SUBMIT,
}
FILLED = {
    "request_id": 1, "platform": "instagram", "key": 4711, "credential_id": 1, "change": "open",
    "source": "lama", "queue": "ingest", "message_id": "none", "entry_id": 1, "erasure_id": 1, "held_id": 1, "restore_id": 1, "alert_id": 1, "name": "none",
    "flow": "refresh_profile_basic", "webhook_id": 1, "delivery_id": 1, "account": "acme", "batch_id": 1,
    "event_type": "beat.batch.ended", "major": 1, "public_id": "5d0c1c3e-8a8e-4c8e-9a39-0f5c4bfa2f11", "seq": 1, "sink": "bus", "replay_id": 1,
    "asset_id": "5f2c9e1a-6c1b-4c0e-9d7e-2f1f0a3b4c5d",
}  # fmt: skip
READ_TOO = {("POST", "/v1/webhooks/{webhook_id}/rotate")}
GUARDED = {route: scope for route, scope in TABLE.items() if scope not in (OPEN, PUBLIC)}


def served() -> Iterator[tuple[str, str]]:
    """What the application really serves."""
    app = create_app(lambda: pytest.fail("not started"))
    for route in falcon.inspect.inspect_routes(app):
        for method in route.methods:
            if not method.internal:  # Falcon's own 405s and OPTIONS
                yield method.method, route.path


def test_the_table_holds_every_route() -> None:
    assert sorted(served()) == sorted(TABLE)


async def call(api: Any, method: str, path: str, headers: dict[str, str] | None = None) -> Any:
    filled = path.format_map(FILLED)
    body = {"json": GOOD} if method in ("POST", "PATCH") else {}
    return await api.simulate_request(method, filled, headers=headers or {}, **body)


async def rows(database: Database) -> int:
    async with database.transaction() as transaction:
        return int(
            await transaction.value("SELECT (SELECT count(*) FROM scrape_request_log) + (SELECT count(*) FROM api_key)")
        )


def tampered(text: str) -> str:
    """Another secret behind the same prefix, with a checksum that fits."""
    body = text[:-CHECKSUM]
    body = body[:-1] + DIGITS[(DIGITS.index(body[-1]) + 1) % len(DIGITS)]
    return body + _checksum(body)


async def bad_keys(database: Database, new_key: Keys) -> dict[str, dict[str, str]]:
    good, expired, revoked = [await new_key(Scope.ADMIN, life=timedelta(days=1)) for _ in range(3)]
    async with database.transaction() as transaction:
        await transaction.run("UPDATE api_key SET expires_at = clock_timestamp() WHERE id = %s", (expired.id,))
        await keys.revoke(transaction, str(revoked.id), reason="test", actor="test")
    text = good.minted.text
    return {
        "none": {},
        "empty": {"Authorization": ""},
        "no token": {"Authorization": "Bearer "},
        "another kind": {"Authorization": f"Basic {text}"},
        "in the wrong place": {"X-Api-Key": text},
        "garbage": {"Authorization": "Bearer letmein"},
        "cut off": {"Authorization": f"Bearer {text[:-1]}"},
        "two": {"Authorization": f"Bearer {text}, Bearer {text}"},
        "never made": {"Authorization": f"Bearer {mint().text}"},
        "another secret": {"Authorization": f"Bearer {tampered(text)}"},
        "SQL": {"Authorization": "Bearer beat_' OR 1=1 --_x"},
        "expired": bearer(expired),
        "revoked": bearer(revoked),
    }


async def test_without_a_good_key_nothing_is_served_and_nothing_is_written(bare, database, new_key) -> None:
    bad = await bad_keys(database, new_key)
    before = await rows(database)
    for method, path in GUARDED:
        for kind, headers in bad.items():
            answer = await call(bare, method, path, headers)
            assert (answer.status_code, kind, path) == (401, kind, path)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json["type"] == "urn:beat:problem:unauthenticated"
            assert "ratelimit-limit" not in answer.headers
    assert await rows(database) == before


async def test_a_bad_key_is_refused_where_none_is_needed(bare, database, new_key) -> None:
    for kind, headers in (await bad_keys(database, new_key)).items():
        for method, path in (route for route, scope in TABLE.items() if scope == PUBLIC):
            expected = 401 if headers.get("Authorization") else 404
            assert ((await call(bare, method, path, headers)).status_code, kind) == (expected, kind)


async def test_what_became_of_a_key_is_shown_to_its_holder_alone(bare, database, new_key) -> None:
    bad = await bad_keys(database, new_key)
    said = {kind: (await call(bare, "GET", "/v1/keys", headers)).json["detail"] for kind, headers in bad.items()}
    assert (said["expired"], said["revoked"]) == ("the key has expired", "the key was revoked")
    assert "Authorization: Bearer" in said["none"]
    stranger = {"Authorization": f"Bearer {tampered(bad['revoked']['Authorization'].removeprefix('Bearer '))}"}
    assert (
        (await call(bare, "GET", "/v1/keys", stranger)).json["detail"] == said["never made"] == said["another secret"]
    )


@in_one("held", list(Scope))
async def test_a_scope_opens_what_it_says_and_nothing_else(bare, database, new_key, held: Scope) -> None:
    headers = bearer(await new_key(held))
    for (method, path), needed in GUARDED.items():
        before = await rows(database)
        answer = await call(bare, method, path, headers)
        if (method, path) in READ_TOO and Scope.READ not in CONTAINS[held]:
            assert (answer.status_code, method, path) == (403, method, path)
            assert (
                f'scope="{needed if needed not in CONTAINS[held] else Scope.READ}"'
                in answer.headers["www-authenticate"]
            )
        elif needed in CONTAINS[held]:
            assert answer.status_code in (200, 202, 400, 404, 409), (method, path, answer.text)
        else:
            assert (answer.status_code, method, path) == (403, method, path)
            assert answer.json["type"] == "urn:beat:problem:forbidden"
            assert f'scope="{needed}"' in answer.headers["www-authenticate"]
            assert await rows(database) == before


async def test_probes_need_no_key(bare) -> None:
    for (method, path), scope in TABLE.items():
        if scope == OPEN:
            assert (await call(bare, method, path)).status_code == 200


async def test_methods_that_do_not_exist_need_a_key_too(bare, new_key) -> None:
    headers = bearer(await new_key(Scope.SUBMIT))
    assert (await bare.simulate_put("/v1/scrape-requests")).status_code == 401
    assert (await bare.simulate_put("/v1/scrape-requests", headers=headers)).status_code == 405


async def test_another_account_finds_nothing(bare, database, new_key) -> None:
    """What one account asked for does not exist for another, by whatever way it is looked for."""
    both = (Scope.SUBMIT, Scope.READ)
    acme, zeta = bearer(await new_key(*both, account_id="acme")), bearer(await new_key(*both, account_id="zeta"))
    operator = bearer(await new_key(Scope.OPERATE))
    request = (await bare.simulate_post("/v1/scrape-requests", json=GOOD, headers=acme)).json["id"]
    async with database.transaction() as transaction:
        await transaction.run(
            "INSERT INTO instagram_account (profile_id, handle, account_id, source, parser_version, request_id, observed_at) "
            "VALUES ('1', 'creator', 'acme', 'lama', 1, %s, now())",
            (request,),
        )
        await transaction.run(
            "INSERT INTO profile_log (observed_at, platform, profile_id, account_id, source, parser_version, request_id, fetch_id, dimensions, metrics) "
            "VALUES (now(), 'instagram', '1', 'acme', 'lama', 1, %s, 1, '{}', '{}')",
            (request,),
        )
    ways = ("/v1/scrape-requests/{id}", "/v1/scrape-requests/{id}/explain", "/v1/profiles/instagram/{handle}")
    for way in ways:
        path = way.format(id=request, handle="creator")
        assert (await bare.simulate_get(path, headers=acme)).status_code == 200
        assert (await bare.simulate_get(path, headers=operator)).status_code == 200
        hidden = await bare.simulate_get(path, headers=zeta)
        missing = await bare.simulate_get(way.format(id=4711, handle="nobody"), headers=zeta)
        assert hidden.status_code == missing.status_code == 404
        # Nor does the answer say that there is something to hide.
        said = hidden.json["detail"].replace(f"request {request}", "request 4711").replace("'creator'", "'nobody'")
        assert said == missing.json["detail"]
    listed = (await bare.simulate_get("/v1/scrape-requests?counts=true", headers=zeta)).json
    assert (listed["requests"], sum(listed["counts"].values())) == ([], 0)
    listed = (await bare.simulate_get("/v1/scrape-requests", headers=acme)).json
    assert [found["account_id"] for found in listed["requests"]] == ["acme"]


async def test_an_account_asks_in_its_own_name_only(bare, database, new_key) -> None:
    acme = await new_key(Scope.SUBMIT, Scope.READ, account_id="acme")
    headers = bearer(acme)
    refused = await bare.simulate_post("/v1/scrape-requests", json={**GOOD, "account_id": "zeta"}, headers=headers)
    assert refused.status_code == 403
    assert (await bare.simulate_get("/v1/scrape-requests?account_id=zeta", headers=headers)).status_code == 403
    items = [GOOD, {**GOOD, "account_id": "zeta"}, {**GOOD, "account_id": "acme"}]
    answer = (await bare.simulate_post("/v1/scrape-requests", json={"requests": items}, headers=headers)).json
    assert (answer["accepted"], answer["outcomes"][1]["status"]) == (2, 403)
    async with database.transaction() as transaction:
        found = await transaction.rows("SELECT account_id, api_key_id FROM scrape_request_log")
    assert [tuple(row) for row in found] == [("acme", acme.id)] * 2


async def test_an_idempotency_key_is_an_accounts_own(bare, new_key) -> None:
    ids = set()
    for account in ("acme", "zeta"):
        headers = bearer(await new_key(Scope.SUBMIT, account_id=account)) | {"Idempotency-Key": "once"}
        for _ in range(2):
            ids.add((await bare.simulate_post("/v1/scrape-requests", json=GOOD, headers=headers)).json["id"])
    assert len(ids) == 2


async def test_of_no_account_an_idempotency_key_is_the_api_keys_own(bare, new_key) -> None:
    one, other = [bearer(await new_key(Scope.SUBMIT)) | {"Idempotency-Key": "once"} for _ in range(2)]
    body = {**GOOD, "account_id": "acme"}
    first = await bare.simulate_post("/v1/scrape-requests", json=body, headers=one)
    another = {**body, "params": {"handle": "another"}}
    second = await bare.simulate_post("/v1/scrape-requests", json=another, headers=other)
    assert (first.status_code, second.status_code) == (202, 202)
    assert (await bare.simulate_post("/v1/scrape-requests", json=another, headers=one)).status_code == 409
    # Nor is it the account's, which it only named.
    acme = bearer(await new_key(Scope.SUBMIT, account_id="acme")) | {"Idempotency-Key": "once"}
    third = await bare.simulate_post("/v1/scrape-requests", json=another, headers=acme)
    assert (third.status_code, third.json["accepted_as"]) == (202, "joined")


async def test_an_account_is_not_shown_whose_neighbour_it_had_in_a_call(bare, database, new_key) -> None:
    acme, operator = (
        bearer(await new_key(Scope.SUBMIT, Scope.READ, account_id="acme")),
        bearer(await new_key(Scope.OPERATE)),
    )
    request = (await bare.simulate_post("/v1/scrape-requests", json=GOOD, headers=acme)).json["id"]
    async with database.transaction() as transaction:
        await transaction.run(
            "INSERT INTO trace_log (at, fetch_id, request_id, attempt, platform, source, operation, credential_id, method, url, outcome) "
            "VALUES (now(), 1, %s, 1, 'instagram', 'lama', 'x', 1, 'GET', 'https://a.invalid/?ids=creator,rival', 'ok')",
            (request,),
        )
    path = f"/v1/scrape-requests/{request}/explain"
    assert "rival" in (await bare.simulate_get(path, headers=operator)).text
    shown = await bare.simulate_get(path, headers=acme)
    assert (len(shown.json["calls"]), "rival" in shown.text) == (1, False)


async def test_what_providers_said_and_which_credential_was_used_is_for_who_operates(bare, database, new_key) -> None:
    """In calls and in what a fetch waits for. That a credential was checked or refreshed may be another account's doing."""
    readers = [bearer(await new_key(Scope.SUBMIT, Scope.READ, account_id=account)) for account in ("acme", None)]
    operator = bearer(await new_key(Scope.OPERATE))
    request = (await bare.simulate_post("/v1/scrape-requests", json=GOOD, headers=readers[0])).json["id"]
    reasons = [
        {"source": "graphapi", "credential_id": 4711, "why": "cooling down", "until": 4e9, "hint": "canary's command"}
    ]
    async with database.transaction() as transaction:
        await transaction.run("UPDATE lane SET reasons = %s::jsonb, checked_at = now()", (json.dumps(reasons),))
        for operation in ("x", CHECK, REFRESH):
            await transaction.run(
                "INSERT INTO trace_log (at, fetch_id, request_id, attempt, platform, source, operation, credential_id, method, url, outcome, code, detail) "
                "VALUES (now(), 1, %s, 1, 'instagram', 'lama', %s, 4711, 'GET', 'https://canary.invalid', 'bad_request', 'canary_code', 'canary words')",
                (request, operation),
            )
    path = f"/v1/scrape-requests/{request}/explain"
    told = await bare.simulate_get(path, headers=operator)
    assert [call["operation"] for call in told.json["calls"]] == ["x", CHECK, REFRESH]
    for word in ("4711", "canary.invalid", "canary_code", "canary words", "canary's command"):
        assert word in told.text
    shown = [await bare.simulate_get(path, headers=headers) for headers in readers]
    for answer in shown:
        assert "canary" not in answer.text
        assert "4711" not in answer.text
        assert answer.json["fetches"][0]["blockers"][0]["why"] == "cooling down"
        assert answer.json["calls"][0]["why"] == "it says that it cannot be asked for like this"
    assert [call["operation"] for call in shown[0].json["calls"]] == ["x"]


async def test_no_body_is_read_from_who_may_not_send_one(bare, new_key) -> None:
    reader = bearer(await new_key(Scope.READ))
    hostile = {"body": b"[" * 500_000, "headers": {"content-type": "application/json"}}
    assert (await bare.simulate_post("/v1/scrape-requests", **hostile)).status_code == 401
    hostile["headers"] = {**hostile["headers"], **reader}
    assert (await bare.simulate_post("/v1/scrape-requests", **hostile)).status_code == 403


async def test_every_answer_carries_the_headers_that_make_it_harmless(bare, new_key) -> None:
    headers = bearer(await new_key(Scope.READ))
    for path in ("/healthz", "/nowhere", "/v1/keys", "/v1/scrape-requests", "/v1/scrape-requests/x"):
        answer = await bare.simulate_get(path, headers=headers)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers


class Undeclared:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.text = "secret"


class Forgotten(Undeclared):
    scopes = {"GET": Scope.READ}

    async def on_delete(self, req: Any, resp: Any) -> None: ...


class Listening(Undeclared):
    scopes = {"GET": Scope.READ}

    async def on_websocket(self, req: Any, ws: Any) -> None: ...


@pytest.mark.parametrize("resource", [Undeclared(), Forgotten(), Listening()])
def test_a_route_that_does_not_say_who_may_call_it_stops_the_start(resource: Any) -> None:
    with pytest.raises(TypeError, match="declares scopes for"):
        App().add_route("/new", resource)


def test_nothing_is_served_past_the_table() -> None:
    app = App()
    with pytest.raises(TypeError, match="suffix"):
        app.add_route("/new", Undeclared(), suffix="other")
    with pytest.raises(TypeError, match="declares no scopes"):
        app.add_sink(lambda: None, "/")
    with pytest.raises(TypeError, match="declares no scopes"):
        app.add_static_route("/files", "/tmp")


async def test_who_submits_ends_and_retries_its_own_alone(bare, database, new_key) -> None:
    submits, other = [await new_key(Scope.SUBMIT) for _ in range(2)]
    acme, operates = await new_key(Scope.SUBMIT, account_id="acme"), await new_key(Scope.OPERATE)
    route = "/v1/scrape-requests"
    asked = (await bare.simulate_post(route, json=GOOD, headers=bearer(submits))).json
    for key in (other, acme):
        for change in ("cancel", "retry"):
            answer = await bare.simulate_post(f"{asked['location']}/{change}", headers=bearer(key))
            assert answer.status_code == 404
    assert (await bare.simulate_post(f"{asked['location']}/cancel", headers=bearer(submits))).json == {
        "id": asked["id"],
        "status": "CANCELLED",
        "location": asked["location"],
    }
    for key, retried in ((other, 0), (acme, 0), (submits, 1)):
        answer = await bare.simulate_post(f"{route}/retry", json={"status": "CANCELLED"}, headers=bearer(key))
        assert (answer.status_code, answer.json["retried"]) == (202, retried)
    for change in ("cancel", "retry"):
        answer = await bare.simulate_post(f"{asked['location']}/{change}", headers=bearer(operates))
        assert answer.status_code in (200, 202)
    async with database.transaction() as transaction:
        found = await transaction.rows("SELECT actor, action FROM audit_log WHERE action LIKE 'request.%%' ORDER BY id")
    assert [(row.actor, row.action) for row in found] == [
        (f"key:{submits.id}", "request.cancel"),
        (f"key:{submits.id}", "request.retry"),
        (f"key:{operates.id}", "request.cancel"),
        (f"key:{operates.id}", "request.retry"),
    ]


async def test_to_wait_or_to_be_answered_from_the_store_is_to_read(bare, database, new_key) -> None:
    submits, both = await new_key(Scope.SUBMIT), await new_key(Scope.SUBMIT, Scope.READ)
    route = "/v1/scrape-requests"
    refused = await bare.simulate_post(route, json=GOOD, params={"wait": "1"}, headers=bearer(submits))
    assert refused.status_code == 403
    assert 'scope="read"' in refused.headers["www-authenticate"]
    await bare.simulate_post(route, json=GOOD, headers=bearer(submits))
    async with database.transaction() as transaction:
        await transaction.run(
            "UPDATE scrape_request_log SET status = 'COMPLETE', live = false, scraped_at = clock_timestamp(), observed_at = clock_timestamp()"
        )
    stored = await bare.simulate_post(route, json={**GOOD, "max_age": 60}, headers=bearer(submits))
    assert (stored.status_code, sorted(stored.json)) == (202, ["accepted_as", "id", "location"])
    assert (await bare.simulate_post(route, json={**GOOD, "max_age": 60}, headers=bearer(both))).status_code == 200


async def test_an_operator_who_looks_collects_nothing(bare, database, new_key) -> None:
    both, operates = await new_key(Scope.SUBMIT, Scope.READ), await new_key(Scope.OPERATE)
    asked = (await bare.simulate_post("/v1/scrape-requests", json=GOOD, headers=bearer(both))).json
    await bare.simulate_post(f"{asked['location']}/cancel", headers=bearer(both))
    assert (await bare.simulate_get(asked["location"], headers=bearer(operates))).json["collected_at"] is None
    assert (await bare.simulate_get(asked["location"], headers=bearer(both))).json["collected_at"] is not None


async def test_a_key_of_no_account_changes_nothing_that_is_somebody_elses(bare, database, new_key) -> None:
    """Every route that changes something by an id, called for what an account has and for what another key of no account has."""
    both = (Scope.SUBMIT, Scope.READ)
    acme, other, stranger = [await new_key(*both, **({"account_id": "acme"} if n == 0 else {})) for n in range(3)]
    # What only submits is shown no more than what reads too.
    feeder = await new_key(Scope.SUBMIT)
    operator = bearer(await new_key(Scope.OPERATE))
    table = {route for route, scope in GUARDED.items() if scope in both and "{" in route[1] and route[0] != "GET"}
    bodies: dict[str, Any] = {
        "/v1/webhooks/{webhook_id}": {"state": "paused"},
        "/v1/webhooks/{webhook_id}/resend": {"since": "2030-01-31T12:00:00Z"},
    }
    for owner in (acme, other):
        asked = (await bare.simulate_post("/v1/scrape-requests", json=GOOD, headers=bearer(owner))).json["id"]
        hook = {"url": "https://example.com/hooks", "account_id": "acme"}
        webhook = (await bare.simulate_post("/v1/webhooks", json=hook, headers=bearer(owner))).json["id"]
        sent = await bare.simulate_post(f"/v1/webhooks/{webhook}/test", headers=bearer(owner))
        mine = FILLED | {"request_id": asked, "webhook_id": webhook, "delivery_id": sent.json["delivery_id"]}
        tried = 0
        for method, path in sorted(table):
            if "request_id" not in path and "webhook_id" not in path:
                continue
            for key in (stranger, feeder):
                body = {"json": bodies[path]} if path in bodies else {}
                answer = await bare.simulate_request(method, path.format_map(mine), headers=bearer(key), **body)
                assert answer.status_code in (403, 404), (method, path, answer.text)
                assert answer.status_code == 404 or key is feeder
                assert "secret" not in answer.text
                tried += 1
        assert tried == 2 * 8
        for path in ("/v1/webhooks/{webhook_id}", "/v1/webhooks/{webhook_id}/deliveries"):
            assert (await bare.simulate_get(path.format_map(mine), headers=bearer(stranger))).status_code == 404
            assert (await bare.simulate_get(path.format_map(mine), headers=bearer(owner))).status_code == 200
        await bare.simulate_post(f"/v1/scrape-requests/{asked}/cancel", headers=operator)
    assert (await bare.simulate_get("/v1/webhooks", headers=bearer(stranger))).json == {"webhooks": []}


async def test_who_reads_what_another_asked_for_collects_nothing(bare, new_key) -> None:
    acme = await new_key(Scope.SUBMIT, Scope.READ, account_id="acme")
    reader, asks = await new_key(Scope.READ), await new_key(Scope.SUBMIT, Scope.READ)
    for owner in (acme, asks):
        asked = (await bare.simulate_post("/v1/scrape-requests", json=GOOD, headers=bearer(owner))).json
        await bare.simulate_post(f"{asked['location']}/cancel", headers=bearer(owner))
        looked = await bare.simulate_get(asked["location"], headers=bearer(reader))
        assert (looked.status_code, looked.json["collected_at"]) == (200, None)
        assert (await bare.simulate_get(asked["location"], headers=bearer(owner))).json["collected_at"] is not None


async def test_a_successor_has_the_webhooks_of_the_key_before_it(bare, database, new_key) -> None:
    old = await new_key(Scope.SUBMIT, Scope.READ)
    hook = {"url": "https://example.com/hooks", "account_id": "acme"}
    number = (await bare.simulate_post("/v1/webhooks", json=hook, headers=bearer(old))).json["id"]
    async with database.transaction() as transaction:
        successor = (await keys.rotate(transaction, Vault(database.settings), str(old.id), actor="test")).created
    found = await bare.simulate_get(f"/v1/webhooks/{number}", headers=bearer(successor))
    assert (found.json["state"], found.json["api_key_id"]) == ("active", successor.id)
    assert (await bare.simulate_get(f"/v1/webhooks/{number}", headers=bearer(successor))).status_code == 200
