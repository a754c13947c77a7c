"""A provider that is slow to count what has long been sent: the engine's windows are no earlier than the provider's."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from beat_actors.database import migrate
from beat_actors.local.servers import UNSAFE_BUT_FAST
from beat_actors.local.stack import Stack
from tests.integration.engine.conftest import System, engine_of

pytestmark = pytest.mark.timeout(240)

STOPS = 4
STOPPED = 1.5
"""Seconds: longer than the window of 15 calls a second that is looked at."""


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[System]:
    stack = Stack(tmp_path / "beat", postgres_settings=UNSAFE_BUT_FAST)
    try:
        with stack.running(migrate=migrate.upgrade):
            yield System(stack)
    finally:
        stack.home.erase()


@pytest.mark.exhaustive
async def test_p4_calls_that_a_stalled_provider_counts_late_bring_no_window_over_its_limit(alone: System) -> None:
    """Stopped as a crowded machine or a jammed line would stop it, it counts what came meanwhile when it goes on."""
    system = alone
    engine = engine_of(system.stack)
    await engine.credentials.add("lama", {"key": "test-lama"})
    await engine.close()
    await system.all_checked()
    (simulator,) = [status.pid for status in system.stack.supervisor.status() if status.name == "simulator"]
    assert simulator is not None
    ids = await system.submit(150)
    out = "SELECT count(*) FROM scrape_fetch WHERE stage = 'LEASED' AND lease_until IS NOT NULL"
    for _ in range(STOPS):
        os.kill(simulator, signal.SIGSTOP)
        try:
            await system.until(lambda: system.value(out) > 0, every=0.01)
            await asyncio.sleep(STOPPED)
        finally:
            os.kill(simulator, signal.SIGCONT)
        await system.until(lambda: system.value(out) == 0, every=0.01)
    await system.all_ended(ids)
    system.assert_nothing_lost_or_doubled(ids)
    await system.assert_the_books_agree()
