"""What happens to work in hand when workers are told to stop, and to many claimers who want the same work."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import psutil
import pytest

from beat_actors.database import migrate
from beat_actors.local.servers import UNSAFE_BUT_FAST
from beat_actors.local.stack import Stack
from beat_actors.platforms.registry import platforms
from tests.integration.engine.conftest import System, engine_of

pytestmark = pytest.mark.timeout(240)

GRACE = 25
"""Seconds after SIGTERM in which workers are gone, whatever their calls do: an orchestrator kills after 30."""


@pytest.fixture
def patient(tmp_path: object) -> Iterator[System]:
    """Its workers wait longer for an answer than they have to stop."""
    stack = Stack(
        tmp_path / "beat",  # type: ignore[operator]
        postgres_settings=UNSAFE_BUT_FAST,
        extra_env={"BEAT_HTTP_TOTAL_TIMEOUT": "60", "BEAT_STAGE_LEASE": "31"},
    )
    try:
        with stack.running(migrate=migrate.upgrade):
            yield System(stack)
    finally:
        stack.home.erase()


def process(system: System, name: str) -> psutil.Process:
    """The process of the stack with this name."""
    (status,) = [status for status in system.stack.supervisor.status() if status.name == name]
    assert status.pid is not None
    return psutil.Process(status.pid)


def resume(one: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        one.resume()


@pytest.mark.exhaustive
@pytest.mark.parametrize("postgres_hangs", [False, True])
async def test_workers_that_have_to_stop_are_gone_in_time_though_their_calls_hang(
    patient: System, postgres_hangs: bool
) -> None:
    system = patient
    engine = engine_of(system.stack)
    for source in ("arraybobo", "lama"):
        await engine.credentials.add(source, {"key": f"test-{source}"})
    await engine.close()
    for source in platforms()["instagram"].sources:
        await system.with_simulator(lambda s, name=source: s.add_fault("hang", name))
    ids = await system.submit(6)
    out = "SELECT count(*) FROM scrape_fetch WHERE stage = 'LEASED'"
    await system.until(lambda: system.value(out) > 0)

    master = process(system, "workers")
    group = [master, *master.children(recursive=True)]
    with ExitStack() as frozen:
        if postgres_hangs:
            server = process(system, "postgres")
            for one in (server, *server.children(recursive=True)):
                one.suspend()
                frozen.callback(resume, one)
        os.kill(master.pid, signal.SIGTERM)
        _, alive = psutil.wait_procs(group, timeout=GRACE)
        assert alive == []

    await system.with_simulator(lambda simulator: simulator.clear_faults())
    await system.all_ended(ids)
    system.assert_nothing_lost_or_doubled(ids)
    await system.assert_the_books_agree()
