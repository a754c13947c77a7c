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
import psycopg
import pytest

from beat_actors.settings import Settings
from tests.integration.actors.conftest import until

pytestmark = pytest.mark.slow

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
        "BEAT_DATABASE_MAY_LOSE_COMMITS": "true",
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

    def start(*words: str, without: str = "", script: str = "", **env: str) -> Workers:
        log = tmp_path / f"workers-{len(started)}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, *(["-c", script] if script else ["-m", "actors"]), *words],
                env={name: value for name, value in {**environment(settings), **env}.items() if name != without},
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


@pytest.mark.exhaustive
def test_workers_that_open_no_credential_run_without_the_keys_of_the_vault(workers: Callable[..., Workers]) -> None:
    running = workers(
        "--processes", "1", "--threads", "1", "--queues", "ingest", "process", "suspects", without="BEAT_VAULT_KEYS"
    )
    running.ready(1)


@pytest.mark.exhaustive
@pytest.mark.parametrize("queue", ["retrieve", pytest.param("credentials", marks=pytest.mark.exhaustive)])
def test_workers_that_open_credentials_do_not_start_without_the_keys_of_the_vault(
    workers: Callable[..., Workers], queue: str
) -> None:
    refused = workers("--queues", queue, "ingest", without="BEAT_VAULT_KEYS")
    assert refused.process.wait(20) == 2
    assert "BEAT_VAULT_KEYS: it is not set, and it opens and seals" in refused.log.read_text()


def test_no_worker_starts_without_the_keys_of_messages(workers: Callable[..., Workers]) -> None:
    refused = workers("--queues", "process", without="BEAT_MESSAGE_KEYS")
    assert refused.process.wait(20) == 2
    assert "BEAT_MESSAGE_KEYS: it is not set" in refused.log.read_text()


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


@pytest.mark.exhaustive
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


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--processes", "0"), "at least 1"),
        pytest.param(("--queues", "ingst"), "invalid choice: 'ingst'", marks=pytest.mark.exhaustive),
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


NO_LOOP = """
import sys, threading
import actors.parent as parent
from dramatiq.asyncio import EventLoopThread
def start(*_args, **_more):
    raise RuntimeError("can't start new thread")
EventLoopThread.start = start
sys.exit(parent.main(["--processes", "1", "--threads", "1"]))
"""
ONE_THREAD = """
import sys, threading
import actors.parent as parent
from dramatiq.worker import _WorkerThread
def start(*_args, **_more):
    raise RuntimeError("can't start new thread")
_WorkerThread.start = start
sys.exit(parent.main(["--processes", "1", "--threads", "1"]))
"""


FOR_A_MOMENT = """
import os, sys
from pathlib import Path
import actors.parent as parent
start, tries = parent._start_worker, Path(os.environ["TRIES"])
def start_sometimes(*args):
    # The nth start of all: those from the third to the fifth fail.
    with tries.open("ab", buffering=0) as file:
        file.write(b"x")
    if 3 <= tries.stat().st_size <= int(os.environ["UNTIL"]):
        raise MemoryError
    return start(*args)
parent._start_worker = start_sometimes
parent.FAILING_FOR = float(os.environ["FAILING_FOR"])
sys.exit(parent.main(["--processes", "2", "--threads", "1"]))
"""


@pytest.mark.exhaustive
def test_a_worker_that_cannot_start_for_a_moment_is_tried_again_and_the_others_go_on(
    workers: Callable[..., Workers], tmp_path: Path
) -> None:
    running = workers(script=FOR_A_MOMENT, TRIES=str(tmp_path / "tries"), UNTIL="5", FAILING_FOR="120")
    running.ready(2)
    first, second = running.processes()
    first.kill()
    running.ready(3)
    assert len(running.said("worker_not_started")) == 3
    assert running.said("worker_cannot_start") == []
    assert second.is_running()
    running.process.terminate()
    assert running.process.wait(30) == 0


@pytest.mark.exhaustive
def test_workers_of_which_none_starts_for_long_end_their_parent(
    workers: Callable[..., Workers], tmp_path: Path
) -> None:
    running = workers(script=FOR_A_MOMENT, TRIES=str(tmp_path / "tries"), UNTIL="1000", FAILING_FOR="2")
    running.ready(2)
    first, second = running.processes()
    first.kill()
    until(lambda: len(running.said("worker_not_started")) >= 4, "it is not tried again")
    assert second.is_running()
    second.kill()
    assert running.process.wait(30) == 1
    assert len(running.said("worker_cannot_start")) == 1


NO_THREAD = """
import sys, threading
start = threading.Thread.start
def start_some(self):
    if self.name.startswith(("scheduler_1", "names_200", "api_1")):
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = start_some
import runpy
module = sys.argv.pop(1)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    "module",
    ["api", *(pytest.param(one, marks=pytest.mark.exhaustive) for one in ("scheduler", "scheduler.deliverer"))],
)
def test_a_process_that_cannot_have_its_threads_ends_and_says_so(settings: Settings, module: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", NO_THREAD, module], env=environment(settings), capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert "threads and cannot have them: can't start new thread" in ended.stderr
    with psycopg.connect(str(settings.database_url)) as connection:
        assert connection.execute("SELECT name FROM process").fetchall() == []
        assert connection.execute("SELECT FROM leader WHERE seen_at IS NOT NULL").fetchall() == []


@pytest.mark.parametrize(
    "script",
    [NO_LOOP, pytest.param(ONE_THREAD, marks=pytest.mark.exhaustive)],
    ids=["no event loop", "no worker thread"],
)
def test_workers_that_cannot_start_their_threads_end_and_say_so(settings: Settings, script: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", script], env=environment(settings), capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 1
    assert "worker_not_whole" in ended.stderr
    assert "worker_cannot_start" in ended.stderr


@pytest.mark.exhaustive
def test_workers_whose_log_is_on_a_full_device_start_and_report_it(settings: Settings) -> None:
    def told() -> bool:
        with psycopg.connect(str(settings.database_url)) as connection:
            rows = connection.execute("SELECT troubles->>'logs' FROM process WHERE name = 'worker'").fetchall()
        return any("could not be written" in (words or "") for (words,) in rows)

    with Path("/dev/full").open("wb", buffering=0) as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "actors", "--processes", "1", "--threads", "1"],
            env=environment(settings),
            stderr=full,
            process_group=0,
        )
    try:
        until(told, "no worker reports its log")
        process.terminate()
        assert process.wait(30) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("module", ["actors", "api", "scheduler", "scheduler.deliverer"])
def test_sigterm_ends_a_process_that_still_starts_as_the_first_of_a_container(module: str, settings: Settings) -> None:
    """The first process of a PID namespace ignores what it has no handler for."""
    process = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--fork", "--pid", "--kill-child", sys.executable, "-m", module],
        env=environment(settings),
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: bool(psutil.Process(process.pid).children()), "it was not forked")
        (first,) = psutil.Process(process.pid).children()
        caught = Path(f"/proc/{first.pid}/status")
        until(lambda: bool(int(caught.read_text().partition("SigCgt:")[2].split()[0], 16) >> 14 & 1), "no handler")
        first.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM
    finally:
        process.kill()
