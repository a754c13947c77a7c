"""The commands that Beat prints and documents: `beat …` in texts of the product and in the docs, and `curl …` in the docs."""

import ast
import itertools
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from beat_actors.cli.app import COMMANDS
from tests.blocks import FENCE, PAGES, blocks

ROOT = Path(__file__).parents[1]
PRODUCT = ("beat_actors", "api", "actors", "scheduler")
NAMES = frozenset(name for name, _, _ in COMMANDS)
SPAN = re.compile(r"`(?:docker\s+compose\s+run\s+--rm\s+|\.venv/bin/)?(beat\s[^`]*)`")
BARE = re.compile(rf"(?<![\w.`/-])beat (?:{'|'.join(sorted(NAMES))})\b")
CALL = re.compile(r"(?:\w+=\$\()?(?:curl|call) ((?:'[^']*'|\"[^\"]*\"|[^\n'\"|])*)")
"""A call of the API; a pipe ends it."""
LABELS = frozenset({"beat up", "beat chaos", "beat events", "beat top"})
"""Texts that name who did something, as the audit log has it."""

VALUES = {
    "N": "3", "ID": "1", "SOURCE": "lama", "NAME": "example", "KIND": "slack", "HANDLE": "creator_000042", "FLOW": "refresh_tiktok_profiles",
    "ACCOUNT": "acme", "PLATFORM": "instagram", "OWNER": "shop.myshopify.com", "QUEUE": "ingest", "KEY": "1", "TABLE": "alert",
    "OPERATION": "profile_by_handle", "REQUEST": "1", "TOKEN": "17-3f9a2c51", "ACTOR": "ingest",
    "COMMAND": "alerts", "URL": "https://hooks.example.com/beat", "FILE": "staging.gz",
}  # fmt: skip
"""What stands for the placeholders of a text, so that the command can be parsed, and run."""

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
TIMES = tuple(f"{TODAY - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}" for days in (2, 1))
"""What stands for TIME: past times, and the second of a command is later, because spans begin before they end and are short."""

FILLED = {
    "nearest": "alerts", "source": "lama", "operation": "profile_by_handle", "platform": "instagram", "entity": "instagram_account",
    "owner": "shop.myshopify.com", "account_id": "acme", "kind": "malformed", "where": "", "flow.name": "refresh_tiktok_profiles", "flow.platform": "tiktok", "view.name": "refresh_profile_insta_minute",
}  # fmt: skip
"""What stands for the values that the program fills in, by their names; 1 for all others, which are ids."""


def value_of(name: str) -> str:
    return FILLED.get(name, FILLED.get(name.rpartition(".")[2], "1"))


@dataclass(frozen=True, order=True)
class Named:
    """A command as a text has it. `whole`: the reader is to type it as it stands; otherwise the text may only name it."""

    where: str
    text: str
    whole: bool

    @property
    def words(self) -> list[str]:
        """The words after `beat`, with values for placeholders and for what the program fills in."""
        text = re.sub(r"\{([^{}]*)\}", lambda found: value_of(found[1]), self.text)
        times = iter(TIMES)
        words = shlex.split(text, comments=True)[1:]
        return [next(times) if word == "TIME" else VALUES.get(word, word) for word in words]

    @property
    def is_name(self) -> bool:
        """Whether it is no more than the name of a command."""
        return all(re.fullmatch(r"[a-z][a-z-]*", word) for word in self.text.split()[1:])


def in_docs() -> Iterator[Named]:
    for block in blocks("sh"):
        for command in block.commands:
            typed = command.removeprefix("docker compose run --rm ").removeprefix(".venv/bin/")
            if re.match(r"beat [a-z-]", typed):
                yield Named(block.where, typed.strip(), whole=True)
    for path in PAGES:
        for span in SPAN.finditer(FENCE.sub("", path.read_text())):
            yield Named(str(path.relative_to(ROOT)), " ".join(span[1].split()), whole=False)


def in_product() -> Iterator[Named]:
    """In the texts of the program. A docstring may name a command; what is printed has to be whole."""
    for where, text, is_docstring in texts("`beat"):
        for span in SPAN.finditer(text):
            yield Named(where, " ".join(span[1].split()), whole=not is_docstring)


def without_quotes() -> Iterator[tuple[str, str]]:
    """Commands that stand in a text of the program without backticks, so that nobody sees where they begin and end."""
    for where, text, _ in texts():
        rest = re.sub(r"`[^`]*`", "", text)
        if text not in LABELS:
            yield from ((where, rest[found.start() : found.end() + 40]) for found in BARE.finditer(rest))


@cache
def texts(holding: str = "") -> tuple[tuple[str, str, bool], ...]:
    """Where, every text of the product, and whether it is a docstring; only of modules that hold these characters somewhere."""
    paths = (path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py"))
    return tuple(
        text for path in sorted(paths) if holding in (source := path.read_text()) for text in _texts(source, path)
    )


def _texts(source: str, path: Path) -> Iterator[tuple[str, str, bool]]:
    """A value that is filled in stands as `{…}`."""
    where = str(path.relative_to(ROOT))
    todo: list[tuple[ast.AST, bool, bool]] = [(ast.parse(source), False, False)]
    while todo:
        node, is_part, is_alone = todo.pop()
        if isinstance(node, ast.JoinedStr):
            said = (str(part.value) if isinstance(part, ast.Constant) else filled(part) for part in node.values)
            yield where, "".join(said), False
            is_part = True
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not is_part:
            yield where, node.value, is_alone
        todo += [(child, is_part, isinstance(node, ast.Expr)) for child in ast.iter_child_nodes(node)]


def filled(part: ast.expr) -> str:
    """The name of what the program fills in."""
    return f"{{{ast.unparse(part.value) if isinstance(part, ast.FormattedValue) else ''}}}"


def calls() -> Iterator[tuple[str, list[str]]]:
    """Where, and the words of every call of the API in the docs: of `curl`, or of the function `call` that docs/api.md makes of it."""
    for block in blocks("sh"):
        for command in block.commands:
            if found := CALL.match(command.replace("\\\n", " ")):
                yield block.where, shlex.split(found[1])


def read_call(words: list[str]) -> tuple[str, str, Any]:
    """The method, the path and the body of a call; 1 stands for what the shell fills in."""
    address = next(word for word in words if "/v1/" in word)
    options = dict(itertools.pairwise(words))
    body = options.get("-d")
    path = re.sub(r"\$\w+|\{\w+\}", "1", address[address.index("/v1/") :])
    return options.get("-X", "GET" if body is None else "POST"), path, None if body is None else json.loads(body)
