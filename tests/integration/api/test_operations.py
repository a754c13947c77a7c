"""What operators look at and steer over HTTP: the answers, what they change, and what goes on record."""

from typing import Any

import dramatiq
import pytest

from actors.broker import build_broker
from actors.queues import Queues
from beat_actors.access.scopes import Scope
from beat_actors.alerts import Alert, open_alert
from beat_actors.broker.turn import turn
from beat_actors.database import Database
from beat_actors.platforms.registry import platforms
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from beat_actors.watch import sources as sources_rules
from tests.in_one import in_one
from tests.integration.api.conftest import Keys, app_over, bearer
from tests.integration.api.promised import Promised

CANARY = "canary-5f2c9e"


async def done(api: Any, where: str, **body: Any) -> Any:
    answer = await api.simulate_post(where, json={"reason": "a test", **body})
    assert answer.status_code in (200, 201), answer.text
    return answer.json


async def looked(api: Any, path: str) -> Any:
    answer = await api.simulate_get(path)
    assert answer.status_code == 200, answer.text
    return answer.json


async def added(api: Any, n: int = 0, source: str = "lama") -> int:
    answer = await api.simulate_post("/v1/credentials", json={"source": source, "secret": {"key": f"{CANARY}-{n}"}})
    assert answer.status_code == 201, answer.text
    return int(answer.json["id"])


async def actions(api: Any) -> list[tuple[str, str]]:
    return [(entry["action"], entry["target"]) for entry in (await looked(api, "/v1/audit"))["entries"]]


async def leased(database: Database) -> list[int]:
    return (await turn(database, platforms()["instagram"])).leased


async def asked(database: Database, count: int = 1) -> None:
    wanted = [NewRequest("instagram", "refresh_profile_basic", {"handle": f"h{n}"}) for n in range(count)]
    await intake.accept(database, wanted)


async def test_s3_9_a_credential_is_added_changed_and_replaced_and_its_secret_never_shown(api, wake_ups) -> None:
    number = await added(api)
    again = await api.simulate_post("/v1/credentials", json={"source": "lama", "secret": {"key": f"{CANARY}-0"}})
    assert (again.status_code, again.json["id"]) == (200, number)
    for change, state in (("disable", "disabled"), ("enable", "ready"), ("reset", "ready")):
        assert (await done(api, f"/v1/credentials/{number}/change/{change}"))["state"] == state
    await done(api, f"/v1/credentials/{number}/secret", secret={"key": f"{CANARY}-new"})
    shown = await api.simulate_get(f"/v1/credentials/{number}")
    kinds = [event["kind"] for event in shown.json["history"]]
    assert kinds == ["replaced", "reset", "enabled", "disabled", "added"]
    listed = await api.simulate_get("/v1/credentials?source=lama")
    assert [one["id"] for one in listed.json["credentials"]] == [number]
    assert CANARY not in shown.text + listed.text + (await api.simulate_get("/v1/audit")).text
    assert [action for action, _ in await actions(api)][:5] == [
        "credential.replace", "credential.reset", "credential.enable", "credential.disable", "credential.add",
    ]  # fmt: skip
    assert wake_ups.asked.count("instagram") >= 5


async def test_s3_9_a_credential_that_is_added_is_used_by_the_next_turn(api, wake_ups, database) -> None:
    await asked(database)
    assert await leased(database) == []
    wake_ups.asked.clear()
    await added(api)
    assert wake_ups.asked == ["instagram"]
    assert len(await leased(database)) == 1


async def test_without_the_keys_of_the_vault_no_secret_is_taken_or_made_and_the_rest_goes_on(
    settings, wake_ups, new_key
) -> None:
    headers = bearer(await new_key(Scope.OPERATE))
    without = settings.model_copy(update={"vault_keys": None})
    async with Promised(app_over(without, wake_ups), headers=headers) as api:
        refused = await api.simulate_post("/v1/credentials", json={"source": "lama", "secret": {"key": "x"}})
        assert refused.status_code == 503, refused.text
        assert refused.json["title"] == "Secret missing"
        assert "BEAT_VAULT_KEYS is not set in this process" in refused.json["detail"]
        assert refused.json["type"] == "urn:beat:problem:secret_missing"
        hook = await api.simulate_post("/v1/webhooks", json={"url": "https://example.com/hook"})
        assert (hook.status_code, hook.json["type"]) == (503, "urn:beat:problem:secret_missing")
        assert (await api.simulate_get("/v1/credentials")).json["credentials"] == []
        assert (await api.simulate_get("/v1/webhooks")).json["webhooks"] == []


async def test_s3_8_a_credential_that_is_enabled_by_hand_is_leased_at_the_next_turn(api, database) -> None:
    number = await added(api)
    await done(api, f"/v1/credentials/{number}/change/disable")
    await asked(database)
    assert await leased(database) == []
    await done(api, f"/v1/credentials/{number}/change/enable")
    assert len(await leased(database)) == 1


async def test_a_source_that_is_drained_gets_nothing_more_until_it_is_closed(api, database) -> None:
    await added(api)
    await asked(database)
    view = await done(api, "/v1/sources/lama/breaker/open", seconds=600)
    assert {breaker["state"] for breaker in view["breakers"]} == {"open"}
    assert {breaker["operation"] for breaker in view["breakers"]} == set(view["operations"])
    assert await leased(database) == []
    # It is a person's doing, and nobody is told of an outage.
    (waits,) = (await looked(api, "/v1/scrape-requests"))["requests"]
    why = await looked(api, f"/v1/scrape-requests/{waits['id']}/explain")
    said = {blocker["why"] for fetch in why["fetches"] for blocker in fetch["blockers"] if blocker["source"] == "lama"}
    assert said == {"paused by an operator: no calls are sent"}
    assert {breaker["by_hand"] for breaker in view["breakers"]} == {True}
    assert [alert.key for alert in await sources_rules.sources_down(database) if alert.source == "lama"] == []
    view = await done(api, "/v1/sources/lama/breaker/close")
    assert (view["breakers"], view["credentials"], view["usable"]) == ([], 1, 1)
    assert len(await leased(database)) == 1
    (lama,) = [s for s in (await looked(api, "/v1/sources"))["sources"] if s["source"] == "lama"]
    assert lama["in_flight"] == 1


async def test_one_operation_is_drained_and_the_others_go_on(api, database) -> None:
    await added(api)
    view = await done(api, "/v1/sources/lama/breaker/open", operation="post_by_shortcode")
    assert [breaker["operation"] for breaker in view["breakers"]] == ["post_by_shortcode"]
    await asked(database)
    assert len(await leased(database)) == 1


async def test_queues_are_seen_and_fixed(api, settings: Settings) -> None:
    broker = build_broker(settings)
    messages = [dramatiq.Message("ingest", "ingest", ([n],), {}, {}) for n in range(1, 5)]
    broker.send(messages)
    (ingest,) = [q for q in (await looked(api, "/v1/queues"))["queues"] if q["queue"] == "ingest"]
    assert (ingest["waiting"], ingest["actors"]) == (4, {"ingest": 4})
    first, second = (message.message_id for message in messages[:2])
    listed = (await looked(api, "/v1/queues/ingest"))["messages"]
    assert [message["id"] for message in listed] == [message.message_id for message in messages]
    assert (await looked(api, f"/v1/messages/{first}"))["args"] == [[1]]
    assert (await done(api, f"/v1/messages/{first}/drop"))["state"] == "waiting"
    assert (await api.simulate_get(f"/v1/messages/{first}")).status_code == 404
    again = await api.simulate_post("/v1/queues/ingest/requeue", json={"reason": "fixed", "actor": "ingest", "rate": 5})
    assert (again.status_code, again.json["actor"], again.json["rate"], again.json["dead"]) == (202, "ingest", 5, 0)
    (ingest,) = [q for q in (await looked(api, "/v1/queues"))["queues"] if q["queue"] == "ingest"]
    assert (ingest["requeueing"], ingest["dead_actors"]) == (5, {})
    broker.fetch("ingest", 1)
    assert (await done(api, f"/v1/messages/{second}/requeue"))["state"] == "in flight"
    assert (await done(api, "/v1/queues/ingest/purge", state="waiting"))["purged"] == 3
    assert [action for action, _ in await actions(api)][:4] == [
        "queue.purge", "message.requeue", "queue.requeue", "message.drop",
    ]  # fmt: skip
    broker.client.close()


async def test_quarantine_is_listed_by_what_looks_alike_and_resolved_as_it_was_seen(api, database) -> None:
    put = (
        "INSERT INTO quarantine (kind, platform, source, operation, parser_version, error, path) "
        "SELECT 'malformed', 'instagram', 'lama', 'profile_by_handle', 1, 'no ' || n, '$.id' FROM generate_series(1, %s) n"
    )
    async with database.transaction() as transaction:
        await transaction.run(put, (3,))
    (cluster,) = (await looked(api, "/v1/quarantine"))["clusters"]
    assert (cluster["count"], cluster["path"], cluster["error"]) == (3, "$.id", "no 3")
    assert (await looked(api, f"/v1/quarantine/{cluster['newest']}"))["source"] == "lama"
    async with database.transaction() as transaction:
        await transaction.run(put, (1,))
    fields = {"kind": "malformed", "newest": cluster["newest"], "source": "lama"}
    planned = await api.simulate_post("/v1/quarantine/replay", json={"reason": "fixed", **fields})
    assert (planned.status_code, planned.json) == (202, {"count": 0, "last_at": None})  # no payload is known of these
    fast = await api.simulate_post("/v1/quarantine/replay", json={"reason": "fixed", **fields, "rate": 1000})
    assert (fast.status_code, fast.json["field"]) == (400, "rate")
    assert await done(api, "/v1/quarantine/resolve", **fields) == {"resolved": 3}
    (left,) = (await looked(api, "/v1/quarantine"))["clusters"]
    assert left["count"] == 1


async def test_a_fault_has_one_fingerprint_wherever_in_a_list_it_stands_and_another_error_has_another(
    api, database
) -> None:
    put = """
    INSERT INTO quarantine (kind, platform, source, operation, parser_version, error, path)
    SELECT 'malformed', 'instagram', 'lama', 'posts_by_id', 1, 'likes is ' || n || ' - at `$.items[' || n || '].likes`', '$.items[' || n || '].likes'
    FROM generate_series(1, 5) n UNION ALL
    SELECT 'malformed', 'instagram', 'lama', 'posts_by_id', 1, 'likes is missing - at `$.items[9].likes`', '$.items[9].likes' UNION ALL
    SELECT 'malformed', 'instagram', 'lama', 'posts_by_id', 1, 'KeyError: "' || name || '" (parse, line 7)', NULL FROM unnest(ARRAY['a', 'b']) AS name
    """
    async with database.transaction() as transaction:
        await transaction.run(put)
    many, keys, one = (await looked(api, "/v1/quarantine"))["clusters"]
    assert [(c["count"], c["path"]) for c in (many, keys, one)] == [
        (5, "$.items[].likes"), (2, None), (1, "$.items[].likes"),
    ]  # fmt: skip
    assert len({c["fingerprint"] for c in (many, keys, one)}) == 3
    assert many["error"].startswith("likes is ")
    fields = {"kind": "malformed", "newest": 10**9}
    assert await done(api, "/v1/quarantine/resolve", **fields, path="$.items[3].likes") == {"resolved": 1}
    assert await done(api, "/v1/quarantine/resolve", **fields, fingerprint=many["fingerprint"]) == {"resolved": 4}
    assert await done(api, "/v1/quarantine/resolve", **fields, path="$.items[].likes") == {"resolved": 1}
    (left,) = (await looked(api, "/v1/quarantine"))["clusters"]
    assert left == keys


async def test_what_fails_alike_and_is_built_otherwise_has_another_fingerprint(api, database) -> None:
    """Entries of before there were shapes have the name that they had."""
    put = """
    INSERT INTO quarantine (kind, platform, source, operation, parser_version, error, path, shape)
    SELECT 'malformed', 'instagram', 'lama', 'posts_by_id', 1, 'likes is ' || n, '$.items[' || n || '].likes', shape
    FROM unnest(ARRAY['aa', 'aa', 'aa', 'bb', 'bb', NULL]) WITH ORDINALITY AS t(shape, n)
    """
    as_before = """
    SELECT left(md5(ROW(kind, platform, source, operation, parser_version, '$.items[].likes'::text, 'likes is *'::text)::text), 12)
    FROM quarantine WHERE shape IS NULL
    """
    async with database.transaction() as transaction:
        await transaction.run(put)
        named = await transaction.value(as_before)
    found = (await looked(api, "/v1/quarantine"))["clusters"]
    assert [(one["count"], one["shape"]) for one in found] == [(3, "aa"), (2, "bb"), (1, None)]
    assert len({one["fingerprint"] for one in found}) == 3
    assert found[2]["fingerprint"] == named
    assert (await looked(api, f"/v1/quarantine/{found[1]['newest']}"))["shape"] == "bb"
    fields = {"kind": "malformed", "newest": 10**9}
    assert await done(api, "/v1/quarantine/resolve", **fields, fingerprint=found[0]["fingerprint"]) == {"resolved": 3}
    assert (await looked(api, "/v1/quarantine"))["clusters"] == found[1:]
    assert await done(api, "/v1/quarantine/resolve", **fields, path="$.items[].likes") == {"resolved": 3}


async def test_one_cluster_is_dealt_with_and_its_siblings_stay(api, database) -> None:
    """Of one source and operation: what has another cause stands at another path, or was read by another parser."""
    put = (
        "INSERT INTO quarantine (kind, platform, source, operation, parser_version, fetch_id, error, path) "
        "SELECT 'malformed', platform, 'lama', 'profile_by_handle', version, 1, 'no', path FROM (VALUES ('instagram', 1, '$.id'), "
        "('instagram', 2, '$.id'), ('instagram', 1, '$.name'), ('instagram', 1, NULL), ('tiktok', 1, '$.id')) v(platform, version, path)"
    )
    async with database.transaction() as transaction:
        await transaction.run(put)
    fields = {"kind": "malformed", "newest": 10**9, "source": "lama", "operation": "profile_by_handle"}
    one = {**fields, "platform": "instagram", "path": "$.id", "parser_version": 1}
    planned = await api.simulate_post("/v1/quarantine/replay", json={"reason": "fixed", **one})
    assert planned.json["count"] == 1
    assert await done(api, "/v1/quarantine/resolve", **one) == {"resolved": 1}
    assert await done(api, "/v1/quarantine/resolve", **{**fields, "path": ""}) == {"resolved": 1}
    left = [
        (c["platform"], c["path"], c["parser_version"], c["replaying"])
        for c in (await looked(api, "/v1/quarantine"))["clusters"]
    ]
    assert sorted(left) == [("instagram", "$.id", 2, 0), ("instagram", "$.name", 1, 0), ("tiktok", "$.id", 1, 0)]


async def test_an_alert_is_listed_and_silenced(api, database) -> None:
    alert = Alert(key="source:lama", severity="critical", cause="c", impact="i", automatic="a", action="x")
    async with database.transaction() as transaction:
        await open_alert(transaction, alert)
    (found,) = (await looked(api, "/v1/alerts"))["alerts"]
    assert (found["key"], found["silenced"]) == ("source:lama", False)
    odd = await api.simulate_get("/v1/alerts", params={"resolved": "maybe"})
    assert (odd.status_code, odd.json["field"]) == (400, "resolved")
    await done(api, f"/v1/alerts/{found['id']}/silence")
    assert [one["silenced"] for one in (await looked(api, "/v1/alerts"))["alerts"]] == [True]
    await done(api, f"/v1/alerts/{found['id']}/silence", silenced=False)
    assert (await api.simulate_post("/v1/alerts/999/silence", json={"reason": "x"})).status_code == 404
    assert [action for action, _ in await actions(api)][:2] == ["alert.unsilence", "alert.silence"]


@in_one(
    ("path", "body", "field"),
    [
        ("/v1/credentials", {"source": "nobody", "secret": {"key": "x"}}, "source"),
        ("/v1/credentials", {"source": "lama", "secret": {"token": "x"}}, "secret"),
        ("/v1/credentials/1/change/disable", {}, "reason"),
        ("/v1/credentials/1/change/disable", {"reason": ""}, "reason"),
        ("/v1/credentials/one/change/disable", {"reason": "x"}, "credential_id"),
        ("/v1/sources/nobody/breaker/open", {"reason": "x"}, "source"),
        ("/v1/sources/lama/breaker/open", {"reason": "x", "seconds": 1e9}, "seconds"),
        ("/v1/sources/lama/breaker/open", {"reason": "x", "operation": "fly"}, "operation"),
        ("/v1/sources/lama/breaker/open", {"reason": " "}, "reason"),
        ("/v1/sources/nobody/data-breaker/open", {"reason": "x"}, "source"),
        ("/v1/sources/lama/data-breaker/open", {"reason": "x", "operation": "fly"}, "operation"),
        ("/v1/sources/lama/data-breaker/open", {"reason": "x", "parser_version": 1}, "operation"),
        ("/v1/sources/lama/data-breaker/close", {"reason": " "}, "reason"),
        ("/v1/queues/nothing/purge", {"reason": "x", "state": "dead"}, "queue"),
        ("/v1/queues/ingest/purge", {"reason": "x", "state": "in flight"}, "state"),
        ("/v1/queues/nothing/requeue", {"reason": "x"}, "queue"),
        ("/v1/queues/ingest/requeue", {"reason": "x", "rate": 0}, "rate"),
        ("/v1/quarantine/resolve", {"reason": "x", "kind": "odd", "newest": 1}, "kind"),
        (
            "/v1/quarantine/resolve",
            {"reason": "x", "kind": "poison", "newest": 1, "parser_version": 2**40},
            "parser_version",
        ),
    ],
)
async def test_bad_input_changes_nothing_and_says_what_is_wrong(api, path: str, body: Any, field: str | None) -> None:
    before = await actions(api)
    answer = await api.simulate_post(path, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json.get("field") == field
    assert CANARY not in answer.text
    assert await actions(api) == before


async def test_what_is_not_there_is_404(api) -> None:
    for path in ("/v1/credentials/99", "/v1/messages/none", "/v1/quarantine/99"):
        assert (await api.simulate_get(path)).status_code == 404
    for path in ("/v1/credentials/99/change/enable", "/v1/credentials/1/change/explode", "/v1/messages/x/explode"):
        assert (await api.simulate_post(path, json={"reason": "x"})).status_code == 404


async def test_queues_answer_503_while_redis_is_away_and_the_rest_goes_on(
    api, bare, new_key: Keys, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    away = Queues(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"}))
    monkeypatch.setattr(Queues, "_ask", away._ask)
    monkeypatch.setattr(Queues, "_looked", lambda _self: away._client.ping())
    headers = bearer(await new_key(Scope.OPERATE))
    answer = await bare.simulate_get("/v1/queues", headers=headers)
    assert (answer.status_code, answer.json["type"]) == (503, "urn:beat:problem:redis_unavailable")
    assert answer.headers["retry-after"] == "2"
    assert (await bare.simulate_get("/v1/sources", headers=headers)).status_code == 200


async def test_a_flow_is_given_less_and_paused_and_all_of_it_is_on_record(api, database, wake_ups) -> None:
    async def patched(**body: Any) -> Any:
        return await api.simulate_patch("/v1/flows/refresh_profile_basic", json={"reason": "overload", **body})

    await added(api)
    await asked(database, 10)
    view = (await patched(workers=1, concurrency=3)).json
    assert (view["limit"], view["paused"], view["out"], view["waiting"]) == (3, False, 0, 10)
    assert wake_ups.asked[-1] == "instagram"
    assert len(await leased(database)) == 3
    (listed,) = [
        flow
        for flow in (await looked(api, "/v1/flows?platform=instagram"))["flows"]
        if flow["flow"] == "refresh_profile_basic"
    ]
    assert (listed["out"], listed["waiting"], listed["limit"], listed["declared_workers"]) == (3, 7, 3, 20)
    assert (await patched(paused=True)).json["paused"]
    assert (await patched(workers=None)).json["limit"] == 60
    assert await leased(database) == []
    assert not (await patched(paused=False)).json["paused"]
    assert len(await leased(database)) > 0
    assert (await actions(api))[:5] == [
        *[("flow.set", "flow/instagram/refresh_profile_basic")] * 4,
        ("credential.add", "credential/1"),
    ]
    for bad in ({}, {"workers": 0}, {"paused": True, "platform": "youtube"}, {"concurrency": "5"}):
        assert (await patched(**bad)).status_code == 400
    ambiguous = await api.simulate_patch("/v1/flows/refresh_profile_by_handle", json={"reason": "x", "paused": True})
    assert (ambiguous.status_code, ambiguous.json["field"]) == (400, "platform")
