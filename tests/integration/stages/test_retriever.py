"""A process's calls: none waits for another, what was answered is committed while others are out, and what ends early leaves no lease."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.pipeline import answers, completion
from beat_actors.pipeline.retrieve import Retriever
from beat_actors.pipeline.stage import StageResult
from beat_actors.platforms.interface import Call, Health, Outcome, Source, Verdict
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from beat_actors.transport.http import Exchange
from tests.observing import rows
from tests.worlds import TOY, ScriptedClient, answer, engine_with, registered, toy_engine

STATES = "SELECT stage, lease_until IS NOT NULL AS claimed FROM scrape_fetch ORDER BY id"


class HangingClient(ScriptedClient):
    """Calls for names in `hanging` are answered when `answers` is set."""

    def __init__(self) -> None:
        super().__init__(lambda *_: answer())
        self.hanging: set[str] = set()
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.broken_off = 0

    async def exchange(self, source: Source, call: Call) -> Exchange:
        if call.query.get("of") in self.hanging:
            self.asked.set()
            try:
                await self.answers.wait()
            except asyncio.CancelledError:
                self.broken_off += 1
                raise
        return await super().exchange(source, call)


class Delivered:
    """What a retriever has said is to be done next."""

    def __init__(self) -> None:
        self.next: list[int] = []
        self.commits = 0
        self._told = asyncio.Event()

    async def __call__(self, result: StageResult) -> None:
        self.next += result.next
        self.commits += 1
        self._told.set()

    async def of(self, count: int) -> list[int]:
        """Wait for so many."""
        async with asyncio.timeout(60):
            while len(self.next) < count:
                self._told.clear()
                await self._told.wait()
        return sorted(self.next)


@pytest.fixture
async def client() -> HangingClient:
    return HangingClient()


@pytest.fixture
async def engine(settings: Settings, client: HangingClient) -> AsyncIterator[Engine]:
    async with toy_engine(settings, client, "abcd") as engine:
        yield engine


async def leased(engine: Engine, *names: str) -> list[int]:
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": name}) for name in names])
    return sorted((await turn(engine.database, TOY)).leased)


async def hanging_call(engine: Engine, client: HangingClient) -> tuple[Delivered, Retriever, int]:
    """A retriever, whose only call is out and does not end, and the fetch of that call."""
    client.hanging = {"slow"}
    told = Delivered()
    retriever = Retriever(engine, told)
    (slow,) = await leased(engine, "slow")
    await retriever.take([slow])
    await asyncio.wait_for(client.asked.wait(), 60)
    return told, retriever, slow


async def test_p5_a_call_that_hangs_delays_no_other_of_its_batch_and_no_later_batch(engine, client) -> None:
    client.hanging = {"slow"}
    told = Delivered()
    retriever = Retriever(engine, told)
    first = await leased(engine, "slow", "a", "b")
    await retriever.take(first)
    assert await told.of(2) == first[1:]
    second = await leased(engine, "c")
    await retriever.take(second)
    assert await told.of(3) == [*first[1:], *second]
    assert await rows(engine.database, STATES) == [("LEASED", True), *[("RETRIEVED", False)] * 3]
    client.answers.set()
    await retriever.drain(60)
    assert await told.of(4) == [*first, *second]
    await retriever.close()


async def test_a_process_that_holds_as_many_leases_as_it_may_is_full_until_one_is_committed(settings, client) -> None:
    settings = settings.model_copy(update={"process_calls": 2})
    client.hanging = {"a", "b"}
    async with toy_engine(settings, client, "ab") as engine:
        retriever = Retriever(engine, Delivered())
        (one, other) = await leased(engine, "a", "b")
        await retriever.take([one])
        assert not retriever.is_full
        await retriever.take([other])
        assert retriever.is_full
        client.answers.set()
        await retriever.drain(60)
        assert not retriever.is_full
        await retriever.close()


async def test_what_is_closed_keeps_the_lease_of_a_call_that_was_begun_and_returns_the_others(
    engine, client, monkeypatch
) -> None:
    client.hanging = {"begun"}
    waits = asyncio.Event()

    class Slot:
        """One call of this source goes at a time."""

        async def __aenter__(self) -> None:
            if client.asked.is_set():
                waits.set()
                await asyncio.Event().wait()

        async def __aexit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(client, "slot", lambda *_, **__: Slot())
    retriever = Retriever(engine, Delivered())
    (begun, waiting) = await leased(engine, "begun", "waiting")
    await retriever.take([begun])
    await asyncio.wait_for(client.asked.wait(), 60)
    await retriever.take([waiting])
    await asyncio.wait_for(waits.wait(), 60)
    await retriever.drain(0)
    await retriever.close()
    assert await rows(engine.database, STATES) == [("LEASED", True), ("SETTLING", False)]
    assert await rows(engine.database, "SELECT fetch_id, outcome FROM settlement") == [(waiting, "unused")]


async def test_a_call_whose_lease_was_lost_is_broken_off_and_committed_by_nobody(engine, client, monkeypatch) -> None:
    monkeypatch.setattr("beat_actors.pipeline.stage.RENEW_EVERY", 0.01)
    told, retriever, _ = await hanging_call(engine, client)
    await rows(engine.database, "UPDATE scrape_fetch SET fence = fence + 1 RETURNING id")
    await retriever.drain(60)
    assert (told.next, client.answers.is_set()) == ([], False)
    await retriever.close()


async def test_answers_that_cannot_be_stored_leave_their_neighbours_ready(engine, client, monkeypatch) -> None:
    """Each is then committed by itself, and all that are ready are told."""
    real, tried = completion._finish, 0

    async def refuses_batches(engine: Engine, called: Any, result: StageResult, held: Any) -> None:
        nonlocal tried
        tried += 1
        if len(called) > 1:
            raise completion.psycopg.DataError("one of them")
        await real(engine, called, result, held)

    monkeypatch.setattr(completion, "_finish", refuses_batches)
    monkeypatch.setattr("beat_actors.pipeline.retrieve.COMMIT_EVERY", 3600)
    client.hanging = {"a", "b", "c"}
    told = Delivered()
    retriever = Retriever(engine, told)
    ids = await leased(engine, "a", "b", "c")
    await retriever.take(ids)
    client.answers.set()
    await retriever.drain(60)
    assert await told.of(3) == ids
    await retriever.close()


async def test_a_call_that_cannot_be_committed_harms_no_other_and_its_lease_is_not_renewed(
    settings, client, monkeypatch
) -> None:
    """What it came to is unknown; the others of its commit are told."""
    settings = settings.model_copy(update={"process_calls": 1})
    monkeypatch.setattr("beat_actors.pipeline.retrieve.COMMIT_EVERY", 3600)
    async with toy_engine(settings, client, "abc") as engine:
        ids, real = await leased(engine, "a", "b", "c"), completion._finish

        async def refuses_one(engine: Engine, called: Any, result: StageResult, held: Any) -> None:
            if any(item.claim.id == ids[1] for item in called):
                raise RuntimeError("one of them")
            await real(engine, called, result, held)

        monkeypatch.setattr(completion, "_finish", refuses_one)
        client.hanging = {"a", "b", "c"}
        told = Delivered()
        retriever = Retriever(engine, told)
        await retriever.take(ids)
        client.answers.set()
        await retriever.drain(60)
        assert await told.of(2) == [ids[0], ids[2]]
        assert not retriever.is_full
        assert await rows(engine.database, STATES) == [("RETRIEVED", False), ("LEASED", True), ("RETRIEVED", False)]
        await retriever.close()


async def test_a_delivery_that_hangs_holds_up_no_commit(engine, client) -> None:
    told, goes = Delivered(), asyncio.Event()

    async def hangs(result: StageResult) -> None:
        await goes.wait()
        await told(result)

    retriever = Retriever(engine, hangs)
    ids = await leased(engine, *"abcd")
    for one in ids:
        await retriever.take([one])
        await retrieved(engine, one)
    goes.set()
    assert await told.of(4) == ids
    await retriever.close()


async def test_calls_that_are_broken_off_before_they_begin_are_returned_unused(engine, client) -> None:
    """Their tasks have not taken a step yet."""
    told = Delivered()
    retriever = Retriever(engine, told)
    ids = await leased(engine, *"abcd")
    await retriever.take(ids)
    await retriever.close()
    assert client.calls == []
    assert await rows(engine.database, STATES) == [("SETTLING", False)] * 4
    assert await rows(engine.database, "SELECT fetch_id, outcome FROM settlement ORDER BY 1") == [
        (one, "unused") for one in ids
    ]


async def test_what_is_taken_after_the_end_is_returned_unused(engine, client) -> None:
    told = Delivered()
    retriever = Retriever(engine, told)
    ids = await leased(engine, *"ab")
    await retriever.close()
    await retriever.take(ids)
    await retriever.drain(60)
    assert client.calls == []
    assert await rows(engine.database, STATES) == [("SETTLING", False)] * 2


async def test_a_fetch_that_was_lost_and_comes_back_to_the_same_process_is_called_anew(engine, client) -> None:
    """The call under the lost claim is broken off at the next renewal, and what it leaves does not touch the new claim."""
    told, retriever, slow = await hanging_call(engine, client)
    await rows(engine.database, "UPDATE scrape_fetch SET fence = fence + 1, lease_until = NULL RETURNING id")
    client.hanging = set()
    await retriever.take([slow])
    assert await told.of(1) == [slow]
    await retriever.drain(60)
    assert (client.broken_off, client.answers.is_set()) == (1, False)
    await retriever.close()


async def test_an_ambiguous_answer_is_committed_as_one_when_the_process_ends_before_its_check(
    engine, client, monkeypatch
) -> None:
    asking = asyncio.Event()

    async def hangs(*_: Any) -> Any:
        asking.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("beat_actors.pipeline.retrieve.make", ambiguous)
    monkeypatch.setattr(answers.upkeep, "ask", hangs)
    retriever = Retriever(engine, Delivered())
    ids = await leased(engine, "a")
    await retriever.take(ids)
    await asyncio.wait_for(asking.wait(), 60)
    await retriever.close()
    assert await rows(engine.database, STATES) == [("SETTLING", False)]
    assert await rows(engine.database, "SELECT outcome FROM settlement") == [("doubtful",)]


async def test_ambiguous_answers_that_come_while_the_credential_is_asked_take_its_answer(
    settings, client, monkeypatch
) -> None:
    engine = engine_with(settings, client)
    asked: list[int] = []
    asking, answered = asyncio.Event(), asyncio.Event()

    async def goes_well(_: Engine, claims: Sequence[Any]) -> Any:
        asked.extend(claim.id for claim in claims)
        asking.set()
        await answered.wait()
        return {(claim.credential_id, claim.generation): Health(Verdict(Outcome.OK)) for claim in claims}

    monkeypatch.setattr("beat_actors.pipeline.retrieve.make", ambiguous)
    monkeypatch.setattr(answers.upkeep, "ask", goes_well)
    with registered(TOY):
        await engine.credentials.add("toy-first", {"key": "a"})
        told = Delivered()
        retriever = Retriever(engine, told)
        ids = await leased(engine, "a", "b")
        for one in ids:
            await retriever.take([one])
            await asyncio.wait_for(asking.wait(), 60)
        async with asyncio.timeout(20):
            while len(client.calls) < 2:  # noqa: ASYNC110 - polling is the test
                await asyncio.sleep(0.01)
        answered.set()
        await retriever.drain(60)
        assert (asked, await told.of(2)) == (ids[:1], ids)
        await retriever.close()
    await engine.close()


async def ambiguous(*args: Any) -> Sequence[answers.Called]:
    """Make a call, whatever its answer, be ambiguous about its credential."""
    return [replace(item, verdict=replace(item.verdict, ambiguous=True)) for item in await answers.make(*args)]


async def retrieved(engine: Engine, fetch_id: int) -> None:
    """Wait until this one's answer is committed."""
    stage = f"SELECT stage FROM scrape_fetch WHERE id = {fetch_id}"
    async with asyncio.timeout(20):
        while await rows(engine.database, stage) != [("RETRIEVED",)]:  # noqa: ASYNC110 - polling is the test
            await asyncio.sleep(0.01)
