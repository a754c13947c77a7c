"""Generators of clients read the document without a warning, and a generated client calls every operation of a live API."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from api.app import create_app
from api.examples import PARAMETERS, SCHEMAS
from api.openapi import document
from tests.conftest import Servers
from tests.integration.api.live import live_api

ROOT = Path(__file__).parents[3]
BIN = ROOT / ".venv-generators" / "bin"
PLACES = {name: example for name, (_, example) in PARAMETERS.items()}
pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(600)]


def run(*words: object, cwd: Path) -> str:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"  # the generator formats its client with the ruff beside it
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module", autouse=True)
def generators() -> None:
    subprocess.run(["make", "generators"], cwd=ROOT, check=True, capture_output=True)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the document."""
    directory = tmp_path_factory.mktemp("generated")
    made = document(create_app(lambda: pytest.fail("not started")).resources)
    (directory / "openapi.json").write_text(json.dumps(made))
    return directory


@pytest.fixture(scope="module")
def client(described: Path) -> Path:
    """A directory with a generated client."""
    made = described / "client"
    words = ("--path", "openapi.json", "--output-path", made, "--fail-on-warning")
    assert "WARNING" not in run(BIN / "openapi-python-client", "generate", *words, cwd=described)
    return made


def test_models_are_generated_without_a_warning(described: Path) -> None:
    generator = (
        BIN / "python",
        "-W",
        "error",
        "-m",
        "datamodel_code_generator",
        "--formatters",
        "builtin",
        "--use-annotated",
    )
    said = run(
        *generator, "--input", "openapi.json", "--input-file-type", "openapi", "--output", "models.py", cwd=described
    )
    assert said.strip() == ""
    classes = "import models; models.RequestView, models.Submission, models.Problem"
    run(BIN / "python", "-W", "error", "-c", classes, cwd=described)


def test_the_documented_client_is_generated_and_makes_its_call(servers: Servers, template: str, tmp_path: Path) -> None:
    """The commands and the program of docs/api.md, with another address and key."""
    section = (ROOT / "docs/api.md").read_text().partition("\n## Generated clients\n")[2].partition("\n## ")[0]
    shell, program = (re.search(rf"```{kind}\n(.*?)```", section, re.DOTALL)[1] for kind in ("sh", "python"))  # type: ignore[index]
    command, *words = shlex.split(shell)
    with live_api(servers, template) as (address, key):
        here = [word.replace("http://localhost:8000", address) for word in words]
        run(BIN / command, *here, cwd=tmp_path)
        program = program.replace("http://localhost:8000", address).replace("beat_…", key).replace("wait=30", "wait=1")
        assert "SubmissionAnswer(" in run(BIN / "python", "-c", program, cwd=tmp_path)


def test_a_generated_client_calls_every_operation(client: Path, servers: Servers, template: str) -> None:
    made = json.loads((client.parent / "openapi.json").read_text())
    operations = {each["operationId"] for methods in made["paths"].values() for each in methods.values()}
    without_body = {methods["head"]["operationId"] for methods in made["paths"].values() if "head" in methods}
    with live_api(servers, template) as (address, key):
        examples = json.dumps({"parameters": PLACES, "schemas": SCHEMAS})
        said = run(BIN / "python", "-I", ROOT / "tests/generators/calls.py", client, address, key, examples, cwd=client)
    answers = {name: (status, kind) for name, status, kind in map(json.loads, said.splitlines())}
    assert set(answers) == operations
    assert [name for name, (status, _) in answers.items() if status >= 500] == []
    assert answers["create_scrape_request"] == (202, "SubmissionAnswer")
    assert answers["list_scrape_requests"] == (200, "RequestList")
    assert answers["get_profile"] == (404, "Problem")
    assert answers["create_webhook"] == (201, "MadeWebhook")
    assert answers["create_key"] == (201, "KeyMade")
    assert answers["create_credential"] == (201, "CredentialInfo")
    assert answers["list_platforms"] == (200, "PlatformList")
    assert answers["get_health"] == (200, "Health")
    assert {name: answers[name][1] for name in without_body} == {"check_asset": "NoneType"}
    wrong = [
        name
        for name, (status, kind) in answers.items()
        if status >= 400 and kind != "Problem" and name not in without_body
    ]
    assert wrong == []
