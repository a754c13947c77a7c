"""A module that has grown long holds more than one thing that a reader looks for."""

from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("beat_actors", "actors", "api", "scheduler")
MOST_LINES = 400
LONGER = frozenset({})
"""Modules that are still longer. No other module may become one of them."""


def length(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def test_no_module_is_too_long() -> None:
    modules = {path.relative_to(ROOT).as_posix(): path for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    assert len(modules) > 100
    assert {name: lines for name, path in modules.items() if (lines := length(path)) > MOST_LINES} == {}
