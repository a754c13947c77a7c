"""What the harness measured while it stood still says nothing of the engine."""

import asyncio
import time

import pytest

from beat_actors.chaos import standing
from beat_actors.chaos.load import Answered
from beat_actors.chaos.standing import noticed


async def test_a_standstill_excuses_the_answers_that_met_it_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "EVERY", 0.02)
    monkeypatch.setattr(standing, "LONG", 0.3)
    async with noticed() as standstills:
        before = time.time()
        await asyncio.sleep(0.1)
        stood_at = time.time()
        time.sleep(0.5)  # noqa: ASYNC251 - this is the standstill
        await asyncio.sleep(0.1)
        after = time.time()
    assert standstills.seconds >= 0.5
    assert standstills.met(Answered(stood_at, 0.2, 0, False))
    assert standstills.met(Answered(before, after - before, 202, False))
    assert not standstills.met(Answered(before - 1.0, 0.5, 0, False))
    assert not standstills.met(Answered(after, 15.0, 0, False))
