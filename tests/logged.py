"""What the code logs, as its source says: for the test of the catalogue (`beat_actors/log_events.py`)."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("beat_actors", "actors", "api", "scheduler")
OF_REHEARSAL = ("chaos", "simulator", "local")
"""They print for the person who runs them."""
LEVELS = {"exception": "error"}
METHODS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})


@dataclass(frozen=True, slots=True)
class Logged:
    """A place that logs. `event`: `None` where it is no literal."""

    where: str
    event: str | None
    level: str
    fields: frozenset[str]


def logged() -> Iterator[Logged]:
    """Every call of a method of a logger named `log`."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if not {*path.parts} & {*OF_REHEARSAL}:
                yield from _of(path)


def _of(path: Path) -> Iterator[Logged]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS):
            continue
        logger = node.func.value
        if not (isinstance(logger, ast.Name) and logger.id in ("log", "_log")):
            continue
        first = node.args[0] if node.args else None
        event = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
        fields = frozenset(one.arg for one in node.keywords if one.arg is not None and one.arg != "exc_info")
        where = f"{path.relative_to(ROOT)}:{node.lineno}"
        yield Logged(where, event, LEVELS.get(node.func.attr, node.func.attr), fields)
