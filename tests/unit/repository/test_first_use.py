"""What people met who used Beat for the first time stays mended: `tests/first_use.toml` names what keeps each from coming back."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.commands import texts
from tests.unit.repository.test_links import anchors

ROOT = Path(__file__).parents[3]
FOUND = tomllib.loads((ROOT / "tests/first_use.toml").read_text())
KEPT = [pytest.param(by, id=f"{section}{number}") for section in "ABCDE" for number, (_, *by) in FOUND[section].items()]
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))


def missing(guard: str) -> str | None:
    """What of a guard is not there: its file, its test or its heading. `None` where all is."""
    path, sign, rest = re.fullmatch(r"([^:#]+)(::|#)?(.*)", guard).groups()  # type: ignore[union-attr]
    file = ROOT / path
    if not file.is_file():
        return f"there is no file {path}"
    if sign == "#":
        return None if rest in anchors(file.read_text()) else f"{path} has no heading {rest}"
    name = re.escape(rest) if rest else r"test_\w+"
    if file.suffix == ".py" and not re.search(rf"^(?:async )?def {name}\(", file.read_text(), re.MULTILINE):
        return f"{path} has no test {rest}".rstrip()
    return None


@pytest.mark.parametrize("guards", KEPT)
def test_what_keeps_a_finding_from_coming_back_is_there(guards: list[str]) -> None:
    assert guards
    assert [found for guard in guards if (found := missing(guard))] == []


def test_a_guard_that_is_not_there_is_found() -> None:
    assert missing("tests/unit/nosuch.py") == "there is no file tests/unit/nosuch.py"
    assert missing("docs/api.md#no-such-heading") == "docs/api.md has no heading no-such-heading"
    assert missing("tests/unit/repository/test_links.py::test_nosuch") is not None
    assert missing("tests/unit/repository/test_links.py::test_a_dead_link_is_found") is None


def test_sentences_that_had_to_be_read_twice_stand_nowhere() -> None:
    """In no page, and in no text of the program that is no docstring."""
    read = {str(path.relative_to(ROOT)): " ".join(path.read_text().split()) for path in PAGES}
    printed = [(where, text) for where, text, is_docstring in texts() if not is_docstring]
    assert len(FOUND["F"]["now"]) > 60
    assert len(printed) > 2000
    found = [
        (where, phrase) for phrase in FOUND["F"]["now"] for where, text in (*read.items(), *printed) if phrase in text
    ]
    assert found == []
