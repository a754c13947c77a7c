"""How results and errors are told: tables on a terminal, plain lines in a pipe, JSON for scripts, one sentence for an error,
and the exit codes that scripts can rely on."""

import json
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from beat_actors.moments import moment

FAILED, BAD_INPUT, UNAVAILABLE, NOT_FOUND, TIMED_OUT, INTERRUPTED = 1, 2, 3, 4, 5, 130

MOST_SAID = 240
UNSEEN = re.compile(r"[^\n -~]")

IDS = frozenset({"id", "request", "fetch", "newest", "credential", "webhook"})
"""Columns of numbers that are names, which are shown as they are typed."""
Item = TypeVar("Item")
GAP, LEAST_PROSE, BELOW = 2, 24, 4
"""Cells between two columns; cells that a column of words needs to be read; cells before words that stand below their row."""
COMMAND = re.compile(r"`(?:beat|curl|docker|make|pip|python) [^`]*`")
KEPT = "\0"
"""Stands for a space at which no line ends."""
NAMED = re.compile(r" {0,4}\S+(?: \S+){0,2} {2,}(?=\S)")
"""What a line begins with that has a name or a time, and a gap behind it."""

Flag = Annotated[bool, Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class Shape:
    """How a list is printed.

    Parameters
    ----------
    json
        As a JSON array.
    json_lines
        As JSON, one object a line.
    header
        With the names of the columns above the lines of a pipe.
    """

    json: Flag = False
    json_lines: Flag = False
    header: Flag = False


TABLE = Shape()

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

STYLES = {
    "COMPLETE": "green", "FAILED": "red", "CANCELLED": "dim", "PROCESSING": "cyan", "PENDING": "yellow",
    "ready": "green", "probing": "cyan", "cooling": "yellow", "disabled": "dim", "dead": "red", "up": "green",
    "ok": "green", "WRONG": "bold red", "rate_limited": "yellow", "quota_exhausted": "yellow", "upstream_down": "red", "unreached": "red",
}  # fmt: skip


def printable(value: object) -> str:
    """A value on one line. A label or a provider's message must not move the cursor or break a column, so controls are shown escaped."""
    text = "" if value is None else moment(value) if isinstance(value, datetime) else str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def in_words(value: object) -> str:
    """A value of JSON as people write it: a list by its items, a switch as yes or no, a whole number without a fraction."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return " ".join(in_words(item) for item in value)
    if isinstance(value, dict):
        return " ".join(f"{name}={in_words(item)}" for name, item in value.items())
    return str(value)


def since(seconds: float | None) -> str:
    """How long something has lasted, in one unit."""
    if seconds is None:
        return ""
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
    )


def reason_of(error: Mapping[str, object]) -> str:
    """A request's error in a line: its kind, and what was said about it. Empty for no error."""
    said = " ".join(str(error.get("message") or "").split())
    said = said if len(said) <= MOST_SAID else f"{said[:MOST_SAID]}…"
    return ": ".join(part for part in (str(error.get("code") or ""), said) if part)


def say(text: str, style: str = "", *, whole: bool = False) -> None:
    """A sentence on standard output, on one line when piped. On a terminal its lines end between words, and go on below what stands behind a
    name or a time; `whole`: it stays one line, which the terminal may wrap, so that a document in it can be copied."""
    if sys.stdout.isatty():
        lines = [text] if whole else [part for line in text.split("\n") for part in hanging(line, out.width)]
        out.print(Text("\n".join(lines), style=style), soft_wrap=True)
    else:
        print(text, flush=True)


def tell(message: object) -> None:
    """A sentence on standard error."""
    text = "\n".join(printable(line) for line in str(message).splitlines())
    if sys.stderr.isatty():
        first, *rest = [part for line in f"beat: {text}".split("\n") for part in Lines(err.width).wrap(line) or [""]]
        err.print(Text.assemble((first[:6], "bold red"), "\n".join([first[6:], *rest])), soft_wrap=True)
    else:
        print(f"beat: {text}", file=sys.stderr, flush=True)


def show_json(value: object) -> None:
    """For scripts: one JSON document on standard output. Controls and overrides of the writing direction are escaped, since people read
    it as well."""
    text = json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False)
    sys.stdout.write(_seen(text) + "\n")


def show_document(text: str) -> None:
    """A document of somebody else: indented where it is JSON. Controls are shown escaped."""
    try:
        show_json(json.loads(text))
    except ValueError:
        sys.stdout.write("\n".join(printable(line) for line in text.splitlines()) + "\n")


def _seen(text: str) -> str:
    return UNSEEN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    one = found[0]
    return json.dumps(one)[1:-1] if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp", "Cs") else one


def show_list(
    items: Sequence[Item],
    columns: Sequence[str],
    row: Callable[[Item], Sequence[object]],
    shape: Shape,
    *,
    prose: Collection[str] = (),
    spare: Sequence[str] = (),
    empty: str = "",
) -> None:
    """A list in the shape that was asked for. In JSON it is an array, or a line for each item, whatever the command."""
    if shape.json_lines:
        for item in items:
            sys.stdout.write(_seen(json.dumps(msgspec.to_builtins(item), ensure_ascii=False)) + "\n")
    elif shape.json:
        show_json(items)
    else:
        rows = [row(item) for item in items]
        show_rows(columns, rows, prose=prose, spare=spare, empty=empty, header=shape.header)


def show_rows(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    prose: Collection[str] = (),
    spare: Sequence[str] = (),
    empty: str = "",
    header: bool = False,
) -> None:
    """A table on a terminal, or where it does not fit a block for each row; tab-separated lines when piped, with `header` below a line of
    names. Words of the columns in `prose` may be wrapped, all other cells stay whole. Numbers stand to the right.

    `spare`: columns that a narrow terminal leaves out, one after the other, where several rows fit as a table without them."""
    if not sys.stdout.isatty():
        for row in ([columns] if header else []) + list(rows):
            sys.stdout.write("\t".join(printable(cell) for cell in row) + "\n")
        if empty and not rows:
            tell(empty)
    elif rows:
        columns, rows = _filled(columns, rows)
        spare = spare if len(rows) > 1 else ()
        words = [column for column in columns if column in prose]
        if (fitting := _fitting(columns, rows, prose, spare)) is not None:
            out.print(table(*fitting, prose))
        elif len(rows) > 1 and len(words) == 1 and (beside := _fitting(columns, rows, prose, (*words, *spare), 1)):
            _print_with_words_below(*beside, [row[columns.index(words[0])] for row in rows])
        else:
            _print_blocks(columns, rows)
    elif empty:
        say(empty, "dim")


def _filled(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> tuple[list[str], list[list[object]]]:
    """The columns in which a row has something, for a terminal has little room."""
    kept = [index for index in range(len(columns)) if any(printable(row[index]) for row in rows)]
    return [columns[index] for index in kept], [[row[index] for index in kept] for row in rows]


def _fitting(
    columns: list[str], rows: list[list[object]], prose: Collection[str], spare: Sequence[str], without: int = 0
) -> tuple[list[str], list[list[object]]] | None:
    """The columns that fit as a table, without as many of the `spare` ones as it takes, and at least `without` of them; None where they do
    not fit even then."""
    for left_out in range(without, len(spare) + 1):
        kept = [index for index, column in enumerate(columns) if column not in spare[:left_out]]
        some = [columns[index] for index in kept], [[row[index] for index in kept] for row in rows]
        if _fits(*some, prose):
            return some
    return None


def _fits(columns: Sequence[str], rows: Sequence[Sequence[object]], prose: Collection[str]) -> bool:
    """Whether the table has room for every cell that stays whole, and for words enough of the others."""
    return _widths(columns, rows, prose) is not None


def _widths(columns: Sequence[str], rows: Sequence[Sequence[object]], prose: Collection[str]) -> list[int] | None:
    """How wide each column is; those of words share what the others leave. None where they get too little."""
    wanted = [
        max([len(column), *(_as_text(row[index], column).cell_len for row in rows)])
        for index, column in enumerate(columns)
    ]
    given = [
        min(width, max(LEAST_PROSE, *(longest(printable(row[index])) for row in rows))) if column in prose else width
        for index, (column, width) in enumerate(zip(columns, wanted, strict=True))
    ]
    room = out.width + GAP - sum(width + GAP for width in given)
    if room < 0:
        return None
    while room and (short := [index for index, width in enumerate(given) if width < wanted[index]]):
        for index in short:
            more = min(wanted[index] - given[index], max(room // len(short), 1), room)
            given[index] += more
            room -= more
    return given


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], prose: Collection[str] = ()) -> Table:
    made = Table(box=None, header_style="dim", pad_edge=False, padding=(0, GAP, 0, 0))
    widths = _widths(columns, rows, prose) or [out.width] * len(columns)
    for index, column in enumerate(columns):
        number = all(isinstance(row[index], int | float | None) for row in rows)
        made.add_column(column, justify="right" if number else "left", overflow="fold", no_wrap=column not in prose)
    for row in rows:
        made.add_row(*(_cell(*each, prose) for each in zip(row, columns, widths, strict=True)))
    return made


def _cell(value: object, column: str, width: int, prose: Collection[str]) -> Text:
    text = _as_text(value, column)
    if column not in prose or text.cell_len <= width:
        return text
    return Text("\n".join(Lines(width).wrap(text.plain)), style=text.style)


def _print_with_words_below(columns: list[str], rows: list[list[object]], words: Sequence[object]) -> None:
    """A line for each row, and below it the words that it has no room for."""
    head, *lines = out.render_lines(table(columns, rows), out.options, pad=False)
    told = Text()
    for line, said in zip([head, *lines], ["", *words], strict=True):
        for one in line:
            told.append(one.text, one.style or "")
        told.rstrip()
        told.append("\n")
        for part in Lines(out.width - BELOW).wrap(printable(said)):
            told.append(f"{'':<{BELOW}}{part}\n")
    told.rstrip()
    out.print(told, soft_wrap=True)


def _print_blocks(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Each row as lines of name and value; a word is never broken, so that it can be copied, not even one that is wider than the terminal."""
    indent = max(map(len, columns)) + GAP
    told = Text()
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            value = _as_text(cell, column)
            if not value.plain:
                continue
            lines = Lines(width=max(out.width - indent, 20)).wrap(value.plain)
            told.append(f"{column:<{indent}}", "dim").append(f"\n{'':<{indent}}".join(lines), value.style).append("\n")
        told.append("\n")
    told.rstrip()
    out.print(told, soft_wrap=True)


class Lines(textwrap.TextWrapper):
    """Lines that end between words, or between members of JSON, which has no spaces. A command in backticks stays on one line, so that it can
    be copied; one that is wider than a line goes on behind a backslash, as the shell reads it."""

    wordsep_simple_re = re.compile(r"(\s+|(?<=,)(?=[\"{\[]))")

    def __init__(self, width: int, hang: int = 0) -> None:
        super().__init__(width, subsequent_indent=" " * hang, break_long_words=False, break_on_hyphens=False)

    def wrap(self, text: str) -> list[str]:
        return [line.replace(KEPT, " ") for line in super().wrap(COMMAND.sub(self._kept, text))]

    def _kept(self, command: re.Match[str]) -> str:
        room = self.width - len(self.subsequent_indent)
        parts = [command[0]]
        if len(command[0]) > room:
            parts = textwrap.wrap(command[0], room - 2, break_long_words=False, break_on_hyphens=False)
        return " ".join(part.replace(" ", KEPT) + (f"{KEPT}\\" if part is not parts[-1] else "") for part in parts)


def longest(text: str) -> int:
    """The cells of the longest command of a text."""
    return max((len(command[0]) for command in COMMAND.finditer(text)), default=0)


def hanging(line: str, width: int) -> list[str]:
    """A line that goes on below what stands behind its name or its time."""
    named = NAMED.match(line)
    return Lines(width, len(named[0]) if named else 0).wrap(line) or [""]


def show_fields(fields: Sequence[tuple[str, object]]) -> None:
    """One thing: a line for each of its fields that has a value. When piped, its name and a tab stand before the value."""
    known = [(name, value) for name, value in fields if value is not None]
    if sys.stdout.isatty():
        _print_blocks([name for name, _ in known], [[value for _, value in known]])
    else:
        show_rows(("", ""), known)


def _as_text(value: object, column: str = "") -> Text:
    if isinstance(value, Text):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and column not in IDS:
        return Text(f"{value:,}")
    text = printable(value)
    return Text(text, style=STYLES.get(text, ""))


def program() -> str:
    """How this command is called from here: `beat` where it is on the path, else the way to it."""
    path = Path(sys.argv[0])
    found = shutil.which("beat")
    if path.name != "beat" or (found and Path(found).resolve() == path.resolve()):
        return "beat"
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
