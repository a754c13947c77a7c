"""Failpoints as processes meet them: what is armed, who counts, and that every point that can be armed is one that the code comes by."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from beat_actors.errors import BadSettings
from beat_actors.failpoints import ENVIRONMENT, PAYLOADS, POINTS, VARIABLE, pairs
from beat_actors.failpoints.armed import Armed, FailpointHit, OwnRegister, SharedRegister
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS

SETTINGS = {
    "BEAT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "BEAT_REDIS_URL": "redis://127.0.0.1:1",
    "BEAT_VAULT_KEYS": VAULT_KEYS,
    "BEAT_MESSAGE_KEYS": MESSAGE_KEYS,
}
ROOT = Path(__file__).parents[3]
CODE = "import sys\nfrom beat_actors.failpoints import hit\nfor n in range(5): hit('ingest.parse', f'payload_{n}'); print(n, flush=True)"


def run(armed: str, code: str = CODE, environment: str = "rehearsal") -> subprocess.CompletedProcess[str]:
    """A process of its own that comes by five times."""
    return subprocess.run(
        (sys.executable, "-c", code),
        env={VARIABLE: armed, ENVIRONMENT: environment, "PATH": "/usr/bin:/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_happens_unless_it_is_armed() -> None:
    assert run("").stdout.split() == list("01234")


def test_a_process_counts_for_itself() -> None:
    ended = run("ingest.parse=kill@3")
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout.split() == list("01")


def test_without_a_number_it_is_every_time() -> None:
    register = OwnRegister("ingest.parse=raise, process.write=kill")
    for _ in range(2):
        with pytest.raises(FailpointHit):
            register.hit("ingest.parse", None)


def test_words_narrow_it_to_what_is_at_hand() -> None:
    ended = run("ingest.parse~payload_3=kill")
    assert ended.stdout.split() == list("012")
    armed = Armed.parse("ingest.parse~lama+creator_000007=raise")
    assert armed.matches("ingest.parse", ("lama", {"handle": "creator_000007"}))
    assert not armed.matches("ingest.parse", ("lama", {"handle": "creator_0000077"}))
    assert not armed.matches("ingest.parse", ("jotucker", {"handle": "creator_000007"}))


def test_a_file_is_counted_by_all_processes_together(tmp_path: Path) -> None:
    register = SharedRegister(tmp_path / "points")
    register.arm("ingest.parse=kill@7")
    armed = f"@{tmp_path / 'points'}"
    assert [run(armed).returncode for _ in range(3)] == [0, -signal.SIGKILL, 0]
    assert [hit.fired for hit in register.hits()] == [False] * 6 + [True]
    assert register.hits()[6].subject == "payload_1"
    register.arm()
    assert run(armed).returncode == 0
    assert register.hits() == []


def test_a_paused_process_stops_whole_and_goes_on() -> None:
    code = f"import threading\nthreading.Thread(target=lambda: [print('tick', flush=True) for _ in range(3)]).start()\n{CODE}"
    process = subprocess.Popen(
        (sys.executable, "-c", code),
        env={VARIABLE: "ingest.parse=pause:1@2", ENVIRONMENT: "rehearsal", "PATH": "/usr/bin:/bin"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    seen = psutil.Process(process.pid)
    while seen.status() != psutil.STATUS_STOPPED:
        assert process.poll() is None
        time.sleep(0.01)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert output.split()[-1] == "4"


@pytest.mark.parametrize(
    "wrong", ["retrieve.after_lunch=kill", "ingest.parse", "ingest.parse=explode", "ingest.parse=pause"]
)
def test_what_is_no_failpoint_stops_the_start(wrong: str) -> None:
    with pytest.raises(BadSettings, match=r"the points are turn\.before_claim"):
        Armed.parse(wrong)


@pytest.mark.parametrize("environment", ["", "production", "Rehearsal", "staging"])
@pytest.mark.parametrize("armed", ["ingest.parse=kill@3", "@/nowhere"])
def test_an_armed_process_does_not_start_in_production(environment: str, armed: str) -> None:
    refused = run(armed, environment=environment)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert (
        refused.stderr.strip()
        .splitlines()[-1]
        .endswith(
            f"{VARIABLE}: it breaks this process on purpose, and the environment is production. "
            f"Unset it, or set {ENVIRONMENT}=rehearsal"
        )
    )


DOCTOR = "from beat_actors.cli.app import invoke; raise SystemExit(invoke(['doctor']))"
OTHERS = [
    pytest.param(("-m", "scheduler"), marks=pytest.mark.exhaustive),
    pytest.param(("-c", "import api.app"), marks=pytest.mark.exhaustive),
]


@pytest.mark.parametrize("command", [("-m", "actors"), ("-c", DOCTOR), *OTHERS])
def test_in_production_the_processes_of_beat_refuse_to_start_and_say_why(command: tuple[str, str]) -> None:
    refused = subprocess.run(
        (sys.executable, *command),
        env={VARIABLE: "ingest.parse=kill", "PATH": "/usr/bin:/bin", **SETTINGS},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert refused.returncode != 0, command
    assert f"{VARIABLE}: it breaks this process on purpose" in refused.stderr, command


def test_every_point_is_in_the_code_once_and_no_other_is() -> None:
    code = "".join(
        path.read_text()
        for folder in ("actors", "api", "beat_actors", "scheduler")
        for path in (ROOT / folder).rglob("*.py")
    )
    named = re.findall(r'\bhit\("([a-z]+\.[a-z_]+)"', code)
    assert sorted(named) == sorted(POINTS)
    assert set(POINTS) - set(PAYLOADS) == {
        point
        for stage in (
            "turn",
            "retrieve",
            "ingest",
            "through",
            "process",
            "hold",
            "intake",
            "sweep",
            "publish",
            "upload",
            "restore",
        )
        for point in pairs(stage)
    }
