"""What one process alone cannot do blames nobody: no provider's breaker opens for it, and others go on."""

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from beat_actors.alerts import list_alerts
from beat_actors.broker.turn import turn
from beat_actors.database.processes import processes
from beat_actors.database.reporting import Reporter
from beat_actors.engine import Engine
from beat_actors.errors import KeyNotEverywhere
from beat_actors.own_trouble import NETWORK
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.process_alerts import processes_in_trouble
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from beat_actors.transport.http import ProviderClient
from beat_actors.watch.rule import Watch
from tests.conftest import VAULT_KEYS
from tests.observing import rows
from tests.stages import retrieve
from tests.worlds import TOY, First, ScriptedClient, Second, answer, engine_with, registered

OPEN = "SELECT source FROM breaker WHERE open_until IS NOT NULL ORDER BY source"
WAITING = "SELECT DISTINCT waiting_for, rotations, retries, excluded FROM scrape_fetch WHERE stage = 'WAITING'"
WAKE = "UPDATE scrape_fetch SET not_before = clock_timestamp() WHERE not_before IS NOT NULL"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """For whoever does not use the scripted client."""
    monkeypatch.setattr(First, "base_url", "http://127.0.0.1:1")
    monkeypatch.setattr(Second, "base_url", "http://127.0.0.2:1")


def cut_off(settings: Settings) -> Engine:
    return engine_with(settings, ProviderClient(settings), name="cut off")


@asynccontextmanager
async def workers(*engines: Engine) -> AsyncIterator[list[Reporter]]:
    """They report, and the installation has a key of two sources."""
    with registered(TOY):
        await engines[0].credentials.add("toy-first", {"key": "a"})
        reporters = [Reporter(each.database, name="worker", own_trouble=each.own_trouble) for each in engines]
        for reporter in reporters:
            await reporter.report()
        yield reporters
    for each in engines:
        await each.close()


async def submit(engine: Engine, count: int) -> None:
    await engine.credentials.add("toy-first", {"key": "b"})
    await engine.credentials.add("toy-first", {"key": "c"})
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": f"n{i}"}) for i in range(count)])


async def test_a_worker_that_alone_reaches_nobody_opens_no_breaker_and_harms_no_fetch(settings: Settings) -> None:
    sick, well = cut_off(settings), engine_with(settings, ScriptedClient(lambda *_: answer()))
    async with workers(sick, well):
        await submit(sick, 8)
        await retrieve(sick, (await turn(sick.database, TOY)).leased)
        await turn(sick.database, TOY)
        assert await rows(sick.database, OPEN) == []
        assert await rows(sick.database, WAITING) == [("unreached", 0, 0, [])]
        async with well.database.transaction() as transaction:
            await transaction.run(WAKE)
        leased = (await turn(well.database, TOY)).leased
        await process(well, (await ingest(well, (await retrieve(well, leased)).next)).next)
        assert await rows(well.database, "SELECT DISTINCT status FROM scrape_request_log") == [("COMPLETE",)]


async def test_a_host_that_two_workers_do_not_reach_is_out(settings: Settings) -> None:
    one, two = cut_off(settings), cut_off(settings)
    async with workers(one, two):
        await submit(one, 8)
        leased = (await turn(one.database, TOY)).leased
        await retrieve(one, leased[:4])
        await retrieve(two, leased[4:])
        await turn(one.database, TOY)
        assert await rows(one.database, OPEN) == [("toy-first",)]


async def test_where_there_is_one_worker_its_word_is_enough(settings: Settings) -> None:
    one = cut_off(settings)
    async with workers(one):
        await submit(one, 8)
        await retrieve(one, (await turn(one.database, TOY)).leased)
        await turn(one.database, TOY)
        assert await rows(one.database, OPEN) == [("toy-first",)]


async def test_a_worker_that_reaches_no_host_cools_down_and_says_so(settings: Settings) -> None:
    """Even the only one there is: two hosts at once are more likely its own network. It looks again, and is back with the first connection."""
    one = cut_off(settings)
    async with workers(one) as (reporter,):
        await submit(one, 4)
        await retrieve(one, (await turn(one.database, TOY)).leased)
        assert one.own_trouble.takes_calls
        await one.credentials.add("toy-second", {"key": "d"})
        await retrieve(one, (await turn(one.database, TOY)).leased)
        assert not one.own_trouble.takes_calls
        await turn(one.database, TOY)
        assert await rows(one.database, OPEN) == []

        await reporter.report()
        (told,) = await processes(one.database)
        assert told.troubles == one.own_trouble.reported()
        rule = Watch("process", processes_in_trouble)
        assert await rule.run(one.database) == 1
        async with one.database.statements() as alone:
            (alert,) = await list_alerts(alone)
        assert (alert.key, "127.0.0.2:1" in alert.cause) == (f"process:{NETWORK}", True)

        one.own_trouble.reached()
        assert one.own_trouble.takes_calls
        await reporter.report()
        assert await rule.run(one.database) == 1


def with_keys(settings: Settings, keys: str) -> Settings:
    return settings.model_copy(update={"vault_keys": type(settings.vault_keys)(keys)})


async def test_a_wrong_key_under_the_right_name_kills_no_credential(settings: Settings) -> None:
    name = VAULT_KEYS.partition(":")[0]
    wrong = f"{name}:{b64encode(bytes(32)).decode()}"
    right, sick = (
        engine_with(each, ScriptedClient(lambda *_: answer())) for each in (settings, with_keys(settings, wrong))
    )
    async with workers(right, sick):
        await submit(right, 6)
        leased = (await turn(right.database, TOY)).leased
        assert (await retrieve(sick, leased[:3])).next == []
        assert [*sick.own_trouble.reported()] == [f"vault key {name}"]
        assert (await retrieve(sick, leased[3:])).next == []  # it leaves the rest to others
        assert len((await retrieve(right, leased[3:])).next) == 3
        again = (await turn(right.database, TOY)).leased
        assert len((await retrieve(right, again)).next) == 3
        assert await rows(right.database, "SELECT count(*) FROM credential WHERE dead_at IS NOT NULL") == [(0,)]
        with pytest.raises(KeyNotEverywhere, match="1 live processes do not hold key"):
            await right.credentials.rotate_keys()


async def test_a_secret_that_a_proven_key_does_not_open_is_the_credentials_fault(settings: Settings) -> None:
    one = engine_with(settings, ScriptedClient(lambda *_: answer()))
    async with workers(one):
        await submit(one, 1)
        async with one.database.transaction() as transaction:
            await transaction.run("UPDATE credential SET enabled = false WHERE id > 1")
            await transaction.run(
                "UPDATE credential SET secret = (SELECT secret FROM credential WHERE id = 2) WHERE id = 1"
            )
        await retrieve(one, (await turn(one.database, TOY)).leased)
        await turn(one.database, TOY)
        assert await rows(one.database, "SELECT id FROM credential WHERE dead_at IS NOT NULL") == [(1,)]
        assert one.own_trouble.reported() == {}


async def test_keys_are_rotated_only_when_every_live_process_holds_the_new_one(settings: Settings) -> None:
    new = f"k9:{b64encode(bytes(range(32))).decode()}"
    old, both = (
        engine_with(each, ScriptedClient(lambda *_: answer()))
        for each in (settings, with_keys(settings, f"{new},{VAULT_KEYS}"))
    )
    parser = engine_with(settings.model_copy(update={"vault_keys": None}), ScriptedClient(lambda *_: answer()))
    async with workers(old, both):
        await Reporter(parser.database, name="worker").report()  # what has no key of the vault needs none
        with pytest.raises(KeyNotEverywhere, match="k9"):
            await both.credentials.rotate_keys()
        assert await rows(old.database, "SELECT DISTINCT key_id FROM credential WHERE key_id = 'k9'") == []
        await both.credentials.add("toy-second", {"key": "sealed with the new key"})
        assert await Watch("process", processes_in_trouble).run(old.database) == 1
        async with old.database.statements() as alone:
            assert [alert.key for alert in await list_alerts(alone)] == ["process:vault key k9"]
            await alone.run("DELETE FROM process WHERE NOT 'k9' = ANY(SELECT split_part(unnest(vault_keys), ':', 1))")
        assert await both.credentials.rotate_keys() == 1
    await parser.database.close()


@pytest.mark.parametrize("where", ["build", "classify"])
async def test_a_process_without_memory_blames_nobody(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A call that was made is of unknown outcome and charged; one that was not is not."""
    one = engine_with(settings, ScriptedClient(lambda *_: answer()))

    def fails(*_: object) -> None:
        raise MemoryError

    async with workers(one):
        await submit(one, 2)
        leased = (await turn(one.database, TOY)).leased
        with monkeypatch.context() as patch:
            if where == "build":
                patch.setattr(First, "endpoints", {"look": replace(First.endpoints["look"], build=fails)})
            else:
                patch.setattr(First, "classify", fails)
            await retrieve(one, leased)
        assert not one.own_trouble.takes_calls
        await turn(one.database, TOY)
        assert await rows(one.database, "SELECT DISTINCT outcome FROM trace_log") == (
            [("unknown",)] if where == "classify" else []
        )
        assert await rows(one.database, "SELECT DISTINCT excluded, unreadable FROM scrape_fetch") == [([], [])]
        assert await rows(one.database, "SELECT FROM breaker WHERE failures > 0") == []
