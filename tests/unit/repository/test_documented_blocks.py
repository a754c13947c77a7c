"""Every fenced block of the documentation is checked: its commands are parsed and run, or named with the reason why they are not."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from beat_actors.settings import Settings
from tests.blocks import LANGUAGES, MAKE, NOT_RUN, ROOT, SHELL, Block, blocks
from tests.commands import CALL, calls, in_docs, in_product

SHELL_BLOCKS = [pytest.param(block, id=f"{block.where}:{block.line}") for block in blocks("sh")]
NAMED = {command.text for command in in_docs() if command.whole}
MADE_BY = re.compile(r"^(?:\.venv/bin/|docker compose run --rm )?(beat [a-z-].*)", re.DOTALL)


def covered(command: str) -> str | None:
    """What checks a command of a shell block: a phrase, or `None` if nothing does."""
    if found := MADE_BY.match(command):
        return "tests/commands.py" if found[1].strip() in NAMED else None
    if CALL.match(command):
        return "tests/commands.py"
    if found := re.match(r"make ([a-z-]+)", command):
        return MAKE.get(found[1])
    return next((reason for begin, reason in SHELL.items() if command.startswith(begin)), None)


@pytest.mark.parametrize("block", SHELL_BLOCKS)
def test_every_command_of_a_block_is_checked_or_named_with_a_reason(block: Block) -> None:
    assert block.commands
    assert [command for command in block.commands if covered(command) is None] == []


def test_every_call_of_the_api_is_read_with_its_route() -> None:
    """`calls` finds as many as there are, so that `test_commands_named` checks each."""
    in_blocks = [command for block in blocks("sh") for command in block.commands if CALL.match(command)]
    assert len(in_blocks) == len(list(calls()))
    assert all(any("/v1/" in word for word in words) for _, words in calls())


def test_a_command_that_nothing_checks_is_found() -> None:
    for command in ("rm -rf /", "beat nosuch", "make nosuch", "wget localhost"):
        assert covered(command) is None


def test_a_block_is_cut_into_its_commands() -> None:
    text = "a 1 \\\n  2  # why\n\nb '{\n  3}'\nfor x in 1; do\n  c\ndone > d\ne  # don't\nf\n"
    assert Block("here", 1, "sh", text).commands == [
        "a 1 \\\n  2",
        "b '{\n  3}'",
        "for x in 1; do\n  c\ndone > d",
        "e",
        "f",
    ]


def test_every_exception_is_used_and_names_a_file_that_is_there() -> None:
    commands = [command for block in blocks("sh") for command in block.commands]
    named = {" ".join(command.words) for command in (*in_docs(), *in_product())}
    assert [begin for begin in SHELL if not any(command.startswith(begin) for command in commands)] == []
    assert [name for name in MAKE if not any(re.match(rf"make {name}\b(?!-)", command) for command in commands)] == []
    assert [name for name in NOT_RUN if not any(words.startswith(name) for words in named)] == []
    for reason in (*SHELL.values(), *MAKE.values(), *NOT_RUN.values(), *LANGUAGES.values()):
        for path in re.findall(r"(?:tests|\.ci)/[\w./]+", reason):
            assert (ROOT / path).exists(), reason


def test_make_has_the_targets_and_ci_runs_them() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    steps = (ROOT / ".ci/run").read_text()
    assert set(MAKE) <= set(targets)
    for name, reason in MAKE.items():
        if reason == ".ci/run":
            assert re.search(rf"make {name}\b|tests {name}\b", steps), name


def test_every_block_has_a_language_and_every_language_is_checked() -> None:
    assert {block.language for block in blocks()} == set(LANGUAGES)


def test_json_blocks_are_json() -> None:
    found = [json.loads(block.text) for block in blocks("json")]
    assert len(found) > 5


def settings_of(**values: str) -> Settings:
    return Settings(database_url="postgresql://localhost/beat", redis_url="redis://localhost", **values)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl on this machine")
def test_the_documented_secrets_are_those_that_the_compose_file_needs(tmp_path: Path) -> None:
    (block,) = [block for block in blocks("sh") if "openssl" in block.text]
    subprocess.run(["bash", "-euo", "pipefail", "-c", block.text], cwd=tmp_path, check=True, timeout=60)
    written = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    needed = set(re.findall(r"\$\{(\w+):\?", str(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))))
    assert set(written) == needed
    settings = settings_of(vault_keys=written["BEAT_VAULT_KEYS"], message_keys=written["BEAT_MESSAGE_KEYS"])
    assert settings.vault_keys
    assert settings.message_keys


def test_the_documented_sources_are_read() -> None:
    (block,) = [block for block in blocks("sh") if "export BEAT_SOURCES=" in block.text]
    text = block.text.split("'", 1)[1].rsplit("'", 1)[0]
    assert set(settings_of(sources=text).sources) == set(json.loads(text))
