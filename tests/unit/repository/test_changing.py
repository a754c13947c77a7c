"""docs/changing.md answers where things are, and the answers are true."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/changing.md").read_text()
ANSWERS = re.findall(r"^\| .+\? \| `([^`]+)` \| `([^`]+)` \|$", PAGE, re.MULTILINE)
NOT_OF_A_CHECKOUT = re.compile(r"[A-Z]{4,}|/\.\.\.")


def defined(path: Path) -> set[str]:
    """The names that a module defines at its top level."""
    found = set[str]()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def test_there_are_at_least_ten_answers() -> None:
    assert len(ANSWERS) >= 10


@pytest.mark.parametrize(("path", "name"), ANSWERS)
def test_what_is_asked_for_is_where_the_page_says(path: str, name: str) -> None:
    assert name in defined(ROOT / path)


def test_every_path_of_the_page_is_there() -> None:
    named = [path for path in re.findall(r"`([\w./]+/[\w./]*)`", PAGE) if not NOT_OF_A_CHECKOUT.search(path)]
    assert len(named) > 20
    missing = [path for path in named if not ((ROOT / path).exists() or (ROOT / "beat_actors" / f"{path}.py").exists())]
    assert missing == []
