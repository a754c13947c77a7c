"""What a process that ends gives to the upkeep that is out."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from actors import runner as module
from actors.mailbox import CREDENTIALS, RETRIEVE
from actors.runner import Runner
from beat_actors.pipeline.stage import StageResult


async def test_upkeep_that_is_broken_off_hands_back_what_it_leased_before_the_runner_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began, handed_back = asyncio.Event(), asyncio.Event()

    async def look_after(*_: Any) -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            for _ in range(20):  # a statement takes some steps
                await asyncio.sleep(0)
            handed_back.set()

    monkeypatch.setattr(module, "look_after", look_after)
    engine: Any = SimpleNamespace(database=None)
    of = Runner(engine, mailbox=None, parses=False)  # type: ignore[arg-type]
    of.look_after([1])
    await began.wait()
    await of.close(0.0)
    assert handed_back.is_set()


async def test_what_was_full_is_informed_of_room_once_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    done, told, sent = asyncio.Event(), [], []

    async def look_after(*_: Any) -> StageResult:
        await done.wait()
        return StageResult()

    async def note(*what: Any) -> None:
        sent.append(what)

    monkeypatch.setattr(module, "look_after", look_after)
    trouble = SimpleNamespace(takes_calls=True)
    engine: Any = SimpleNamespace(database=None, own_trouble=trouble, settings=SimpleNamespace(process_calls=1))
    mailbox: Any = SimpleNamespace(send=note, settle=note)
    of = Runner(engine, mailbox, parses=False)
    of.on_room = told.append
    of._retriever._renewer._held = {(1, 1)}
    assert not of.takes(RETRIEVE)
    await of._deliver(StageResult())
    assert told == []
    of._retriever._renewer._held = set()
    for _ in range(2):
        await of._deliver(StageResult())
    assert told == [RETRIEVE]
    for _ in range(module.MOST_UPKEEP):
        of.look_after([1])
    assert not of.takes(CREDENTIALS)
    done.set()
    await asyncio.wait(of._upkeep)
    await asyncio.sleep(0)
    assert told == [RETRIEVE, CREDENTIALS]
