"""Help is plain text: what is typed stands in backticks, and lines end where the screen does."""

import re
from itertools import pairwise

import pytest

from beat_actors.cli.app import COMMANDS, app, invoke

WIDTH = 80


def lines_of(name: str) -> list[list[str]]:
    """The command, and its own commands."""
    return [[name], *([name, command] for command in app[name] if not command.startswith("-"))]


def ended_early(text: str) -> list[str]:
    """Lines that have room for the first word of the next line of the same paragraph or cell."""
    found = []
    for line, following in pairwise(text.splitlines()):
        boxed = line.startswith("│") and following.startswith("│")
        room = WIDTH - 2 - len(line.rstrip("│ ")) if boxed else WIDTH - len(line.rstrip())
        first = re.match(r"│ {6,}(\S+)" if boxed else r"([^\s│╭╰]\S*)", following)
        if line.strip() and line[0] not in "╭╰" and first is not None and len(first[1]) + 1 < room:
            found.append(line)
    return found


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_lines_of_help_end_where_the_screen_does(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    for line in lines_of(name):
        assert invoke([*line, "--help"]) == 0
        said = capsys.readouterr().out
        assert all(len(one) <= WIDTH for one in said.splitlines())
        assert ended_early(said) == [], line


def test_a_line_that_ends_early_is_found() -> None:
    assert ended_early("one line\nand another") == ["one line"]
    assert ended_early(f"│ --minutes INT    another worker{'':<46}│\n│{'':<18}continues{'':<52}│") != []
    assert ended_early("Usage: beat\n\nAnother paragraph") == []


def test_what_is_typed_stands_in_backticks(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["--help"]) == 0
    assert "`beat up`" in capsys.readouterr().out
