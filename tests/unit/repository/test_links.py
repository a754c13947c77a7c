"""No link of the documentation is dead: every relative link leads to a file of the repository, and every anchor to a heading."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(\s*<?([^)>\s]+)>?\s*\)")
OUTSIDE = re.compile(r"^[a-z]+:")


def links(page: str) -> list[str]:
    """The targets of the links and images of a page, except those to other sites. Links whose text is code are links too."""
    without_blocks = re.sub(r"^ *```.*?^ *```$", "", page, flags=re.MULTILINE | re.DOTALL)
    return [found for found in LINK.findall(without_blocks) if not OUTSIDE.match(found)]


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them: equal ones are numbered."""
    found, seen = set[str](), Counter[str]()
    for title in re.findall(
        r"^#+ +(.+?)\s*$", CODE.sub(lambda code: code[0].strip("`") if "\n" not in code[0] else "", page), re.MULTILINE
    ):
        anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def dead(path: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    wrong = []
    for link in links(path.read_text()):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if (
            not target.exists()
            or ROOT not in (target.resolve(), *target.resolve().parents)
            or (anchor and target.suffix == ".md" and anchor not in anchors(target.read_text()))
        ):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_of_a_page_is_dead(path: Path) -> None:
    assert dead(path) == []


def test_the_walk_finds_links_and_dead_ones() -> None:
    assert sum(len(links(path.read_text())) for path in PAGES) > 200
    page = "# One `two`\n## One two\n[a](#one-two) [`b`](#one-two-1) [c](https://example.com) ![d](e.svg)\n```\n# no\n[f](g)\n```\n"
    assert links(page) == ["#one-two", "#one-two-1", "e.svg"]
    assert anchors(page) == {"one-two", "one-two-1"}


def test_a_dead_link_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.repository.test_links.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# Here\n[a](page.md#here) [b](page.md#there) [c](nosuch.md) [d](../../etc/hosts) [e](#here)")
    assert dead(page) == ["page.md#there", "nosuch.md", "../../etc/hosts"]
