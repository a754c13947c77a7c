"""How rows are locked."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDERS = ("beat_actors", "actors", "api", "scheduler")
LOCK = re.compile(r"\bFOR UPDATE\b")


def test_only_what_is_deleted_is_locked_for_update() -> None:
    """No key of a row ever changes, and `FOR UPDATE` holds up whoever only refers to the row by its key."""
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if "migrations" not in path.parts]
    assert files
    for path in files:
        text = path.read_text()
        for found in LOCK.finditer(text):
            line, statement = text.count("\n", 0, found.start()) + 1, text[: found.start()].rpartition('"""')[2]
            is_deleted = "DELETE FROM" in statement or "DELETE FROM" in text.splitlines()[line - 1]
            assert is_deleted, f"{path.relative_to(ROOT)}:{line}: use FOR NO KEY UPDATE"
