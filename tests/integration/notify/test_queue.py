"""When a message is made, what it contains, and what becomes of one that its sink does not take."""

import asyncio
from datetime import UTC, datetime

import psycopg
import pytest

from beat_actors.alerts import list_alerts, silence
from beat_actors.audit import entries
from beat_actors.credentials.manager import CredentialManager
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.errors import BadInput, Conflict, NotFound
from beat_actors.notify import alerts as notify_alerts
from beat_actors.notify import queue, sinks
from beat_actors.notify.notifier import Notifier, pause_after
from beat_actors.notify.seeding import check, seed
from beat_actors.notify.sinks import MOST_SINKS
from beat_actors.settings import Settings
from beat_actors.watch.rule import Watch
from tests.conftest import VAULT_KEYS
from tests.integration.notify.world import (
    Receiver,
    add,
    alert,
    listed,
    order_test,
    over,
    pass_,
    raised,
    receiving,
    seen,
)


async def hook(database: Database, receiver: Receiver, name: str = "hook", **route: object) -> None:
    await add(database, name, kind="webhook", url=f"{receiver.url}/{name}", route=route)


def states(receiver: Receiver) -> list[tuple[str, dict[str, str]]]:
    """The state of each message, and of its alerts by their keys."""
    return [
        (call.json["data"]["state"], {one["key"]: one["state"] for one in call.json["data"]["alerts"]})
        for call in receiver.calls
    ]


async def mute(database: Database, number: int, *, silenced: bool = True) -> None:
    async with database.transaction() as transaction:
        await silence(transaction, number, silenced=silenced, actor="test", reason="known")


async def test_an_episode_is_told_once_and_so_is_its_end(database, receiver, notifier, clock) -> None:
    await hook(database, receiver)
    await raised(database, alert("redis:away", "critical"))
    await pass_(notifier)
    assert receiver.calls == []  # others may join
    for _ in range(5):
        clock.advance(40)
        await pass_(notifier)
    assert states(receiver) == [("firing", {"redis:away": "new"})]
    await over(database, "redis:away")
    for _ in range(5):
        clock.advance(40)
        await pass_(notifier)
    assert states(receiver)[1:] == [("resolved", {"redis:away": "resolved"})]
    # Another episode of the same cause is another alert.
    await raised(database, alert("redis:away", "critical"))
    clock.advance(40)
    await pass_(notifier)
    assert states(receiver)[2:] == [("firing", {"redis:away": "new"})]


async def test_an_alert_that_ends_before_it_is_sent_is_not_sent(database, receiver, notifier, clock) -> None:
    await hook(database, receiver)
    await raised(database, alert("redis:away"))
    await over(database, "redis:away")
    clock.advance(40)
    await pass_(notifier)
    await raised(database, alert("redis:away"))
    clock.advance(15)
    await queue.plan(database, await queue.look(database))
    await over(database, "redis:away")
    await pass_(notifier)
    assert receiver.calls == []
    assert [one.state for one in await listed(database, "hook")] == ["dropped"]


async def test_a_rise_in_severity_is_told(database, receiver, notifier, clock) -> None:
    await hook(database, receiver)
    await raised(database, alert("redis:memory", "warning"))
    clock.advance(40)
    await pass_(notifier)
    await raised(database, alert("redis:memory", "critical"))
    clock.advance(40)
    await pass_(notifier)
    assert [call.json["data"]["severity"] for call in receiver.calls] == ["warning", "critical"]
    assert "1 more severe" in receiver.calls[1].json["data"]["summary"]


async def test_what_stays_open_is_repeated_when_that_is_due(database, receiver, notifier, clock) -> None:
    await hook(database, receiver, repeat=3600)
    await hook(database, receiver, "once", repeat=0)
    await raised(database, alert("redis:away"))
    for _ in range(8):
        clock.advance(1000)
        await pass_(notifier)
    assert [call.path for call in receiver.calls if call.path == "/once"] == ["/once"]
    assert [call.path for call in receiver.calls if call.path == "/hook"] == ["/hook"] * 2


async def test_many_alerts_of_one_situation_are_one_message(database, receiver, notifier, clock) -> None:
    await hook(database, receiver)
    await raised(database, *(alert(f"credential:{n}:dead") for n in range(30)))
    clock.advance(15)
    await pass_(notifier)
    ((state, told),) = states(receiver)
    assert (state, len(told)) == ("firing", 30)


@pytest.mark.slow
async def test_a_storm_of_a_thousand_alerts_is_a_few_messages(database, receiver, notifier, clock) -> None:
    """They come over five minutes, a look every five seconds."""
    await hook(database, receiver)
    await add(
        database, "pager", kind="pagerduty", url=f"{receiver.url}/pager", key="k" * 32, route={"severity": "warning"}
    )
    for wave in range(60):
        keys = range(wave * 17, min(wave * 17 + 17, 1000))
        if keys:
            await raised(database, *(alert(f"credential:{n}:dead", source=f"source{n % 40}") for n in keys))
        clock.advance(5)
        await pass_(notifier)
    clock.advance(60)
    await pass_(notifier)
    hooks = [call for call in receiver.calls if call.path == "/hook"]
    assert len(hooks) <= 12  # one in 30 s
    assert {one["key"] for call in hooks for one in call.json["data"]["alerts"] if one["state"] == "new"} == {
        f"credential:{n}:dead" for n in range(1000)
    }
    # 40 groups there, and at most 20 messages a minute
    assert len([call for call in receiver.calls if call.path == "/pager"]) <= 6 * queue.PER_MINUTE + queue.PER_MINUTE
    assert max(len(call.body) for call in receiver.calls) < 1_000_000


async def test_a_route_takes_severities_and_platforms(database, receiver, notifier, clock) -> None:
    await hook(database, receiver, "all", severity="info")
    await hook(database, receiver, "grave", severity="critical")
    await hook(database, receiver, "insta", platforms=["instagram"])
    await hook(database, receiver, "infra", platforms=["beat"])
    await raised(
        database,
        alert("quota:7:day", "info", platform="youtube"),
        alert("waiting:instagram:x", "warning", platform="instagram"),
        alert("source:graphapi", "warning", source="graphapi"),  # of instagram, by its source
        alert("redis:away", "critical"),
    )
    clock.advance(15)
    await pass_(notifier)
    got = {call.path[1:]: {one["key"] for one in call.json["data"]["alerts"]} for call in receiver.calls}
    assert got == {
        "all": {"quota:7:day", "waiting:instagram:x", "source:graphapi", "redis:away"},
        "grave": {"redis:away"},
        "insta": {"waiting:instagram:x", "source:graphapi"},
        "infra": {"redis:away"},
    }


async def test_a_sink_with_hours_is_told_of_what_is_open_when_they_begin(database, receiver, notifier, clock) -> None:
    hour = datetime.fromtimestamp(clock.now(), UTC).hour
    await hook(database, receiver, hours=f"{(hour + 2) % 24}-{(hour + 4) % 24 or 24}")
    await raised(database, alert("redis:away"), alert("redis:memory"))
    clock.advance(15)
    await pass_(notifier)
    assert receiver.calls == []
    await over(database, "redis:memory")
    clock.advance(2 * 3600)
    await pass_(notifier)
    assert states(receiver) == [("firing", {"redis:away": "new"})]


async def test_a_silenced_alert_is_not_told_and_not_repeated(database, receiver, notifier, clock) -> None:
    await hook(database, receiver, repeat=60)
    first, second = await raised(database, alert("redis:away"), alert("redis:memory"))
    await mute(database, first)
    clock.advance(15)
    await pass_(notifier)
    assert states(receiver) == [("firing", {"redis:memory": "new"})]
    await mute(database, second)
    for _ in range(3):
        clock.advance(100)
        await pass_(notifier)
    await over(database, "redis:memory")
    clock.advance(100)
    await pass_(notifier)
    assert len(receiver.calls) == 1
    await mute(database, first, silenced=False)
    clock.advance(100)
    await pass_(notifier)
    assert states(receiver)[1:] == [("firing", {"redis:away": "new"})]


async def test_pagerduty_is_told_of_the_end_also_of_a_silenced_alert(database, receiver, notifier, clock) -> None:
    await add(database, "pager", kind="pagerduty", url=f"{receiver.url}/v2", key="k" * 32, route={"resolved": False})
    (number,) = await raised(database, alert("redis:away"))
    clock.advance(15)
    await pass_(notifier)
    await mute(database, number)
    await over(database, "redis:away")
    clock.advance(40)
    await pass_(notifier)
    assert [call.json["event_action"] for call in receiver.calls] == ["trigger", "resolve"]


async def test_an_explained_alert_is_not_told(database, receiver, notifier, clock) -> None:
    await hook(database, receiver)
    await raised(database, alert("source:graphapi", "critical", source="graphapi"))
    await raised(database, alert("credentials:graphapi", source="graphapi"))
    clock.advance(15)
    await pass_(notifier)
    assert states(receiver) == [("firing", {"source:graphapi": "new"})]


async def test_a_failed_message_is_sent_again_and_says_what_is_true_then(database, receiver, notifier, clock) -> None:
    await hook(database, receiver)
    receiver.script = [500, 500]
    await raised(database, alert("redis:away"), alert("redis:memory"))
    clock.advance(15)
    await pass_(notifier)
    await over(database, "redis:memory")
    await raised(database, alert("workers:none"))
    for _ in range(3):
        clock.advance(30)
        await pass_(notifier)
    assert len(receiver.calls) == 3
    assert len({call.headers["webhook-id"] for call in receiver.calls}) == 1
    assert states(receiver)[2] == ("firing", {"redis:away": "new", "workers:none": "new"})
    (message,) = await listed(database, "hook")
    assert (message.state, message.attempt, message.firing, message.error) == ("sent", 3, 2, None)


async def test_a_dead_sink_harms_itself_alone_and_an_alert_tells_of_it(database, receiver, notifier, clock) -> None:
    async with receiving() as dead:
        await hook(database, dead, "dead")
        await hook(database, receiver, "alive", severity="info")
        dead.always, dead.echo = 503, True
        await raised(database, alert("redis:away"))
        for _ in range(10):
            clock.advance(700)
            await pass_(notifier)
            await Watch("notify", notify_alerts.in_trouble).run(database)
        assert (await seen(database, "dead")).failures >= notify_alerts.FAILURES
        (waiting,) = [one for one in await listed(database, "dead") if one.state == "pending"]
        assert waiting.attempt == len(dead.calls)
        told = [key for _, alerts in states(receiver) for key, state in alerts.items() if state == "new"]
        assert told == ["redis:away", "notify:dead"]
        async with database.transaction() as transaction:
            (about,) = [one for one in await list_alerts(transaction) if one.key == "notify:dead"]
        assert (about.severity, "HTTP 503" in about.cause) == ("warning", True)
        dead.always = 204
        clock.advance(700)
        await pass_(notifier)
        await Watch("notify", notify_alerts.in_trouble).run(database)
    assert states(dead)[-1] == ("firing", {"redis:away": "new"})  # and not that it failed itself
    async with database.transaction() as transaction:
        assert [one.key for one in await list_alerts(transaction)] == ["redis:away"]


async def test_a_message_that_nobody_takes_is_given_up_and_that_is_told(database, receiver, notifier, clock) -> None:
    await hook(database, receiver)
    receiver.always = 500
    await raised(database, alert("redis:away"))
    for _ in range(30):
        clock.advance(3600)
        await pass_(notifier)
    assert "failed" in [one.state for one in await listed(database, "hook")]
    about, nobody = await notify_alerts.in_trouble(database)  # no deliverer reports here
    assert (about.key, about.severity) == ("notify:hook", "critical")
    assert nobody.key == "notify:deliverer"
    assert "given up within a day" in about.cause


async def test_a_sink_that_hangs_holds_up_no_other(database, receiver, notifier, clock) -> None:
    async with receiving() as hung:
        hung.gate = asyncio.Event()
        await hook(database, hung, "hung")
        await hook(database, receiver, "alive")
        await raised(database, alert("redis:away"))
        clock.advance(15)
        await notifier.step()
        async with asyncio.timeout(30):
            while not (receiver.calls and hung.calls):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert await queue.claim(database, 10) == []  # it is leased
        hung.gate.set()
        await notifier.drain()
    assert (await seen(database, "hung")).last_success_at is not None


async def test_a_message_of_a_process_that_died_is_sent_by_another(database, receiver, notifier, clock) -> None:
    await hook(database, receiver)
    await raised(database, alert("redis:away"))
    clock.advance(15)
    await queue.plan(database, await queue.look(database))
    (lost,) = await queue.claim(database, 10)
    await pass_(notifier)
    assert receiver.calls == []
    clock.advance(queue.LEASE + 1)
    await pass_(notifier)
    assert len(receiver.calls) == 1
    await queue.settle(database, lost, queue.Outcome("failed", 5.0, 500, "late"), ())  # it comes back: too late
    (message,) = await listed(database, "hook")
    assert (message.state, message.attempt) == ("sent", 2)


async def test_two_notifiers_send_each_message_once(database, receiver, notifier, settings, clock) -> None:
    for name in ("a", "b", "c", "d"):
        await hook(database, receiver, name)
    other = Notifier(database, Vault(settings))
    await raised(database, alert("redis:away"))
    clock.advance(15)
    await asyncio.gather(*(pass_(one) for one in (notifier, other) * 4))
    await other.close()
    assert sorted(call.path for call in receiver.calls) == ["/a", "/b", "/c", "/d"]


async def test_a_paused_sink_gets_nothing_and_then_what_is_open(database, receiver, notifier, clock) -> None:
    await hook(database, receiver)
    async with database.transaction() as transaction:
        await sinks.pause(transaction, "hook", paused=True, actor="test")
    await raised(database, alert("redis:away"))
    clock.advance(100)
    await pass_(notifier)
    assert receiver.calls == []
    async with database.transaction() as transaction:
        await sinks.pause(transaction, "hook", paused=False, actor="test")
    await pass_(notifier)
    assert states(receiver) == [("firing", {"redis:away": "new"})]


async def test_a_sink_says_when_to_come_back_and_is_not_believed_for_hours(database, receiver, notifier, clock) -> None:
    await hook(database, receiver)
    receiver.script, receiver.headers = [429], {"Retry-After": "86400"}
    await raised(database, alert("redis:away"))
    clock.advance(15)
    await pass_(notifier)
    clock.advance(300)
    await pass_(notifier)
    assert len(receiver.calls) == 1
    clock.advance(310)
    await pass_(notifier)
    assert len(receiver.calls) == 2


def test_pauses_grow_and_are_bounded() -> None:
    assert 4 <= pause_after(0) <= 6
    assert 12 <= pause_after(1) <= 18
    assert all(480 <= pause_after(n) <= 720 for n in (5, 10, 1000))


async def test_the_sinks_of_the_settings_become_rows_and_follow_them(database, settings: Settings, receiver) -> None:
    url = f"{receiver.url}/x"
    one = {"ops": {"kind": "slack", "url": url}, "hook": {"kind": "webhook", "url": url, "key": "whsec_" + "A" * 44}}
    await add(database, "by-hand", kind="slack", url=url)
    for named, wanted in (
        (one, ["by-hand", "hook", "ops"]),
        ({"ops": one["ops"]}, ["by-hand", "ops"]),
        ({}, ["by-hand"]),
    ):
        database.settings = Settings(**settings.model_dump() | {"notify": named})
        await seed(database, Vault(settings))
        async with database.transaction() as transaction:
            assert [(found.name, found.from_settings) for found in await sinks.overview(transaction)] == [
                (name, name != "by-hand") for name in wanted
            ]
    async with database.transaction() as transaction:
        assert {entry.action for entry in await entries(transaction, actor="settings")} == {
            "notify.add",
            "notify.remove",
        }


async def test_a_sink_of_the_settings_is_changed_there_alone(database, settings: Settings, receiver) -> None:
    database.settings = Settings(
        **settings.model_dump() | {"notify": {"ops": {"kind": "slack", "url": f"{receiver.url}/x"}}}
    )
    await seed(database, Vault(settings))
    async with database.transaction() as transaction:
        with pytest.raises(BadInput, match="BEAT_NOTIFY"):
            await sinks.change(transaction, "ops", {"severity": "info"}, actor="test")
        with pytest.raises(BadInput, match="BEAT_NOTIFY"):
            await sinks.remove(transaction, "ops", reason="x", actor="test")


def test_a_setting_that_cannot_be_names_the_sink_and_no_secret(settings: Settings) -> None:
    named = {"ops": {"kind": "slack", "url": "gopher://canary-0123456789"}}
    with pytest.raises(Exception, match="ops") as refused:
        check(Settings(**settings.model_dump() | {"notify": named}))
    assert "canary" not in str(refused.value)


async def test_secrets_are_sealed_and_sealed_again_by_a_rotation(
    database, settings: Settings, receiver, notifier, database_url
) -> None:
    await hook(database, receiver)
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT s::text, s.secret FROM notify_sink s").fetchone()
    assert row is not None
    assert receiver.url not in row[0]
    assert receiver.url.encode() not in row[1]
    rotated = settings.model_copy(
        update={
            "vault_keys": type(settings.vault_keys)("new:" + VAULT_KEYS.partition(":")[2][:-4] + "AAA=," + VAULT_KEYS)
        }
    )
    vault = Vault(rotated)
    assert await CredentialManager(database, vault, actor="test").rotate_keys() == 1
    other = Notifier(database, vault)
    await order_test(database, "hook")
    await pass_(other)
    await other.close()
    assert len(receiver.calls) == 1


async def test_names_are_taken_once_and_there_are_so_many(database, receiver) -> None:
    await hook(database, receiver, "sink")
    with pytest.raises(Conflict):
        await hook(database, receiver, "sink")
    with pytest.raises(BadInput):
        await hook(database, receiver, "No Name")
    for number in range(MOST_SINKS - 1):
        await hook(database, receiver, f"sink-{number}")
    with pytest.raises(Conflict, match="remove one"):
        await hook(database, receiver, "one-more")
    with pytest.raises(NotFound):
        await seen(database, "nobody")


async def test_without_sinks_a_look_costs_one_statement(database, notifier) -> None:
    await raised(database, alert("redis:away"))
    assert await notifier.step() == 15.0
    assert await queue.look(database) == []


async def test_what_ended_long_ago_is_forgotten(database, receiver, notifier, clock) -> None:
    await hook(database, receiver)
    await order_test(database, "hook")
    await pass_(notifier)
    assert await queue.forget(database) == 0
    clock.advance(86_400 * (database.settings.log_days + 1))
    assert await queue.forget(database) == 1
    assert await listed(database, "hook") == []
