"""One tenant harms only itself: the places of deliveries are shared by account, and an endpoint lives as long as its maker's key."""

import asyncio
import socket
import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from beat_actors.access import keys
from beat_actors.access.keys import NewKey
from beat_actors.access.scopes import Scope
from beat_actors.alerts import list_alerts
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.errors import Conflict, TooManyTests
from beat_actors.watch.rule import Watch
from beat_actors.webhooks import alerts, deliveries, endpoints
from beat_actors.webhooks.endpoints import Reader
from scheduler.deliverer import deliver_until
from tests.integration.webhooks.world import ALL, add, listed, pass_, receiving, seen, signed_by, tell, until

NOWHERE = "http://127.0.0.1:1/hook"


async def accounts_of(database: Database, claimed: list[Any]) -> Counter[str | None]:
    async with database.statements() as alone:
        rows = await alone.rows("SELECT id, account_id FROM webhook_endpoint")
    of = {row.id: row.account_id for row in rows}
    return Counter(of[row.endpoint_id] for row in claimed)


async def key_of(database: Database, account: str | None = "acme", life: timedelta | None = None) -> int:
    async with database.transaction() as transaction:
        new = NewKey("integration", (Scope.SUBMIT, Scope.READ), account, life=life)
        return (await keys.create(transaction, new, actor="test")).id


async def standing(database: Database) -> list[str]:
    async with database.statements() as alone:
        return [alert.key for alert in await list_alerts(alone)]


async def test_an_account_with_many_endpoints_leaves_the_places_to_others(database) -> None:
    for _ in range(30):
        await add(database, NOWHERE)
    await add(database, NOWHERE, account_id="globex")
    await tell(database, count=100)
    await tell(database, "globex", count=3)
    assert await deliveries.fan_out(database) == 103
    first = await accounts_of(database, await deliveries.claim(database, 4))
    assert first == {"acme": 2, "globex": 2}  # turn by turn
    rest = await accounts_of(database, await deliveries.claim(database, 256))
    assert rest == {"acme": deliveries.PER_ACCOUNT - 2, "globex": 1}
    assert await deliveries.claim(database, 256) == []  # also for another process
    await tell(database, "globex", count=1)
    await deliveries.fan_out(database)
    assert await accounts_of(database, await deliveries.claim(database, 1)) == {"globex": 1}


async def test_many_processes_keep_the_limit_of_an_account(database) -> None:
    for _ in range(10):
        await add(database, NOWHERE)
    await tell(database, count=10)
    await deliveries.fan_out(database)
    claimed = await asyncio.gather(*(deliveries.claim(database, 100) for _ in range(8)))
    rows = [row.id for batch in claimed for row in batch]
    assert len(rows) == len(set(rows)) == deliveries.PER_ACCOUNT


async def test_accounts_at_their_limit_keep_no_other_from_being_claimed(database, monkeypatch) -> None:
    """More accounts stand at their limit than a claim has places."""
    monkeypatch.setattr(deliveries, "PER_ACCOUNT", 1)
    names = [f"account-{number}" for number in range(20)]
    for name in names:
        await add(database, NOWHERE, account_id=name)
        await tell(database, name, count=3)
    await deliveries.fan_out(database)
    assert len(await deliveries.claim(database, 20)) == 20
    await add(database, NOWHERE, account_id="late")
    await tell(database, "late")
    await deliveries.fan_out(database)
    assert await accounts_of(database, await deliveries.claim(database, 2)) == {"late": 1}


async def test_names_that_hang_keep_no_other_name_from_being_looked_up(
    database, settings, receiver, monkeypatch
) -> None:
    """The system's look-up of a name holds a thread, and an account may have as many names as calls out."""
    released, look_up = threading.Event(), socket.getaddrinfo
    asked: set[str] = set()

    def answer(host: Any, *given: Any, **named: Any) -> Any:
        if str(host).startswith("hangs-"):
            asked.add(str(host))
            released.wait(30)
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return look_up("127.0.0.1" if str(host) == "answers.example" else host, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    for number in range(endpoints.MOST_ENDPOINTS):
        await add(database, f"http://hangs-{number}.example/hook")
    mine, _ = await add(database, receiver.url.replace("127.0.0.1", "answers.example"), account_id="globex")
    await tell(database)
    stopped = asyncio.Event()
    running = asyncio.create_task(deliver_until(stopped, settings))

    async def all_hang() -> bool:
        return len(asked) == deliveries.PER_ACCOUNT

    async def delivered() -> bool:
        return [one.state for one in await listed(database, mine)] == ["delivered"]

    try:
        await until(all_hang)
        await tell(database, "globex")
        await until(delivered)
    finally:
        released.set()
        stopped.set()
        await running


async def test_the_delay_of_a_refused_event_is_its_own(database, deliverer, clock) -> None:
    """Its consumer takes all other events, of which there are many, and each success leaves the refused one its delay."""
    refused: list[str] = []
    arrived: Counter[str] = Counter()

    async def answer(request: web.Request) -> web.Response:
        arrived[request.headers["webhook-id"]] += 1
        return web.Response(status=400 if request.headers["webhook-id"] in refused else 204)

    async with receiving(answer) as receiver:
        number, _ = await add(database, receiver.url)
        refused += await tell(database)
        for _ in range(8):
            await tell(database, count=3)
            await pass_(deliverer)
            clock.advance(0.5)
        assert arrived[refused[0]] == 1
        clock.advance(12)
        for _ in range(8):
            await tell(database, count=3)
            await pass_(deliverer)
            clock.advance(0.5)
        assert arrived[refused[0]] == 2
        assert sum(arrived.values()) == 2 + 16 * 3
        assert (await seen(database, number)).breaker == "closed"


async def test_a_probe_that_fails_costs_its_delivery_no_delay(database, receiver, deliverer, clock) -> None:
    """While an endpoint is down for long, each of its deliveries is ready at the moment at which it is back."""
    number, _ = await add(database, receiver.url)
    await tell(database)
    receiver.always = (500, {})
    for _ in range(12):
        await pass_(deliverer)
        clock.advance(4000)
    assert (await seen(database, number)).breaker == "open"
    receiver.always = (204, {})
    await pass_(deliverer)
    assert {one.state for one in await listed(database, number)} == {"delivered"}


async def test_a_revoked_key_ends_the_deliveries_to_what_it_made(database, receiver, deliverer, settings) -> None:
    maker, other = await key_of(database), await key_of(database)
    number, _ = await add(database, receiver.url, api_key_id=maker)
    await add(database, receiver.url, api_key_id=other)
    async with database.transaction() as transaction:
        revoked = await keys.revoke(transaction, str(maker), reason="leaked", actor="test")
    assert revoked.webhooks == [number]
    (event,) = await tell(database)
    await pass_(deliverer)
    assert receiver.ids() == [event]  # that of the other key
    found = await seen(database, number)
    assert (found.state, found.reason, found.api_key_id, found.api_key_name) == (
        "paused",
        "key_revoked",
        maker,
        "integration",
    )
    await Watch("webhook", alerts.in_trouble).run(database)
    assert await standing(database) == [f"webhook:{number}"]
    async with database.transaction() as transaction:
        with pytest.raises(Conflict, match="paused"):
            await endpoints.send_test(transaction, number, ALL)
    mine = Reader("test", "acme", key_id=other)
    async with database.transaction() as transaction:
        resumed = await endpoints.change(transaction, number, mine, allow_private=True, paused=False)
    assert (resumed.state, resumed.reason, resumed.api_key_id) == ("active", None, other)
    await pass_(deliverer)
    assert receiver.ids() == [event, event]
    await Watch("webhook", alerts.in_trouble).run(database)
    assert await standing(database) == []


async def test_an_expired_key_ends_the_deliveries_too(database, receiver, deliverer, clock) -> None:
    maker = await key_of(database, life=timedelta(hours=1))
    number, _ = await add(database, receiver.url, api_key_id=maker)
    await tell(database)
    clock.advance(3700)
    await pass_(deliverer)
    assert receiver.calls == []
    found = await seen(database, number)
    assert (found.state, found.reason) == ("paused", "key_expired")
    async with database.transaction() as transaction:  # from the command line, where no key asks
        resumed = await endpoints.change(transaction, number, ALL, allow_private=True, paused=False)
    assert (resumed.state, resumed.api_key_id) == ("active", None)
    await pass_(deliverer)
    assert len(receiver.calls) == 1


async def test_a_rotation_hands_over_with_new_secrets(database, receiver, deliverer, clock, settings) -> None:
    maker = await key_of(database)
    number, old = await add(database, receiver.url, api_key_id=maker)
    async with database.transaction() as transaction:
        rotated = await keys.rotate(transaction, Vault(settings), str(maker), grace=timedelta(hours=1), actor="test")
    ((handed, new),) = [(one.id, one.secret) for one in rotated.webhooks]
    assert handed == number
    assert (await seen(database, number)).api_key_id == rotated.created.id
    await tell(database)
    await pass_(deliverer)
    clock.advance(3700)  # the old key has ended, and its holder's secret with it
    await tell(database)
    await pass_(deliverer)
    assert [(signed_by(old, *call), signed_by(new, *call)) for call in receiver.calls] == [(True, True), (False, True)]


async def test_who_made_an_endpoint_is_for_those_who_may_know(database) -> None:
    """An operator's key made one in an account's name: the account's readers see the endpoint and not the operator."""
    operator, own = await key_of(database, None), await key_of(database)
    theirs, _ = await add(database, NOWHERE, api_key_id=operator)
    mine, _ = await add(database, NOWHERE, api_key_id=own)
    async with database.transaction() as transaction:
        shown = {
            one.id: one.api_key_id for one in await endpoints.overview(transaction, Reader("test", "acme", key_id=own))
        }
        all_of_them = {one.id: one.api_key_id for one in await endpoints.overview(transaction, ALL)}
    assert shown == {theirs: None, mine: own}
    assert all_of_them == {theirs: operator, mine: own}


async def test_test_events_have_a_rate_for_each_endpoint_and_account(database, clock) -> None:
    one, _ = await add(database, NOWHERE)
    others = [(await add(database, NOWHERE))[0] for _ in range(3)]
    foreign, _ = await add(database, NOWHERE, account_id="globex")

    async def send(number: int) -> None:
        async with database.transaction() as transaction:
            await endpoints.send_test(transaction, number, ALL)

    for _ in range(endpoints.TESTS):
        await send(one)
    for _ in range(3):
        with pytest.raises(TooManyTests) as refused:
            await send(one)
        assert 0 < refused.value.seconds <= 60
    assert len(await listed(database, one)) == endpoints.TESTS
    for number in others[:2]:
        for _ in range(endpoints.TESTS):
            await send(number)
    with pytest.raises(TooManyTests):
        await send(others[2])  # its account's are spent
    await send(foreign)
    clock.advance(61)
    await send(one)
    await send(others[2])
    clock.advance(3700)
    await send(foreign)
    async with database.statements() as alone:
        subjects = [row.subject for row in await alone.rows("SELECT subject FROM webhook_test ORDER BY 1")]
    assert subjects == ["account:globex", f"endpoint:{foreign}"]


async def test_an_account_has_so_many_endpoints(database) -> None:
    for _ in range(endpoints.MOST_ENDPOINTS):
        await add(database, NOWHERE)
    with pytest.raises(Conflict, match="32 endpoints"):
        await add(database, NOWHERE)
    await add(database, NOWHERE, account_id="globex")


@pytest.mark.parametrize("told", [False, True], ids=["news", "due"])
async def test_an_alert_stands_while_events_are_due_and_no_deliverer_is_alive(
    database, deliverer, clock, told: bool
) -> None:
    rule = Watch("webhook", alerts.in_trouble)

    async def looked() -> list[str]:
        await rule.run(database)
        return await standing(database)

    await tell(database)
    clock.advance(60)
    assert await looked() == []  # nobody wants it
    await add(database, NOWHERE)
    await tell(database)
    if told:
        await deliveries.fan_out(database)
    clock.advance(60)
    assert await looked() == ["webhook:deliverer"]
    async with database.statements() as alone:
        await alone.run(
            "INSERT INTO process (id, name, host, pid, seen_at, statements, statement_p99, pool_used, pool_most, pool_exhausted, "
            "claims, claim_p50, claim_p99) VALUES ('x', 'deliverer', 'h', 1, clock_timestamp(), 0, 0, 0, 0, 0, 0, 0, 0)"
        )
    assert await looked() == []
    clock.advance(60)
    assert await looked() == ["webhook:deliverer"]  # that one was killed
