"""Each kind of sink gets what it understands, over the network, from a receiver of its kind."""

import base64
import hashlib
import hmac
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest

from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.notify.notifier import Notifier
from beat_actors.settings import Settings
from tests.certificates import certificate
from tests.integration.notify import schemas
from tests.integration.notify.world import (
    Receiver,
    add,
    alert,
    listed,
    mail_server,
    order_test,
    over,
    pass_,
    raised,
    seen,
)
from tests.worlds import MovableClock

ROUTING_KEY = "e93facc04764012d7bfb002500d5d1a6"
MAIL = {"kind": "email", "to": ["ops@example.com", "cto@example.com"], "sender": "beat@example.com"}
# Words of a provider that would mention everybody, make a link, or begin a header.
HOSTILE = "<!channel> <https://evil.example|click> & more\r\nBcc: thief@example.com"


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


async def an_episode(database: Database, notifier: Notifier, clock: MovableClock) -> None:
    """An alert is raised, is told, ends, and that is told."""
    source = alert(
        "source:graphapi", "critical", source="graphapi", platform="instagram", over_at=in_an_hour(), cause=HOSTILE
    )
    await raised(database, source, alert("quota:7:day", platform="youtube"))
    clock.advance(15)
    await pass_(notifier)
    await over(database, "source:graphapi", "quota:7:day")
    clock.advance(31)
    await pass_(notifier)


async def test_slack_gets_what_it_documents(database, receiver: Receiver, notifier, clock) -> None:
    await add(database, "chat", kind="slack", url=f"{receiver.url}/services/T/B/x")
    await an_episode(database, notifier, clock)
    firing, resolved = (call.json for call in receiver.calls)
    for body in (firing, resolved):
        jsonschema.validate(body, schemas.SLACK)
    assert [call.path for call in receiver.calls] == ["/services/T/B/x"] * 2
    assert firing["text"].startswith("*[CRITICAL] &lt;!channel&gt;")
    assert "(+1 more)" in firing["text"]
    said = firing["attachments"][0]["text"]
    for part in (
        "*since*",
        "*affected* it hurts",
        "*Beat does* Beat waits",
        "*recovery* expected at",
        "*action* `beat doctor`",
    ):
        assert part in said
    assert "`beat alerts silence " in said
    assert "<!channel>" not in f"{firing}{resolved}"
    assert "<https://evil.example" not in f"{firing}{resolved}"
    assert "<https://beat.example.com/v1/alerts|All alerts>" in firing["text"]
    assert resolved["text"].startswith("*[RESOLVED]")


async def test_pagerduty_gets_one_event_for_each_rule_and_its_end(
    database, receiver: Receiver, notifier, clock
) -> None:
    await add(database, "pager", kind="pagerduty", url=f"{receiver.url}/v2/enqueue", key=ROUTING_KEY)
    receiver.always = 202
    await an_episode(database, notifier, clock)
    events = [call.json for call in receiver.calls]
    for event in events:
        jsonschema.validate(event, schemas.PAGERDUTY)
    by_group: dict[str, list[Any]] = {}
    for event in events:
        by_group.setdefault(event["dedup_key"], []).append(event)
    assert sorted(by_group) == ["beat/urn:beat/quota", "beat/urn:beat/source:graphapi"]
    assert all([one["event_action"] for one in found] == ["trigger", "resolve"] for found in by_group.values())
    payload = by_group["beat/urn:beat/source:graphapi"][0]["payload"]
    assert (payload["severity"], payload["component"], payload["group"], payload["class"]) == (
        *("critical", "graphapi", "instagram", "source"),
    )
    assert payload["custom_details"]["action"] == "`beat doctor`"


async def test_alertmanager_gets_alerts_again_until_they_end(database, receiver: Receiver, notifier, clock) -> None:
    url = receiver.url.replace("http://", "http://user:p%40ss@")
    await add(database, "am", kind="alertmanager", url=f"{url}/prefix/")
    await an_episode(database, notifier, clock)
    firing, resolved = (call.json for call in receiver.calls)
    for body in (firing, resolved):
        jsonschema.validate(body, schemas.ALERTMANAGER)
    assert {call.path for call in receiver.calls} == {"/prefix/api/v2/alerts"}
    assert receiver.calls[0].headers["authorization"] == f"Basic {base64.b64encode(b'user:p@ss').decode()}"
    assert [one["labels"]["alertname"] for one in firing] == ["BeatSource", "BeatQuota"]
    assert {one["labels"]["key"] for one in resolved} == {"source:graphapi", "quota:7:day"}
    # The labels identify the alert, so they are the same in the end; `endsAt` lies ahead while it is open, and not any more.
    assert sorted(str(one["labels"]) for one in firing) == sorted(str(one["labels"]) for one in resolved)
    now = datetime.fromtimestamp(clock.now(), UTC)
    assert all(datetime.fromisoformat(one["endsAt"]) > now for one in firing)
    assert all(datetime.fromisoformat(one["endsAt"]) <= now for one in resolved)
    await raised(database, alert("redis:away"))
    for _ in range(3):
        clock.advance(121)
        await pass_(notifier)
    assert [one["labels"]["key"] for call in receiver.calls[2:] for one in call.json] == ["redis:away"] * 3


async def test_a_webhook_is_signed_and_tells_the_whole_alert(database, receiver: Receiver, notifier, clock) -> None:
    secret = await add(database, "hook", kind="webhook", url=f"{receiver.url}/hook?token=x")
    await an_episode(database, notifier, clock)
    assert secret is not None
    for call in receiver.calls:
        jsonschema.validate(call.json, schemas.WEBHOOK)
        signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
        mac = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
        assert call.headers["webhook-signature"] == f"v1,{base64.b64encode(mac).decode()}"
    first, last = (call.json["data"] for call in receiver.calls)
    assert (first["state"], last["state"]) == ("firing", "resolved")
    assert [(one["key"], one["state"]) for one in first["alerts"]] == [
        ("source:graphapi", "new"),
        ("quota:7:day", "new"),
    ]
    assert {one["state"] for one in last["alerts"]} == {"resolved"}


@pytest.mark.parametrize("kind", ["smtps", "smtp", "smtp+plain"])
async def test_mail_goes_over_tls_starttls_and_plain(kind: str, database, settings: Settings, tmp_path, clock) -> None:
    path = certificate(tmp_path / "server.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    database.settings = settings.model_copy(update={"notify_ca_file": str(path)})
    login = None if kind == "smtp+plain" else ("beat", "p@ss:word")
    user = "" if login is None else "beat:p%40ss%3Aword@"
    async with mail_server(
        tls=context if kind == "smtps" else None, starttls=context if kind == "smtp" else None, login=login
    ) as server:
        await add(database, "mail", **MAIL, url=f"{kind}://{user}127.0.0.1:{server.port}")
        notifier = Notifier(database, Vault(settings))
        await an_episode(database, notifier, clock)
        await notifier.close()
    assert server.users == ([] if login is None else [login] * 2)
    (to, firing), (_, resolved) = server.mails
    assert to == ["ops@example.com", "cto@example.com"]
    assert str(firing["Subject"]).startswith("[CRITICAL] <!channel>")
    assert "Bcc" not in firing
    assert (firing["From"], firing["Auto-Submitted"]) == ("beat@example.com", "auto-generated")
    assert str(resolved["Subject"]).startswith("[RESOLVED]")
    assert firing["References"] == resolved["References"]
    assert firing["Message-ID"] != resolved["Message-ID"]
    text = firing.get_content()
    for part in ("since", "affected", "Beat does", "recovery", "action", "alert", "https://beat.example.com/v1/alerts"):
        assert part in text
    assert text.count("thief@example.com") == 1  # in the words of the cause, in one line with the rest of it


async def test_a_mail_server_whose_certificate_is_not_trusted_gets_nothing(
    database, notifier, settings: Settings, tmp_path, clock
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path / "server.pem"))
    async with mail_server(tls=context) as server:
        await add(database, "mail", **MAIL, url=f"smtps://127.0.0.1:{server.port}")
        await order_test(database, "mail")
        await pass_(notifier)
    (message,) = await listed(database, "mail")
    assert (message.state, server.mails) == ("failed", [])


async def test_a_mail_server_without_starttls_gets_no_password(database, notifier, clock) -> None:
    async with mail_server(login=("beat", "secret")) as server:
        await add(database, "mail", **MAIL, url=f"smtp://beat:secret@127.0.0.1:{server.port}")
        await order_test(database, "mail")
        await pass_(notifier)
    (message,) = await listed(database, "mail")
    assert message.state == "failed"
    assert (server.users, server.mails) == ([], [])


async def test_a_mail_reaches_those_who_exist_and_the_refused_are_named(database, notifier) -> None:
    async with mail_server() as server:
        server.refuses = ["cto@example.com"]
        await add(database, "mail", **MAIL, url=f"smtp+plain://127.0.0.1:{server.port}")
        await order_test(database, "mail")
        await pass_(notifier)
        (message,) = await listed(database, "mail")
        assert (message.state, message.error) == ("sent", "the mail server refuses 1 of the recipients")
        assert [to for to, _ in server.mails] == [["ops@example.com"]]
        server.refuses = MAIL["to"]
        await order_test(database, "mail")
        await pass_(notifier)
    last, _ = await listed(database, "mail")
    assert last.state == "failed"
    assert "refuses all recipients" in (last.error or "")


@pytest.mark.parametrize("kind", ["slack", "pagerduty", "alertmanager", "webhook"])
async def test_a_test_arrives_whatever_the_route_and_the_state(
    kind: str, database, receiver: Receiver, notifier
) -> None:
    given: dict[str, Any] = {"kind": kind, "url": f"{receiver.url}/x"}
    if kind == "pagerduty":
        given["key"] = ROUTING_KEY
    await add(database, "one", **given, route={"severity": "critical", "platforms": ["nowhere"]})
    number = await order_test(database, "one")
    await pass_(notifier)
    (message,) = await listed(database, "one")
    assert (message.id, message.state, message.test) == (number, "sent", True)
    assert len(receiver.calls) == (2 if kind == "pagerduty" else 1)
    schema = {name.lower(): value for name, value in vars(schemas).items() if name.isupper()}[kind]
    for call in receiver.calls:
        jsonschema.validate(call.json, schema)
    assert "test" in receiver.calls[0].body.decode().lower()


@pytest.mark.parametrize("kind", ["slack", "pagerduty", "alertmanager", "webhook"])
async def test_what_a_sink_says_is_kept_without_its_secrets(kind: str, database, receiver: Receiver, notifier) -> None:
    secret = "canary0123456789canary0123456789"
    given: dict[str, Any] = {"kind": kind, "url": f"{receiver.url}/{secret}"}
    if kind == "pagerduty":
        given = {"kind": kind, "url": f"{receiver.url}/v2", "key": secret}
    if kind == "alertmanager":
        given = {"kind": kind, "url": receiver.url, "key": secret}
    await add(database, "one", **given)
    receiver.always, receiver.echo = 400, True
    await order_test(database, "one")
    await pass_(notifier)
    (message,) = await listed(database, "one")
    found = await seen(database, "one")
    assert (message.state, message.status, found.failures) == ("failed", 400, 1)
    assert secret not in f"{message} {found}"
    assert secret in receiver.calls[0].path or secret in f"{receiver.calls[0].headers}{receiver.calls[0].body.decode()}"


@pytest.mark.parametrize("url", ["https://localhost/x", "https://127.0.0.1.nip.invalid/x"])
async def test_a_sink_that_was_added_over_the_api_reaches_no_private_address(url: str, database, notifier) -> None:
    await add(database, "one", private=False, kind="slack", url=url)
    await order_test(database, "one")
    await pass_(notifier)
    (message,) = await listed(database, "one")
    assert message.state == "failed"
    assert (message.error or "").startswith(
        ("its address or port is not one for the public", "the host's name does not resolve")
    )


async def test_a_mail_server_that_was_added_over_the_api_is_at_no_private_address(database, notifier) -> None:
    await add(database, "one", private=False, **MAIL, url="smtp://localhost")
    await order_test(database, "one")
    await pass_(notifier)
    (message,) = await listed(database, "one")
    assert message.state == "failed"
    assert "BEAT_NOTIFY_ALLOW_PRIVATE" in (message.error or "")
