"""How results and errors are told: tables on a terminal, plain lines in a pipe, JSON for scripts, one sentence for an error,
and the exit codes that scripts can rely on."""

import json
import re
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

FAILED, BAD_INPUT, UNAVAILABLE, NOT_FOUND, TIMED_OUT, INTERRUPTED = 1, 2, 3, 4, 5, 130

MOST_SAID = 240
UNSEEN = re.compile(r"[^\n -~]")

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

STYLES = {
    "COMPLETE": "green", "FAILED": "red", "CANCELLED": "dim", "PROCESSING": "cyan", "PENDING": "yellow",
    "ready": "green", "probing": "cyan", "cooling": "yellow", "disabled": "dim", "dead": "red", "up": "green",
    "ok": "green", "WRONG": "bold red", "rate_limited": "yellow", "quota_exhausted": "yellow", "upstream_down": "red", "unreached": "red",
}  # fmt: skip


def printable(value: object) -> str:
    """A value on one line. A label or a provider's message must not move the cursor or break a column, so controls are shown escaped."""
    text = "" if value is None else str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def reason_of(error: Mapping[str, Any]) -> str:
    """A request's error in a line: its kind, and what was said about it. Empty for no error."""
    said = " ".join(str(error.get("message") or "").split())
    said = said if len(said) <= MOST_SAID else f"{said[:MOST_SAID]}…"
    return ": ".join(part for part in (str(error.get("code") or ""), said) if part)


def say(text: str, style: str = "") -> None:
    """A sentence on standard output, on one line when piped."""
    if sys.stdout.isatty():
        out.print(Text(text, style=style))
    else:
        print(text, flush=True)


def tell(message: object) -> None:
    """A sentence on standard error."""
    text = "\n".join(printable(line) for line in str(message).splitlines())
    if sys.stderr.isatty():
        err.print(Text.assemble(("beat: ", "bold red"), text))
    else:
        print(f"beat: {text}", file=sys.stderr, flush=True)


def show_json(value: object) -> None:
    """For scripts: one JSON document on standard output. Controls and overrides of the writing direction are escaped, since people read
    it as well."""
    text = json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False)
    sys.stdout.write(UNSEEN.sub(_escaped, text) + "\n")


def show_document(text: str) -> None:
    """A document of somebody else: indented where it is JSON. Controls are shown escaped."""
    try:
        show_json(json.loads(text))
    except ValueError:
        sys.stdout.write("\n".join(printable(line) for line in text.splitlines()) + "\n")


def _escaped(found: re.Match[str]) -> str:
    one = found[0]
    return json.dumps(one)[1:-1] if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp", "Cs") else one


def show_rows(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str = "") -> None:
    """A table on a terminal; tab-separated lines without a head when piped. Numbers stand to the right."""
    if not sys.stdout.isatty():
        for row in rows:
            sys.stdout.write("\t".join(printable(cell) for cell in row) + "\n")
    elif rows:
        out.print(table(columns, rows))
    elif empty:
        out.print(Text(empty, style="dim"))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    made = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        number = all(isinstance(row[index], int | float | None) for row in rows)
        made.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else _cell(cell) for cell in row))
    return made


def _cell(value: object) -> Text:
    if isinstance(value, int) and not isinstance(value, bool):
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
