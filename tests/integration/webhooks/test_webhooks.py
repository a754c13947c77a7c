"""Events reach their endpoints over real HTTP: signed, once more after every failure, and nobody's neighbour waits."""

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from beat_actors.alerts import list_alerts
from beat_actors.credentials.manager import CredentialManager
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.errors import BadInput, NotFound
from beat_actors.traces.context import delivering, span_of
from beat_actors.watch import database as database_rules
from beat_actors.watch.rule import Watch
from beat_actors.webhooks import alerts as webhook_alerts
from beat_actors.webhooks import deliveries, endpoints
from beat_actors.webhooks.backoff import FAILURES
from beat_actors.webhooks.deliverer import Deliverer
from beat_actors.webhooks.endpoints import Reader
from scheduler.deliverer import deliver_until
from tests.conftest import Servers
from tests.integration.webhooks.world import ALL, add, listed, pass_, process, receiving, seen, signed_by, tell, until
from tests.worlds import open_transaction, restored_into_a_younger_cluster

DOCUMENT = Path(__file__).parents[3] / "docs" / "webhooks.md"


async def test_an_event_arrives_signed_and_as_documented(database, receiver, deliverer) -> None:
    number, secret = await add(database, receiver.url)
    (event,) = await tell(database)
    await pass_(deliverer)
    await pass_(deliverer)  # once is enough
    ((headers, body),) = receiver.calls
    told = json.loads(body)
    assert (told["type"], told["data"]) == ("beat.scrape_request.complete", {"id": 7, "account_id": "acme"})
    assert set(told) == {"type", "timestamp", "data"}
    assert (headers["webhook-id"], headers["content-type"]) == (event, "application/json")
    assert signed_by(secret, headers, body)
    assert not signed_by(secret, headers, body + b" ")
    (delivery,) = await listed(database, number)
    assert (delivery.state, delivery.attempt, delivery.status) == ("delivered", 1, 204)


async def test_an_event_brings_the_trace_of_the_requests_caller(database, receiver, deliverer, clock) -> None:
    number, _ = await add(database, receiver.url)
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    async with database.statements() as alone:
        insert = "INSERT INTO scrape_request_log (id, platform, flow, params, trace) OVERRIDING SYSTEM VALUE VALUES (7, 'toy', 'look', '{}', %s)"
        await alone.run(insert, [bytes.fromhex(f"{trace}{parent}01")])
    span = span_of(trace, 7, 0, *delivering("beat.scrape_request.complete", number))
    receiver.script = [(500, {})]
    await tell(database)
    await pass_(deliverer)
    clock.advance(60)
    await pass_(deliverer)
    assert [headers.get("traceparent") for headers, _ in receiver.calls] == [f"00-{trace}-{span}-01"] * 2
    async with database.statements() as alone:
        await alone.run("UPDATE scrape_request_log SET trace = NULL")
    await tell(database)
    await pass_(deliverer)
    assert len(receiver.calls) == 3
    assert "traceparent" not in receiver.calls[-1][0]


async def test_the_documents_own_example_takes_what_is_sent_and_nothing_else(database, receiver, deliverer) -> None:
    _, secret = await add(database, receiver.url)
    await tell(database)
    await pass_(deliverer)
    ((headers, body),) = receiver.calls
    snippet = DOCUMENT.read_text().split("```python\n", 1)[1].split("```", 1)[0]
    space: dict[str, Any] = {}
    exec(snippet, space)
    verify = space["verify"]
    assert verify(secret, headers, body)["data"]["id"] == 7
    _, other = await add(database, receiver.url)
    late = headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 3600)}
    for bad in ((other, headers, body), (secret, headers, body + b" "), (secret, late, body)):
        with pytest.raises(ValueError):
            verify(*bad)


async def test_a_failure_is_tried_again_with_the_same_id(database, receiver, deliverer, clock) -> None:
    number, secret = await add(database, receiver.url)
    receiver.script = [(500, {}), (302, {"Location": "/elsewhere"}), (404, {})]
    (event,) = await tell(database)
    for _ in range(4):
        await pass_(deliverer)
        await pass_(deliverer)  # not before its time
        clock.advance(200)
    assert receiver.ids() == [event] * 4
    assert all(signed_by(secret, *call) for call in receiver.calls)
    (delivery,) = await listed(database, number)
    assert (delivery.state, delivery.attempt, delivery.error) == ("delivered", 4, None)
    assert (await seen(database, number)).failures == 0


async def test_little_is_kept_of_an_answer(database, receiver, deliverer) -> None:
    number, _ = await add(database, receiver.url)
    receiver.always = (500, {})
    await tell(database)
    await pass_(deliverer)
    (delivery,) = await listed(database, number)
    assert delivery.error is not None
    assert delivery.error.startswith("HTTP 500: xxx")
    assert len(delivery.error) < 320


async def test_a_breaker_opens_sends_one_probe_and_closes(database, receiver, deliverer, clock) -> None:
    number, _ = await add(database, receiver.url)
    receiver.always = (500, {})
    rule = Watch("webhook", webhook_alerts.in_trouble)
    await tell(database, count=20)
    await pass_(deliverer)
    assert len(receiver.calls) == deliveries.PER_ENDPOINT
    await pass_(deliverer)
    assert len(receiver.calls) == deliveries.PER_ENDPOINT  # the others wait
    await rule.run(database)
    async with database.statements() as alone:
        (alert,) = await list_alerts(alone)
    assert (alert.key, alert.severity) == (f"webhook:{number}", "warning")
    clock.advance(40)
    await pass_(deliverer)
    assert len(receiver.calls) == deliveries.PER_ENDPOINT + 1  # one probe, and it failed
    clock.advance(40)
    await pass_(deliverer)
    assert len(receiver.calls) == deliveries.PER_ENDPOINT + 1  # a cooldown is longer each time
    clock.advance(40)
    receiver.always = (204, {})
    await pass_(deliverer)
    assert len(receiver.calls) == deliveries.PER_ENDPOINT + 2
    assert (await seen(database, number)).breaker == "closed"
    for _ in range(3):
        await pass_(deliverer)
    assert {one.state for one in await listed(database, number)} == {"delivered"}
    await rule.run(database)
    async with database.statements() as alone:
        assert await list_alerts(alone) == []


async def test_an_endpoint_that_hangs_or_is_dead_holds_up_no_other(database, receiver, deliverer) -> None:
    async with receiving() as slow:
        slow.gate = asyncio.Event()
        await add(database, slow.url)
        dead, _ = await add(database, "http://127.0.0.1:1/")
        well, _ = await add(database, receiver.url)
        await tell(database, count=30)
        stopped = asyncio.Event()
        running = asyncio.create_task(deliverer.run(stopped))

        async def all_there() -> bool:
            return {one.state for one in await listed(database, well)} == {"delivered"}

        await until(all_there)
        assert len(set(receiver.ids())) == 30
        assert len(slow.calls) == deliveries.PER_ENDPOINT
        assert "refused the connection" in (await seen(database, dead)).last_error
        slow.gate.set()
        stopped.set()
        await running


async def test_410_disables_and_resuming_wakes(database, receiver, deliverer) -> None:
    number, _ = await add(database, receiver.url)
    receiver.script = [(410, {})]
    await tell(database)
    await pass_(deliverer)
    assert (await seen(database, number)).state == "disabled"
    await tell(database)
    await pass_(deliverer)
    assert [one.state for one in await listed(database, number)] == ["failed"]
    async with database.transaction() as transaction:
        await endpoints.change(transaction, number, ALL, allow_private=True, paused=False)
    await tell(database)
    await pass_(deliverer)
    assert [one.state for one in await listed(database, number)] == ["delivered", "failed"]


@pytest.mark.parametrize(("status", "wait"), [(429, "600"), (503, "600.0"), (503, "2, 600")])
async def test_retry_after_is_honoured(database, receiver, deliverer, clock, status: int, wait: str) -> None:
    await add(database, receiver.url)
    receiver.script = [(status, {"Retry-After": wait})]
    await tell(database)
    await pass_(deliverer)
    await tell(database)
    clock.advance(500)
    await pass_(deliverer)
    assert len(receiver.calls) == 1  # nor does another event go there before
    clock.advance(150)
    await pass_(deliverer)
    assert len(receiver.calls) == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "localhost"])
async def test_nothing_is_sent_to_what_is_not_public(database, settings, receiver, host: str) -> None:
    port = receiver.url.rsplit(":", 1)[1].split("/")[0]
    number, _ = await add(database, f"http://{host}:{port}/hook")
    strict = Database(settings.model_copy(update={"webhook_allow_private": False}), name="strict")
    deliverer = Deliverer(strict, Vault(settings))
    await tell(database)
    await pass_(deliverer)
    (delivery,) = await listed(database, number)
    assert receiver.calls == []
    assert delivery.error is not None
    assert "not one for the public" in delivery.error
    await deliverer.close()
    await strict.close()


@pytest.mark.parametrize(
    "url",
    ["http://example.com/", "https://10.0.0.1/", "https://[::1]/", "https://u:p@example.com/", "ftp://example.com/",
     "https:///x", "https://example.com:99999/", "https://0x7f.1/", "https://2130706433/", "https://127.0.0.1./", "https://example.com:8443/", "https://example.com:22/", "https://a b/", "no url"],
)  # fmt: skip
async def test_urls_that_cannot_be_endpoints_are_refused_with_a_reason(database, url: str) -> None:
    with pytest.raises(BadInput) as refused:
        await add(database, url, allow_private=False)
    assert refused.value.field == "url"


async def test_after_24_hours_it_has_failed_and_can_be_sent_again(database, receiver, deliverer, clock) -> None:
    number, _ = await add(database, receiver.url)
    receiver.always = (500, {})
    (event,) = await tell(database)
    for _ in range(30):
        await pass_(deliverer)
        clock.advance(3600)
    await pass_(deliverer)
    (delivery,) = await listed(database, number)
    assert delivery.state == "failed"
    assert 6 < delivery.attempt < 30
    tried = len(receiver.calls)
    clock.advance(90_000)
    await pass_(deliverer)
    assert len(receiver.calls) == tried
    receiver.always = (204, {})
    async with database.transaction() as transaction:
        await endpoints.resend(transaction, number, delivery.id, ALL)
    await pass_(deliverer)
    assert receiver.ids() == [event] * (tried + 1)
    assert (await listed(database, number))[0].state == "delivered"


async def test_the_delays_start_anew_where_it_is_sent_again(database, receiver, deliverer, clock) -> None:
    """By then it has been tried often, and the next try of its old row would be hours away."""
    number, _ = await add(database, receiver.url)
    receiver.always = (500, {})
    await tell(database)
    for _ in range(30):
        await pass_(deliverer)
        clock.advance(3600)
    await pass_(deliverer)
    (failed,) = await listed(database, number)
    async with database.transaction() as transaction:
        await endpoints.resend(transaction, number, failed.id, ALL)
        await transaction.run("UPDATE webhook_endpoint SET failures = 0, open_until = NULL")
    await pass_(deliverer)
    (again,) = await listed(database, number)
    assert (again.state, again.attempt) == ("pending", failed.attempt + 1)
    async with database.statements() as alone:
        wait = await alone.value("SELECT extract(epoch FROM next_at - clock_timestamp())::float8 FROM webhook_delivery")
    assert wait < 13


async def test_a_deliverer_that_is_killed_in_the_middle_loses_nothing(
    database, process_url, receiver, settings, deliverer, clock
) -> None:
    """SIGKILL while its calls are out: what was claimed is made again when the leases end, and none stays."""
    number, _ = await add(database, receiver.url)
    other, _ = await add(database, receiver.url, account_id="zeta")
    events = await tell(database, count=20) + await tell(database, account="zeta", count=20)
    receiver.gate = asyncio.Event()
    async with process(settings, process_url, "scheduler.deliverer") as victim:

        async def calls_are_out() -> bool:
            return len(receiver.calls) >= 2 * deliveries.PER_ENDPOINT

        await until(calls_are_out)
        victim.kill()
        await victim.wait()
    receiver.gate.set()
    out = len(receiver.calls)
    await pass_(deliverer)
    assert len(receiver.calls) == out  # what is leased is left alone
    clock.advance(deliveries.LEASE + 1)
    for _ in range(10):
        await pass_(deliverer)
    found = await listed(database, number) + await listed(database, other)
    assert len(found) == 40
    assert {one.state for one in found} == {"delivered"}
    assert set(receiver.ids()) == set(events)
    async with database.statements() as alone:
        assert await alone.value("SELECT count(*) FROM webhook_delivery WHERE lease_until IS NOT NULL") == 0


@pytest.mark.slow
async def test_a_claim_reads_an_index_and_a_handful_of_pages_at_many_deliveries(
    database, database_url, receiver
) -> None:
    number, _ = await add(database, receiver.url)
    values = {
        "endpoints": [number],
        "failures": FAILURES,
        "per_endpoint": 8,
        "per_account": 32,
        "limit": 256,
        "lease": 60.0,
    }
    with psycopg.connect(database_url, autocommit=True) as admin:  # which may analyse, and has no limit on time
        admin.execute(
            "INSERT INTO webhook_delivery (endpoint_id, event_id, type, data, occurred_at, next_at, expires_at, state) "
            "SELECT %s, gen_random_uuid(), 't', '{}', now(), now() - n * interval '1 ms', now() + interval '1 day', "
            "CASE WHEN n %% 2 = 0 THEN 'pending' ELSE 'delivered' END FROM generate_series(1, 100000) n",
            (number,),
        )
        admin.execute("ANALYZE webhook_delivery")
    async with database.statements() as alone:
        for statement, params in ((deliveries.CANDIDATES, values), (deliveries.CLAIM, values)):
            (row,) = await alone.rows(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.text}", params)
            whole = row[0][0]["Plan"]
            text = json.dumps(whole)
            assert re.search(r'"Seq Scan"[^{]*"Relation Name": "webhook_delivery"', text) is None
            assert "webhook_delivery_due" in text
            assert whole["Shared Hit Blocks"] + whole["Shared Read Blocks"] < 500


async def test_what_failed_since_is_sent_again_at_once(database, receiver, deliverer, clock) -> None:
    number, _ = await add(database, receiver.url)
    async with database.transaction() as transaction:
        await endpoints.change(transaction, number, ALL, allow_private=True, paused=True)
    await tell(database, count=3)
    await pass_(deliverer)
    clock.advance(90_000)
    await pass_(deliverer)
    found = await listed(database, number)
    assert [(one.state, one.attempt) for one in found] == [("failed", 0)] * 3
    async with database.transaction() as transaction:
        await endpoints.change(transaction, number, ALL, allow_private=True, paused=False)
        middle = sorted(one.occurred_at for one in found)[1]
        assert await endpoints.resend_failed(transaction, number, middle, ALL) == 2
    await pass_(deliverer)
    assert len(receiver.calls) == 2


async def test_both_secrets_sign_for_a_day(database, receiver, deliverer, clock, settings) -> None:
    number, old = await add(database, receiver.url)
    async with database.transaction() as transaction:
        new, _ = await endpoints.rotate(transaction, Vault(settings), number, ALL)
    await tell(database)
    await pass_(deliverer)
    clock.advance(86_500)
    await tell(database)
    await pass_(deliverer)
    assert [(signed_by(old, *call), signed_by(new, *call)) for call in receiver.calls] == [(True, True), (False, True)]


async def test_secrets_are_sealed_and_move_to_a_new_vault_key(database, receiver, settings) -> None:
    _, secret = await add(database, receiver.url)
    async with database.statements() as alone:
        row = await alone.row("SELECT *, webhook_endpoint::text AS whole FROM webhook_endpoint")
    assert secret.encode() not in bytes(row.secret)
    assert secret not in row.whole
    ring = settings.vault_keys.get_secret_value()
    fresh = f"new:{base64.b64encode(bytes(range(9, 41))).decode()}"
    both = settings.model_copy(update={"vault_keys": type(settings.vault_keys)(f"{fresh},{ring}")})
    assert await CredentialManager(database, Vault(both)).rotate_keys() == 1
    alone_ = Vault(settings.model_copy(update={"vault_keys": type(settings.vault_keys)(fresh)}))
    deliverer = Deliverer(database, alone_)
    await tell(database)
    await pass_(deliverer)
    await deliverer.close()
    assert signed_by(secret, *receiver.calls[0])


async def test_accounts_get_their_own_events_and_the_installation_all(database, receiver, deliverer) -> None:
    async with receiving() as zeta, receiving() as everything, receiving() as failed:
        await add(database, receiver.url)
        other, _ = await add(database, zeta.url, account_id="zeta")
        await add(database, everything.url, account_id=None)
        await add(database, failed.url, events=["beat.scrape_request.failed", "beat.alert.*"])
        (a,) = await tell(database, "acme")
        (z,) = await tell(database, "zeta")
        (n,) = await tell(database, None, type_="failed")
        (f,) = await tell(database, "acme", type_="failed")
        await pass_(deliverer)
        assert set(receiver.ids()) == {a, f}
        assert zeta.ids() == [z]
        assert set(everything.ids()) == {a, z, n, f}
        assert failed.ids() == [f]
        async with database.transaction() as transaction:
            with pytest.raises(NotFound):
                await endpoints.find(transaction, other, Reader("test", "acme"))


async def test_an_event_that_commits_late_is_sent_and_delays_none_that_came_after_it(
    database, receiver, deliverer
) -> None:
    await add(database, receiver.url)
    async with database.transaction() as slow:
        late = str(uuid4())
        await slow.run(
            "INSERT INTO event (event_id, type, subject, account_id, data) VALUES (%s, 'beat.x', 's', 'acme', '{\"account_id\": \"acme\"}')",
            (late,),
        )
        (early,) = await tell(database)
        await pass_(deliverer)
        assert receiver.ids() == [early]
        early_too = await tell(database, count=3)
        await pass_(deliverer)
        assert receiver.ids() == [early, *early_too]
    await pass_(deliverer)
    assert receiver.ids() == [early, *early_too, late]


@pytest.mark.parametrize("prepared", [False, True], ids=["session", "prepared"])
@pytest.mark.parametrize("place", ["this", "another"])
async def test_an_open_transaction_of_others_delays_no_event(
    database, receiver, deliverer, servers: Servers, database_url: str, place: str, prepared: bool
) -> None:
    await add(database, receiver.url)
    url = servers.postgres.url_of("postgres") if place == "another" else database_url
    with open_transaction(url, prepared=prepared):
        sent = await tell(database, count=2)
        await pass_(deliverer)
        sent += await tell(database)
        await pass_(deliverer)
        assert receiver.ids() == sent
        assert await database_rules.slow_database(database) == []


async def test_a_deliverer_that_dies_loses_nothing_and_settles_nothing_afterwards(
    database, receiver, deliverer, clock, settings
) -> None:
    number, _ = await add(database, receiver.url)
    (event,) = await tell(database)
    await deliveries.fan_out(database)
    (taken,) = await deliveries.claim(database, 10)  # and then it dies
    await pass_(deliverer)
    assert receiver.calls == []
    clock.advance(deliveries.LEASE + 1)
    await pass_(deliverer)
    assert receiver.ids() == [event]
    zombie = deliveries.Outcome(taken.id, taken.attempt, number, delivered=False, delay=10.0, error="late")
    await deliveries.settle(database, [zombie])
    (delivery,) = await listed(database, number)
    assert (delivery.state, delivery.attempt, delivery.error) == ("delivered", 2, None)


async def test_many_deliverers_deliver_once_and_keep_the_limit_of_an_endpoint(database, settings, receiver) -> None:
    number, _ = await add(database, receiver.url)
    await tell(database, count=60)
    told = await asyncio.gather(*(deliveries.fan_out(database) for _ in range(5)))
    assert sum(told) == 60
    claimed = await asyncio.gather(*(deliveries.claim(database, 100) for _ in range(8)))
    rows = [row.id for batch in claimed for row in batch]
    assert len(rows) == len(set(rows)) == deliveries.PER_ENDPOINT
    assert len(await listed(database, number)) == 60


async def test_what_ended_long_ago_is_forgotten(database, receiver, deliverer, clock, settings) -> None:
    number, _ = await add(database, receiver.url)
    await tell(database)
    await pass_(deliverer)
    assert await deliveries.forget(database) == 0
    clock.advance(86_400 * (settings.log_days + 1))
    assert await deliveries.forget(database) == 1
    assert await listed(database, number) == []


async def test_schedulers_deliver_side_by_side_and_each_event_once(database, settings, receiver) -> None:
    number, _ = await add(database, receiver.url)
    stopped = asyncio.Event()
    running = [asyncio.create_task(deliver_until(stopped, settings)) for _ in range(3)]
    events = await tell(database, count=40)

    async def all_there() -> bool:
        found = await listed(database, number)
        return len(found) == 40 and {one.state for one in found} == {"delivered"}

    await until(all_there)
    stopped.set()
    await asyncio.gather(*running)
    assert sorted(receiver.ids()) == sorted(events)


async def test_in_a_younger_cluster_what_was_not_sent_is_sent(
    database, settings, database_url: str, receiver, deliverer
) -> None:
    await add(database, receiver.url)
    sent = await tell(database, count=2)
    await pass_(deliverer)
    waiting = await tell(database, count=2)
    restored_into_a_younger_cluster(database_url)
    waiting += await tell(database)  # over a connection of before, as a pooler keeps it
    assert await database_rules.slow_database(database) == []
    await database.connections.close()  # the next connection is a new one
    waiting += await tell(database)
    await pass_(deliverer)
    assert receiver.ids() == sent + waiting
    (said,) = await database_rules.slow_database(database)
    assert (said.key, "from after the dump are not in it" in said.impact) == ("database:restored", True)
    restored_into_a_younger_cluster(database_url)  # and once more
    await database.connections.close()
    waiting += await tell(database)
    await pass_(deliverer)
    assert receiver.ids() == sent + waiting


async def test_a_new_cluster_that_counts_on_changes_nothing(database, database_url: str, receiver, deliverer) -> None:
    """As after pg_upgrade: another identifier, and the numbers go on."""
    await add(database, receiver.url)
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("UPDATE database_cluster SET identifier = 1")
    await database.connections.close()
    ids = await tell(database)
    await pass_(deliverer)
    assert receiver.ids() == ids
    assert await database_rules.slow_database(database) == []
