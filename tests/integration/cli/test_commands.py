"""`beat` as people and scripts use it: plain lines or JSON on a pipe, exit codes, and never a secret."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import VAULT_KEYS, Servers

Beat = Callable[..., subprocess.CompletedProcess[str]]
CANARY = "canary-51b9"


@pytest.fixture
def beat(database_url: str, servers: Servers, tmp_path: Path) -> Beat:
    env = {name: value for name, value in os.environ.items() if not name.startswith("BEAT_")}
    env |= {"BEAT_DATABASE_URL": database_url, "BEAT_REDIS_URL": servers.valkey.url, "BEAT_VAULT_KEYS": VAULT_KEYS}

    def run(*arguments: str, stdin: str = "", **changes: str | None) -> subprocess.CompletedProcess[str]:
        changed = {name: value for name, value in (env | changes).items() if value is not None}
        command = [sys.executable, "-c", "from beat_actors.cli import main; main()", *arguments]
        return subprocess.run(
            command, env=changed, cwd=tmp_path, input=stdin, capture_output=True, text=True, timeout=60
        )

    return run


def test_credentials_live_their_life_and_show_no_secret(beat: Beat) -> None:
    added = beat("credentials", "add", "lama", "--label", "mine", stdin=json.dumps({"key": CANARY}))
    assert added.returncode == 0, added.stderr
    again = beat("credentials", "add", "lama", stdin=f"key={CANARY}\n")
    assert "was there already" in again.stdout
    (listed,) = json.loads(beat("credentials", "list", "--json").stdout)
    assert (listed["source"], listed["label"], listed["state"]) == ("lama", "mine", "ready")
    number = str(listed["id"])
    assert beat("credentials", "disable", number, "--reason", "leaked").returncode == 0
    assert json.loads(beat("credentials", "list", "--json").stdout)[0]["state"] == "disabled"
    assert beat("credentials", "enable", number, "--reason", "mended").returncode == 0
    assert beat("credentials", "rotate-keys").stdout.startswith("0 credentials")
    everything = "".join(
        f"{done.stdout}{done.stderr}"
        for done in (added, again, beat("credentials", "list"), beat("doctor"), beat("requests"))
    )
    assert CANARY not in everything
    assert VAULT_KEYS not in everything


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["credentials", "add", "nowhere"], 2, "there is no source 'nowhere'"),
        (["credentials", "disable", "99", "--reason", "x"], 4, "there is no credential 99"),
        (["requests", "99"], 4, "there is no request 99"),
        (["why", "99"], 4, "there is no request 99"),
        (["requests", "--status", "lost"], 2, "status is one of"),
        (["scrape", "myspace", "tom"], 2, "there is no platform 'myspace'"),
        (["scrape", "instagram", "a b"], 2, "handle"),
        (["simulator", "faults"], 2, "BEAT_SIMULATOR_URL is not set"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_an_exit_code(
    beat: Beat, arguments: list[str], code: int, said: str
) -> None:
    done = beat(*arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_settings_it_says_what_to_do(beat: Beat) -> None:
    done = beat("requests", BEAT_DATABASE_URL=None)
    assert done.returncode == 2
    assert "beat up" in done.stderr


def test_a_wrong_setting_is_named(beat: Beat) -> None:
    done = beat("requests", BEAT_STAGE_BATCH="many")
    assert done.returncode == 2
    assert "BEAT_STAGE_BATCH" in done.stderr


def test_an_unreachable_database_is_said_and_has_its_exit_code(beat: Beat) -> None:
    done = beat("requests", BEAT_DATABASE_URL="postgresql://beat@127.0.0.1:9/none")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


def test_a_request_that_nobody_works_on_times_out_and_why_explains_it(beat: Beat) -> None:
    done = beat("scrape", "instagram", "creator_000001", "--timeout", "0.2")
    assert done.returncode == 5
    assert "beat why 1" in done.stderr
    listed = json.loads(beat("requests", "--json").stdout)
    assert listed["counts"]["PENDING"] == 1
    explained = json.loads(beat("why", "1", "--json").stdout)
    assert "waits for its turn" in explained["summary"]


def test_doctor_finds_what_is_missing_and_how_to_mend_it(beat: Beat) -> None:
    done = beat("doctor", "--json")
    assert done.returncode == 1
    findings = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert findings["PostgreSQL"]["ok"]
    assert not findings["workers"]["ok"]
    assert findings["workers"]["mend"]


def test_migrate_and_settings_and_version(beat: Beat) -> None:
    assert "revision" in beat("migrate").stdout
    assert "BEAT_DATABASE_URL" in beat("settings").stdout
    assert beat("--version").stdout.strip()
