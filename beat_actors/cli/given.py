"""What a command is given: names on the command line, in a file (`@FILE`) or on standard input (`-`)."""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from beat_actors.errors import BadInput

STDIN = "@-"
"""Standard input: what `-` becomes before the command line is parsed, where it would be an option without a name."""
MOST = 100_000
"""Names that one command takes."""


def with_stdin(argument: str) -> str:
    """The argument; `STDIN` stands for a `-` that is all of it, or all of an option's value, as in `--key=-`."""
    found = re.fullmatch(r"(--[a-z][a-z-]*=)?-", argument)
    return argument if found is None else f"{found[1] or ''}{STDIN}"


def expanded(words: Iterable[str]) -> list[str]:
    """The words, with the lines of standard input for `-` and those of a file for `@FILE`. Empty lines and lines that begin with `#` do not count.

    A word such as `@handle` stands for itself where there is no file of that name. Raises `BadInput`.
    """
    found = [name for word in words for name in _names(word)]
    if len(found) > MOST:
        raise BadInput(f"{len(found):,} names were given; one command takes {MOST:,} at most")
    return found


def _names(word: str) -> Iterator[str]:
    if word == STDIN:
        yield from _lines(sys.stdin.read())
    elif word.startswith("@") and Path(word[1:]).is_file():
        yield from _lines(Path(word[1:]).read_text())
    else:
        yield word


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        name = line.strip()
        if name and not name.startswith("#"):
            yield name


def number(text: str, what: str) -> int:
    """A number that names something, as lists show it. Raises `BadInput`."""
    plain = text.replace(",", "")
    if not (plain.isascii() and plain.isdigit()) or len(plain) > 18:
        raise BadInput(f"a {what} has a number, not {text[:60]!r}", field=what)
    return int(plain)
