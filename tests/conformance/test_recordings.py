"""No recording lies about unread, over all of `tests/fixtures`: it is parsed by a test, or a table says why no operation uses it."""

import re
from pathlib import Path

from tests.conformance.recordings import of_platforms
from tests.conftest import FIXTURES

TABLES = dict(of_platforms())
HERE = Path(__file__).parents[1]


SCHEMAS = FIXTURES / "asyncapi"
"""A schema of others, which no provider sent."""


def recordings() -> set[str]:
    return {
        str(path.relative_to(FIXTURES))
        for path in FIXTURES.rglob("*")
        if path.is_file()
        and SCHEMAS not in path.parents
        and path.suffix != ".md"
        and not path.name.endswith(".meta.json")
    }


def read_by_the_suite() -> set[str]:
    return {item.path for table in TABLES.values() for item in (*table.GOOD, *table.MISSING, *table.REFUSALS)}


def read_elsewhere() -> set[str]:
    return {path for table in TABLES.values() for path in table.READ_ELSEWHERE}


def reasons() -> dict[str, str]:
    """The rows of every UNUSED.md: the recording, and why no operation uses it."""
    text = "\n".join(path.read_text() for path in FIXTURES.rglob("UNUSED.md"))
    return dict(re.findall(r"^\| ([^|]+\.\w+) \| ([^|]+) \|$", text, re.MULTILINE))


def test_s6_10_every_recording_is_parsed_by_a_test_or_its_reason_stands_in_a_table() -> None:
    read, unused = read_by_the_suite() | read_elsewhere(), reasons()
    assert recordings() == read | set(unused)
    assert not read & set(unused)
    assert all(len(reason) > 20 for reason in unused.values())


def test_s6_10_what_is_read_elsewhere_is_opened_there() -> None:
    """A name in a table reads nothing: some other test has to."""
    tests = [path for path in HERE.rglob("test_*.py") if path != Path(__file__)]
    text = "\n".join(path.read_text() for path in tests)
    for path in read_elsewhere():
        assert re.search(rf"\b{Path(path).stem}\b", text), f"no test opens {path}"


def test_every_recording_says_where_it_is_from_and_every_meta_has_its_body() -> None:
    indexed = "\n".join(path.read_text() for path in FIXTURES.rglob("INDEX.md"))
    said = set(re.findall(r"^\| (\S+\.json) \|", indexed, re.MULTILINE))
    assert said == recordings()
    for meta in FIXTURES.rglob("*.meta.json"):
        assert meta.with_name(meta.name.replace(".meta.json", ".json")).exists()
