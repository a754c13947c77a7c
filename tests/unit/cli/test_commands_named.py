"""Every command that a text names exists: in the docs, and in what alerts, errors and findings say."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from beat_actors.cli.app import COMMANDS, app

ROOT = Path(__file__).parents[3]
NAMED = re.compile(r"(?<![\w./`-])`?beat ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)")
CODE = re.compile(r"`(beat [^`]*)`|^ *(?:\$ )?(beat [a-z].*)$", re.MULTILINE)
ACTION = re.compile(r"(?:action|mend)\s*=\s*f?\"(.*)\"|`(beat [^`]*)`")
# What follows a command's name in a sentence.
WORDS = frozenset({"and", "or", "say", "says", "names", "may", "to", "the"})


def named() -> Iterator[tuple[str, str]]:
    """Where, and the words after `beat`, at most two."""
    sources = [(path, CODE) for path in (ROOT / "docs").glob("*.md")] + [(ROOT / "README.md", CODE)]
    sources += [
        (path, ACTION)
        for folder in ("beat_actors", "api", "actors", "scheduler")
        for path in (ROOT / folder).rglob("*.py")
    ]
    for path, spans in sources:
        for span in spans.finditer(path.read_text()):
            for found in NAMED.finditer(next(filter(None, span.groups()), "")):
                yield str(path.relative_to(ROOT)), found[1]


def subcommands(name: str) -> set[str]:
    group = app[name]
    return {known for known in group if not known.startswith("-")} if isinstance(group, App) else set()


@pytest.mark.parametrize(("where", "words"), sorted(set(named())))
def test_a_command_that_is_named_exists(where: str, words: str) -> None:
    command, *rest = words.split()
    assert command in {name for name, _, _ in COMMANDS}, f"{where} names `beat {words}`"
    known = subcommands(command)
    if known and rest and rest[0] not in WORDS:
        takes_words = app[command].default_command is not None
        assert rest[0] in known or takes_words, f"{where} names `beat {words}`"


def test_no_alert_sends_anybody_to_the_simulator() -> None:
    """Production has none."""
    rules = [*(ROOT / "beat_actors/watch").glob("*.py"), *(ROOT / "beat_actors").rglob("*alerts.py")]
    assert len(rules) > 8
    for path in rules:
        assert "simulator" not in path.read_text(), path


def test_the_walk_finds_what_it_looks_for() -> None:
    found = {words for _, words in named()}
    assert {"credentials replace", "db processes", "migrate"} <= found
