"""The supervisor over small processes that stand in for servers."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from beat_actors.local.errors import Interrupted, LocalError
from beat_actors.local.service import Service, Status
from beat_actors.local.supervisor import Supervisor
from tests.integration.local.processes import eventually, family, runs

pytestmark = pytest.mark.slow

# The parent also has a child, as the worker processes of dramatiq are.
WITH_CHILD = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("ready", flush=True)
time.sleep(600)
"""


def python(name: str, code: str, *arguments: str, **more: object) -> Service:
    return Service(name=name, argv=(sys.executable, "-c", code, *arguments), **more)  # type: ignore[arg-type]


def sleeper(name: str, **more: object) -> Service:
    return python(name, "import time; time.sleep(600)", **more)


def status(supervisor: Supervisor, name: str) -> Status:
    return next(one for one in supervisor.status() if one.name == name)


def pid(supervisor: Supervisor, name: str) -> int:
    found = status(supervisor, name).pid
    assert found
    return found


def test_services_start_after_and_stop_before_what_they_depend_on(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = """
import signal, sys, time
def say(word):
    with open(sys.argv[1], "a") as file: file.write(f"{word} {sys.argv[2]}\\n")
def end(*_):
    time.sleep(0.3); say("-"); sys.exit()
signal.signal(signal.SIGTERM, end)
time.sleep(0.2); say("+")
open(sys.argv[1] + sys.argv[2], "w"); time.sleep(600)
"""

    def service(name: str, *needs: str) -> Service:
        marker = Path(f"{told}{name}")
        return python(name, code, str(told), name, ready=marker.exists, depends_on=needs)

    supervisor = Supervisor(tmp_path / "log")
    try:
        supervisor.start(service("face", "middle"), service("middle", "base"), service("base"))
    finally:
        supervisor.stop()
    assert told.read_text().split("\n")[:-1] == ["+ base", "+ middle", "+ face", "- face", "- middle", "- base"]
    assert {one.state for one in supervisor.status()} == {"stopped"}


def test_a_crashed_service_comes_back_and_its_leftovers_do_not(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "log")
    try:
        supervisor.start(python("worker", WITH_CHILD))
        first = pid(supervisor, "worker")
        assert eventually(lambda: len(family(first)) == 2)
        _, child = family(first)
        os.kill(first, signal.SIGKILL)
        assert eventually(lambda: status(supervisor, "worker").state == "waiting")
        assert eventually(lambda: not runs(child)), "a worker without its master would go on consuming"
        assert eventually(lambda: status(supervisor, "worker").state == "up")
        now = status(supervisor, "worker")
        assert (now.restarts, now.last_exit) == (1, "SIGKILL")
        assert now.pid != first
    finally:
        supervisor.stop()


def test_an_outage_lasts_until_it_is_ended(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "log")
    try:
        supervisor.start(sleeper("store"), sleeper("face", depends_on=("store",)))
        first = pid(supervisor, "store")
        supervisor.hold("store")
        held = status(supervisor, "store")
        assert (held.state, held.pid, held.last_exit) == ("waiting", None, "SIGKILL")
        assert not runs(first)
        assert not eventually(lambda: status(supervisor, "store").state != "waiting", within=1.5)
        assert status(supervisor, "face").state == "up"
        supervisor.release("store")
        assert status(supervisor, "store").state == "up"
        assert runs(pid(supervisor, "store"))
    finally:
        supervisor.stop()


def test_a_service_says_how_long_its_restarts_may_wait(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "log")
    try:
        supervisor.start(sleeper("impatient", backoff_most=0.1))
        for restarts in (1, 2, 3, 4):
            os.kill(pid(supervisor, "impatient"), signal.SIGKILL)
            assert eventually(
                lambda n=restarts: (  # type: ignore[misc]
                    (now := status(supervisor, "impatient")).restarts == n and now.state == "up"
                ),
                within=5.0,
            )
    finally:
        supervisor.stop()


def test_a_service_that_never_gets_ready_is_reported_with_its_last_words(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "log")
    try:
        with pytest.raises(LocalError, match=r"(?s)broken ended before it was ready \(exit 3\).*the port is taken"):
            supervisor.start(
                python("broken", "import sys; print('the port is taken'); sys.exit(3)", ready=lambda: False)
            )
    finally:
        supervisor.stop()


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "log")
    try:
        with pytest.raises(LocalError, match=r"/no/such/server: No such file"):
            supervisor.start(Service(name="absent", argv=("/no/such/server",)))
    finally:
        supervisor.stop()


def test_a_silent_service_is_given_up_after_its_time(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "log")
    try:
        with pytest.raises(LocalError, match=r"silent was not ready after 0.3 s"):
            supervisor.start(sleeper("silent", ready=lambda: False, ready_timeout=0.3))
    finally:
        supervisor.stop()


def test_a_service_that_ignores_its_stop_signal_is_killed_in_time(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    supervisor = Supervisor(tmp_path / "log")
    log = tmp_path / "log" / "deaf.log"
    supervisor.start(python("deaf", code, ready=lambda: "deaf" in log.read_text(), stop_timeout=0.3))
    supervisor.stop()
    assert status(supervisor, "deaf").last_exit == "SIGKILL"


def test_circles_and_unknown_dependencies_are_refused(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "log")
    try:
        with pytest.raises(LocalError, match="wait for one another"):
            supervisor.start(sleeper("a", depends_on=("b",)), sleeper("b", depends_on=("a",)))
        with pytest.raises(LocalError, match="No such service: ghost"):
            supervisor.start(sleeper("a", depends_on=("ghost",)))
        assert supervisor.status() == ()
    finally:
        supervisor.stop()


def test_logs_are_rotated_at_each_start_and_private(tmp_path: Path) -> None:
    for run in range(7):
        supervisor = Supervisor(tmp_path)
        log = tmp_path / "talker.log"
        word = f"run {run}"
        code = f"import time; print({word!r}, flush=True); time.sleep(600)"
        supervisor.start(python("talker", code, ready=lambda log=log, word=word: word in log.read_text()))
        supervisor.stop()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["talker.log", *(f"talker.log.{n}" for n in range(1, 6))]
    assert log.read_text() == "run 6\n"
    assert (tmp_path / "talker.log.5").read_text() == "run 1\n"
    assert log.stat().st_mode & 0o077 == 0


def test_the_first_signal_asks_and_the_second_kills(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    supervisor = Supervisor(tmp_path / "log")
    log = tmp_path / "log" / "deaf.log"
    with supervisor.signals() as stop_requested:
        supervisor.start(python("deaf", code, ready=lambda: "deaf" in log.read_text(), stop_timeout=600))
        os.kill(os.getpid(), signal.SIGINT)
        assert stop_requested.wait(5)
        assert status(supervisor, "deaf").state == "up"
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        supervisor.stop()
    assert status(supervisor, "deaf").last_exit == "SIGKILL"


def test_a_stop_that_is_requested_while_starting_ends_the_wait(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "log")
    threading.Timer(0.2, supervisor.stop_requested.set).start()
    try:
        with pytest.raises(Interrupted):
            supervisor.start(sleeper("slow", ready=lambda: False))
    finally:
        supervisor.stop()


KILLED_SUPERVISOR = f"""
import sys, time
from pathlib import Path
from beat_actors.local.service import Service
from beat_actors.local.supervisor import Supervisor
supervisor = Supervisor(Path(sys.argv[1]))
supervisor.start(*(Service(name=name, argv=(sys.executable, "-c", {WITH_CHILD!r})) for name in ("one", "two")))
print("up", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("guard_first", [False, True], ids=["supervisor-killed", "guard-killed-before"])
def test_kill_9_of_the_supervisor_leaves_nothing_behind(tmp_path: Path, guard_first: bool) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED_SUPERVISOR, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"up\n"
    assert eventually(lambda: len(family(process.pid)) == 6), "itself, its guard, two services and their children"
    if guard_first:
        guard = next(one for one in family(process.pid) if _command(one).endswith(f"guard.py {process.pid}"))
        os.kill(guard, signal.SIGKILL)
        assert eventually(lambda: _has_guard(process.pid, other_than=guard)), "a new guard takes over"
    everybody = family(process.pid)
    process.kill()
    process.wait()
    assert eventually(lambda: not any(runs(one) for one in everybody))


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()


def _has_guard(supervisor: int, *, other_than: int) -> bool:
    return any(
        one != other_than and runs(one) and _command(one).endswith(f"guard.py {supervisor}")
        for one in family(supervisor)
    )
