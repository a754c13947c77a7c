"""How rows are locked."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDERS = ("beat_actors", "actors", "api", "scheduler")
BEGINS = {".py": '"""', ".sql": "-- name: "}
"""Where a statement begins, by the ending of its file."""
LOCK = re.compile(r"\bFOR UPDATE\b")


def test_only_what_is_deleted_is_locked_for_update() -> None:
    """No key of a row ever changes, and `FOR UPDATE` holds up whoever only refers to the row by its key."""
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in BEGINS]
    assert {path.suffix for path in files} == set(BEGINS)
    for path in files:
        if "migrations" in path.parts:
            continue
        text, begins = path.read_text(), BEGINS[path.suffix]
        for found in LOCK.finditer(text):
            line, statement = text.count("\n", 0, found.start()) + 1, text[: found.start()].rpartition(begins)[2]
            is_deleted = "DELETE FROM" in statement or "DELETE FROM" in text.splitlines()[line - 1]
            assert is_deleted, f"{path.relative_to(ROOT)}:{line}: use FOR NO KEY UPDATE"
