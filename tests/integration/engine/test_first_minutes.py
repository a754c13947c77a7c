"""The consumer's first ten minutes of docs/api.md, as they stand there: every command is run, and answers what is shown."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.engine.conftest import System

DOCS = Path(__file__).parents[3] / "docs" / "api.md"
SECTION = DOCS.read_text().split("## The first ten minutes\n")[1].split("\n## ")[0]
BLOCKS = re.findall(r"^```(sh|json|python)\n(.*?)^```$", SECTION, flags=re.DOTALL | re.MULTILINE)
BETWEEN = "\x1e"
pytestmark = pytest.mark.timeout(240)


def at_this_stack(text: str, system: System) -> str:
    key = system.stack.authorization["Authorization"].removeprefix("Bearer ")
    return text.replace("http://localhost:8000", system.stack.api_url).replace("beat_…", key)


def differences(shown: Any, answer: Any, path: str = "$") -> list[str]:
    """Where an answer is not as it is shown. `…` stands for any text, a number for any; lists show their first ones."""
    if isinstance(shown, dict) and isinstance(answer, dict):
        return [
            found
            for name, value in shown.items()
            for found in (differences(value, answer[name], f"{path}.{name}") if name in answer else [f"{path}.{name}"])
        ]
    if isinstance(shown, list) and isinstance(answer, list) and len(answer) >= len(shown):
        return [f for i, value in enumerate(shown) for f in differences(value, answer[i], f"{path}[{i}]")]
    if isinstance(shown, str) and isinstance(answer, str):
        return [] if shown in ("…", answer) else [f"{path} is {answer!r}"]
    return [] if type(shown) is type(answer) and not isinstance(shown, list) else [f"{path} is {answer!r}"]


def test_what_is_shown_differs_from_another_answer() -> None:
    shown = {"id": 1, "status": "COMPLETE", "of": [{"as": "…"}]}
    assert differences(shown, {"id": 7, "status": "COMPLETE", "of": [{"as": "x"}, {}], "more": None}) == []
    assert differences(shown, {"id": "7", "status": "FAILED", "of": []}) == [
        "$.id is '7'",
        "$.status is 'FAILED'",
        "$.of is []",
    ]
    assert differences(shown, {"status": "COMPLETE", "of": [{}]}) == ["$.id", "$.of[0].as"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_every_command_answers_as_it_is_shown(system: System) -> None:
    commands = [text for language, text in BLOCKS if language == "sh"]
    assert len(commands) == 9
    script = "set -euo pipefail\n" + f"\nprintf '{BETWEEN}'\n".join(commands)
    ran = subprocess.run(["bash", "-c", at_this_stack(script, system)], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    answers = ran.stdout.split(BETWEEN)
    assert len(answers) == len(commands)
    compared = 0
    at = -1
    for language, text in BLOCKS:
        if language == "sh":
            at += 1
        elif language == "json":
            assert differences(json.loads(text), json.loads(answers[at])) == [], commands[at]
            compared += 1
    assert compared == 7
    assert "refresh_profile_by_handle" in answers[1]


def test_the_lines_of_python_do_what_they_say(system: System) -> None:
    (program,) = [text for language, text in BLOCKS if language == "python"]
    ran = subprocess.run(
        [sys.executable, "-c", at_this_stack(program, system)], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    status, followers, mode = ran.stdout.split()
    assert (status, followers.isdigit(), mode) == ("COMPLETE", True, "fresh")
