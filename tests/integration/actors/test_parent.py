"""The parent of the worker processes, over a real Valkey: it forks them, replaces those that die, and leaves none behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from beat_actors.settings import Settings
from tests.integration.actors.conftest import until

NO_ACTORS = 'import sys; sys.modules["actors.all"] = None'
# What a worker imports beyond what its parent had: this is what it costs to replace one.
LEFT_OVER = """
import sys
import actors.parent as parent
parent.prepare()
before = set(sys.modules)
import actors.all
print(*sorted(name for name in set(sys.modules) - before if not name.startswith("actors.")))
"""


def environment(settings: Settings) -> dict[str, str]:
    secrets = {name: getattr(settings, name).get_secret_value() for name in ("vault_keys", "message_keys")}
    return {
        **os.environ,
        "BEAT_DATABASE_URL": str(settings.database_url),
        "BEAT_REDIS_URL": str(settings.redis_url),
        "BEAT_REDIS_NAMESPACE": settings.redis_namespace,
        **{f"BEAT_{name.upper()}": value for name, value in secrets.items()},
    }


@dataclass
class Workers:
    process: subprocess.Popen[bytes]
    log: Path

    def said(self, event: str) -> list[dict[str, object]]:
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line["event"] == event]

    def ready(self, count: int) -> None:
        until(
            lambda: len(self.said("worker_ready")) >= count, f"{count} workers are not ready:\n{self.log.read_text()}"
        )

    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Workers]]:
    started: list[Workers] = []

    def start(*words: str, **env: str) -> Workers:
        log = tmp_path / f"workers-{len(started)}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "actors", *words],
                env={**environment(settings), **env},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                process_group=0,
            )
        started.append(Workers(process, log))
        return started[-1]

    yield start
    for one in started:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait()


def test_one_that_dies_is_replaced_and_the_others_go_on(workers: Callable[..., Workers]) -> None:
    running = workers("--processes", "2", "--threads", "1")
    running.ready(2)
    victim, other = running.processes()
    victim.kill()
    running.ready(3)
    now = running.processes()
    assert other in now
    assert victim not in now
    assert len(now) == 2
    (died,) = running.said("worker_died")
    assert (died["pid"], died["code"], died["again_in_s"]) == (victim.pid, -signal.SIGKILL, 0.0)


def test_one_that_dies_again_and_again_is_waited_for_longer(workers: Callable[..., Workers]) -> None:
    running = workers("--processes", "1", "--threads", "1")
    for deaths in range(1, 4):
        running.ready(deaths)
        running.processes()[0].kill()
    running.ready(4)
    waits = [died["again_in_s"] for died in running.said("worker_died")]
    assert waits == [0.0, 0.25, 0.5]


def test_sigterm_ends_all_in_order(workers: Callable[..., Workers]) -> None:
    running = workers("--processes", "2", "--threads", "1")
    running.ready(2)
    children = running.processes()
    running.process.terminate()
    assert running.process.wait(20) == 0
    assert not any(child.is_running() for child in children)
    assert not running.said("worker_died")


def test_a_second_signal_ends_them_at_once(workers: Callable[..., Workers]) -> None:
    running = workers("--processes", "1", "--threads", "1")
    running.ready(1)
    (child,) = running.processes()
    child.suspend()  # it will not drain
    running.process.terminate()
    time.sleep(0.3)
    assert running.process.poll() is None
    running.process.terminate()
    running.process.wait(20)
    assert not child.is_running()


def test_a_parent_that_is_killed_leaves_no_orphan(workers: Callable[..., Workers]) -> None:
    running = workers("--processes", "2", "--threads", "1")
    running.ready(2)
    children = running.processes()
    running.process.kill()
    running.process.wait()
    until(lambda: not any(child.is_running() for child in children), "a worker outlived its parent")


def test_workers_that_cannot_start_end_it(workers: Callable[..., Workers], tmp_path: Path) -> None:
    """A deploy that is broken is to be seen, not to be tried for ever."""
    (tmp_path / "sitecustomize.py").write_text(NO_ACTORS)
    running = workers("--processes", "2", PYTHONPATH=str(tmp_path))
    assert running.process.wait(30) == 1
    assert len(running.said("worker_cannot_start")) == 1
    assert "actors.all" in running.log.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--processes", "0"), "at least 1"),
        (("--queues", "ingst"), "invalid choice: 'ingst'"),
    ],
)
def test_words_that_make_no_sense_are_refused(
    workers: Callable[..., Workers], words: tuple[str, ...], said: str
) -> None:
    running = workers(*words)
    assert running.process.wait(30) == 2
    assert said in running.log.read_text()


def test_s2_15_a_pool_that_is_too_small_for_the_threads_is_refused(workers: Callable[..., Workers]) -> None:
    running = workers("--threads", "8", BEAT_DATABASE_POOL_SIZE="5", BEAT_DATABASE_MAX_OVERFLOW="2")
    assert running.process.wait(30) == 2
    assert "allow 7 connections, and --threads 8" in running.log.read_text()


def test_settings_that_are_missing_are_named_once(workers: Callable[..., Workers]) -> None:
    running = workers(BEAT_VAULT_KEYS="")
    assert running.process.wait(30) == 2
    assert running.log.read_text().count("BEAT_VAULT_KEYS") == 1


def test_a_worker_imports_nothing_that_its_parent_has_not(settings: Settings) -> None:
    found = subprocess.run(
        [sys.executable, "-c", LEFT_OVER], env=environment(settings), capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == []
