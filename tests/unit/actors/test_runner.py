"""What a process that ends gives to the upkeep that is out."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from actors import runner as module
from actors.runner import Runner


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
