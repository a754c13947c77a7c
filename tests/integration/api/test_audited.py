"""Each route that changes something leaves a row of the audit log with the key it was called with."""

from typing import Any

import dramatiq
import pytest

from actors.broker import build_broker
from beat_actors.access.scopes import Scope
from beat_actors.alerts import Alert, open_alert
from beat_actors.database import Database
from beat_actors.settings import Settings
from tests.events import sequence_all
from tests.integration.api.conftest import Keys, app_over, bearer
from tests.integration.api.promised import Promised
from tests.integration.api.test_access import TABLE

REASON = {"reason": "a test"}
WANTED = {"platform": "instagram", "flow": "refresh_profile_by_handle", "params": {"handle": "creator"}}
GRANT = {"platform": "shopify", "owner": "example.myshopify.com", **REASON}
CLUSTER = {"kind": "malformed", "newest": 1, "source": "lama", **REASON}
SECRETS = [{"key": "canary-one-5f2c9e"}, {"key": "canary-two-5f2c9e"}]
QUARANTINED = """
INSERT INTO quarantine (kind, platform, source, operation, parser_version, error, path)
VALUES ('malformed', 'instagram', 'lama', 'profile_by_handle', 1, 'no', '$.id')
"""
RESTORES = """
INSERT INTO restore_job (token, selection, state, applies, rescrape, actor, reason, since, until, summary)
SELECT 'feed', '{}', state, false, false, 'test', 'x', clock_timestamp(), clock_timestamp(), '{"applied": true}' FROM unnest(ARRAY['PLANNED', 'DONE']) state
"""
ASSET_OF_4711 = """
INSERT INTO asset_log (platform, entity, entity_key, field, url) VALUES ('instagram', 'instagram_account', '4711', 'profile_pic_url', 'https://cdn.example.com/x')
"""
PARKED = """
WITH sink AS (INSERT INTO event_sink (name, scheme, seq) VALUES ('bus', 'test', 0))
INSERT INTO event_parked (sink, seq, id, at, subject, trouble, reason)
SELECT 'bus', l.seq, l.id, l.at, 'alert/1', 'nacked', 'a full queue' FROM event_log l WHERE l.seq = 1
"""
ASSET = "5f2c9e1a-6c1b-4c0e-9d7e-2f1f0a3b4c5d"
# A submission is its own record: its request names the key.
SUBMISSIONS = {
    "/v1/scrape-requests",
    "/v1/batches",
    "/v1/batches/{batch_id}/requests",
    "/v1/profiles/{platform}/{name}/refresh",
}
# One after the other, on what those before it made. `{first}`, `{second}`: messages in a queue.
CALLS: list[tuple[str, str, Any, str]] = [
    ("POST", "/v1/scrape-requests/1/cancel", REASON, "request.cancel"),
    ("POST", "/v1/scrape-requests/1/retry", None, "request.retry"),
    ("POST", "/v1/scrape-requests/1/cancel", REASON, "request.cancel"),
    ("POST", "/v1/scrape-requests/retry", {"status": "CANCELLED"}, "request.retry"),
    ("POST", "/v1/batches/1/close", None, "batch.close"),
    ("POST", "/v1/batches/1/cancel", REASON, "batch.cancel"),
    ("POST", "/v1/scrape-requests/cancel", {"platform": "instagram", **REASON}, "request.cancel"),
    ("POST", "/v1/limits/refresh_profile_insta_minute/reset", REASON, "limit.reset"),
    ("POST", "/v1/accounts/acme/grants", GRANT, "account.grant"),
    (
        "DELETE",
        "/v1/accounts/acme/grants?platform=shopify&owner=example.myshopify.com&reason=x",
        None,
        "account.revoke",
    ),
    ("POST", "/v1/keys", {"name": "feeder", "scopes": ["read"]}, "key.create"),
    ("POST", "/v1/keys/2/rotate", None, "key.rotate"),
    ("DELETE", "/v1/keys/2?reason=left", None, "key.revoke"),
    ("POST", "/v1/credentials", {"source": "lama", "secret": SECRETS[0]}, "credential.add"),
    ("POST", "/v1/credentials/1/secret", {"secret": SECRETS[1], **REASON}, "credential.replace"),
    ("POST", "/v1/credentials/1/change/disable", REASON, "credential.disable"),
    ("POST", "/v1/stuck/requeue", REASON, "request.requeue"),
    ("POST", "/v1/sources/lama/breaker/open", REASON, "breaker.open"),
    ("POST", "/v1/sources/lama/data-breaker/open", REASON, "data_breaker.open"),
    ("PATCH", "/v1/flows/refresh_profile_basic", {"workers": 1, "platform": "instagram", **REASON}, "flow.set"),
    ("POST", "/v1/messages/{first}/drop", REASON, "message.drop"),
    ("POST", "/v1/queues/ingest/requeue", REASON, "queue.requeue"),
    ("POST", "/v1/queues/ingest/purge", {"state": "waiting", **REASON}, "queue.purge"),
    ("POST", "/v1/restores", {"since": "2026-01-01T00:00:00Z", **REASON}, "restore.plan"),
    ("POST", "/v1/restores/1/apply", REASON, "restore.apply"),
    ("POST", "/v1/restores/1/cancel", REASON, "restore.cancel"),
    ("POST", "/v1/restores/undo", {"token": "2-feed", **REASON}, "restore.undo"),
    ("POST", "/v1/quarantine/replay", CLUSTER, "quarantine.replay"),
    ("POST", "/v1/quarantine/resolve", CLUSTER, "quarantine.resolve"),
    ("POST", "/v1/events/replays", {"sink": "bus", "from_seq": 1, **REASON}, "event.replay"),
    ("POST", "/v1/events/replays/1/cancel", REASON, "event.replay_cancel"),
    ("POST", "/v1/events/parked/retry", {"sink": "bus", **REASON}, "event.retry"),
    ("POST", "/v1/events/parked/drop", {"sink": "bus", "seqs": [1], **REASON}, "event.drop"),
    ("DELETE", "/v1/events/sinks/bus?reason=gone", None, "sink.forget"),
    ("POST", "/v1/assets/retry", {"assets": [ASSET], **REASON}, "asset.retry"),
    ("POST", "/v1/assets/forget", {"platform": "instagram", "name": "4711", **REASON}, "asset.forget"),
    ("POST", "/v1/assets/allow", {"platform": "instagram", "name": "4711", **REASON}, "asset.allow"),
    ("POST", "/v1/erasures", {"platform": "instagram", "subject": "4711", "dry_run": False, **REASON}, "subject.erase"),
    ("POST", "/v1/erasures/lift", {"platform": "instagram", "subject": "4711", **REASON}, "subject.lift"),
    ("POST", "/v1/alerts/1/silence", REASON, "alert.silence"),
    (
        "POST",
        "/v1/notify/sinks",
        {"name": "ops", "kind": "slack", "url": "https://hooks.example.com/canary-three-5f2c9e"},
        "notify.add",
    ),
    ("PATCH", "/v1/notify/sinks/ops", {"severity": "critical", "hours": "8-18"}, "notify.change"),
    ("POST", "/v1/notify/sinks/ops/test", None, "notify.test"),
    ("DELETE", "/v1/notify/sinks/ops?reason=gone", None, "notify.remove"),
    ("POST", "/v1/webhooks", {"url": "https://example.com/hook"}, "webhook.create"),
    ("PATCH", "/v1/webhooks/1", {"events": ["beat.alert.*"]}, "webhook.change"),
    ("POST", "/v1/webhooks/1/rotate", None, "webhook.rotate"),
    ("POST", "/v1/webhooks/1/test", None, "webhook.test"),
    ("POST", "/v1/webhooks/1/deliveries/1/resend", None, "webhook.resend"),
    ("POST", "/v1/webhooks/1/resend", {"since": "2020-01-31T12:00:00Z"}, "webhook.resend"),
    ("DELETE", "/v1/webhooks/1", None, "webhook.delete"),
]


def route_of(method: str, path: str) -> tuple[str, str]:
    """The route of the table that a path is of."""
    parts = path.partition("?")[0].split("/")

    def fits(template: str) -> bool:
        others = template.split("/")
        return len(others) == len(parts) and all(
            a == b or a.startswith("{") for a, b in zip(others, parts, strict=True)
        )

    found = [template for its, template in TABLE if its == method and fits(template)]
    return method, min(found, key=lambda template: template.count("{"))


def test_every_route_that_changes_something_is_among_the_calls() -> None:
    changing = {(method, path) for method, path in TABLE if method not in ("GET", "HEAD") and path not in SUBMISSIONS}
    # It records each batch of secrets that it seals, and here all are sealed with the first key.
    changing -= {("POST", "/v1/credentials/rotate-keys")}
    # It takes a selection in its body and only reads.
    changing -= {("POST", "/v1/blast")}
    # What it needs is a record that the gate has held: tests/integration/stages/test_held.py.
    changing -= {("POST", f"/v1/held/{{held_id}}/{verb}") for verb in ("accept", "reject")}
    assert {route_of(method, path) for method, path, _, _ in CALLS} == changing


@pytest.fixture
async def prepared(database: Database, settings: Settings) -> dict[str, str]:
    """An alert, a row in quarantine and messages in a queue; the ids of the messages."""
    alert = Alert(key="source:lama", severity="critical", cause="c", impact="i", automatic="a", action="x")
    async with database.transaction() as transaction:
        await open_alert(transaction, alert)
        await transaction.run(QUARANTINED)
        await transaction.run(RESTORES)
        await transaction.run(ASSET_OF_4711)
    await sequence_all(database)
    async with database.transaction() as transaction:
        await transaction.run(PARKED)
    broker = build_broker(settings)
    messages = [dramatiq.Message("ingest", "ingest", ([n],), {}, {}) for n in (1, 2)]
    broker.send(messages)
    broker.client.close()
    return {"first": messages[0].message_id, "second": messages[1].message_id}


async def test_what_a_key_changes_is_on_record_with_the_key(
    settings: Settings, wake_ups: Any, database: Database, new_key: Keys, prepared: dict[str, str]
) -> None:
    admin = await new_key(Scope.ADMIN)
    async with Promised(app_over(settings, wake_ups), headers=bearer(admin)) as api:
        assert (await api.simulate_post("/v1/scrape-requests", json=WANTED)).status_code == 202
        batch = {"requests": [WANTED | {"params": {"handle": "another"}}], "more": True}
        assert (await api.simulate_post("/v1/batches", json=batch)).status_code == 202
        for method, path, body, action in CALLS:
            if path.endswith("/deliveries/1/resend"):
                async with database.transaction() as transaction:
                    await transaction.run("UPDATE webhook_delivery SET state = 'failed', ended_at = clock_timestamp()")
            before = await newest(database)
            answer = await api.simulate_request(
                method, path.format(**prepared), **({} if body is None else {"json": body})
            )
            assert answer.status_code in (200, 201, 202), (path, answer.text)
            async with database.transaction() as transaction:
                found = await transaction.rows("SELECT actor, action FROM audit_log WHERE id > %s", (before,))
            assert [tuple(row) for row in found] == [(f"key:{admin.id}", action)], path
    async with database.transaction() as transaction:
        whole = await transaction.value("SELECT string_agg(a::text, '') FROM audit_log a")
        assert await transaction.value("SELECT api_key_id FROM scrape_request_log") == admin.id
    assert not any(secret["key"] in whole for secret in SECRETS)
    assert "canary-three-5f2c9e" not in whole


async def newest(database: Database) -> int:
    async with database.transaction() as transaction:
        return int(await transaction.value("SELECT coalesce(max(id), 0) FROM audit_log"))
