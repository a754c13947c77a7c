"""Every command that Beat prints or documents, and every documented call of the API, is run against a running stack.

A command succeeds, or says that there is no such row. `tests.blocks` lists what is not run, with the reasons.
"""

import io
import json
import re
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from beat_actors.cli.app import LOCAL, invoke
from tests.blocks import NOT_RUN, Block, blocks
from tests.commands import Named, in_docs, in_product
from tests.integration.engine.conftest import System

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(1200)]

LAST = ("keys revoke", "keys rotate")
"""What takes away the key with which the others are run."""
DONE, FAILED, NOT_FOUND = 0, 1, 4
MADE_UP = "pinterest"
"""The platform that docs/adding-a-platform.md makes."""
SECRETS = {
    "shopify": "shop=store-000007.myshopify.com\ntoken=shpat_store-000007",
    "graphapi": "token=abc\nuser_id=17841400000000042",
}
OWN = {"beat doctor": (DONE, FAILED), "beat cancel 17 18 --reason …": (FAILED,)}
"""Exit codes of commands that judge, or that are about requests which do not exist."""


def commands() -> list[Named]:
    """Each text once: those that are whole, and names of commands that need nothing more."""
    by_words = {tuple(one.words): one for one in sorted({*in_docs(), *in_product()}) if one.whole or not one.is_name}
    wanted = [one for one in by_words.values() if not " ".join(one.words).startswith(tuple(NOT_RUN))]
    return sorted(wanted, key=lambda one: (" ".join(one.words).startswith(LAST), one.text))


@pytest.fixture
def beat_here(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in system.stack.env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def own_folder(beat_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some commands write files, and refuse to write them once more."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("way", ["here", "over the API"])
@pytest.mark.usefixtures("own_folder")
def test_every_command_that_is_printed_or_documented_can_be_run(
    system: System, way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = []
    if way != "here":
        made = invoke(["keys", "create", "operator", "--scope", "admin", "--rate", "60000"])
        key = capsys.readouterr().out.strip()
        assert made == DONE
        monkeypatch.setenv("BEAT_API_URL", system.stack.api_url)
        monkeypatch.setenv("BEAT_API_KEY", key)
    for source in ("ytapi", "tikwm"):
        monkeypatch.setattr("sys.stdin", io.StringIO("key=abc"))
        assert invoke(["credentials", "add", source]) == DONE
    for command in commands():
        if way != "here" and any(tuple(command.words[: len(names)]) == names for names in LOCAL):
            continue
        words = command.words
        source = next((word for word in words if word in SECRETS), "")
        secret = SECRETS.get(source, "key=abc")
        if "replace" in words:
            secret = f"token={uuid.uuid4().hex}\nuser_id=17841400000000042"
        if " ".join(words).startswith(LAST):
            assert invoke(["keys", "create", "short", "--scope", "read", "--json"]) == DONE
            key = json.loads(capsys.readouterr().out)["id"]
            words = [str(key) if word == "1" else word for word in words]
        if words[:3] == ["restore", "apply", "1"]:
            assert invoke(["restore", "list", "--json"]) == DONE
            planned = [one["id"] for one in json.loads(capsys.readouterr().out) if one["state"] == "PLANNED"]
            words[2] = str(planned[0])
        monkeypatch.setattr("sys.stdin", io.StringIO(secret))
        capsys.readouterr()
        code = invoke(words)
        told = capsys.readouterr()
        about_a_row = MADE_UP in command.text or re.search(r"\{|\b[A-Z]{2,}\b| \d+( |$)|\w+/\w+|\w+:\w+", command.text)
        allowed = OWN.get(command.text, (DONE, NOT_FOUND) if about_a_row else (DONE,))
        if code not in allowed:
            wrong.append(f"{command.where}: {command.text}: {code}: {told.err.strip() or told.out[:200]}")
    assert not wrong, "\n".join(wrong)


def with_calls() -> list[Block]:
    """The shell blocks with calls of the API, except those of the first ten minutes (`test_first_minutes`)."""
    return [block for block in blocks("sh") if "curl -s localhost" in block.text]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
@pytest.mark.parametrize("block", with_calls(), ids=lambda block: f"{block.where}:{block.line}")
def test_every_documented_call_of_the_api_succeeds(system: System, block: Block) -> None:
    key = system.stack.authorization["Authorization"].removeprefix("Bearer ")
    for call in (command for command in block.commands if command.startswith("curl ")):
        here = (
            call.replace("localhost:8000", system.stack.api_url)
            .replace("$(cat .beat/api.key)", key)
            .replace("beat_…", key)
        )
        ran = subprocess.run(
            ["bash", "-c", here.replace("curl ", "curl --fail-with-body ", 1)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 0, f"{call}: {ran.stdout}{ran.stderr}"


@pytest.mark.usefixtures("beat_here")
def test_every_documented_try_makes_its_call(
    system: System, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["simulator", "clear"]) == DONE
    for source in ("ytapi", "tikwm", "api23", "shopify"):
        monkeypatch.setattr("sys.stdin", io.StringIO(SECRETS.get(source, "key=tried")))
        assert invoke(["credentials", "add", source]) == DONE
    tried = {tuple(one.words) for one in in_docs() if one.whole and one.text.startswith("beat try ")}
    assert len(tried) > 8
    for words in sorted(tried):
        capsys.readouterr()
        assert invoke(list(words)) == DONE, (words, capsys.readouterr())
