"""Which test holds which row of the scenarios: `python -m tests.scenarios` writes docs/scenarios.md; `--check` fails where a row of a
required scenario has no test, where a test names a row that does not exist, and where the page is out of date."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROW_IN_NAME = re.compile(r"(?<![a-z0-9])s(\d+)_(\d+)(?![a-z0-9])")
INTRODUCTION = """\
# Scenarios

Beat is built for the incidents below. Each row says what must hold in an incident, and links the tests that check it. The names of these tests
contain the id of the row: `make test ARGS="-k s3_13"` runs the tests of S3.13. `python -m tests.scenarios` generates this page from
`tests/scenarios.toml` and the names of the tests. `make lint` fails if they do not match.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """`later`: what of the row is not built yet, and why."""

    id: str
    meaning: str
    required: bool
    later: str | None


@dataclass(frozen=True, slots=True)
class Scenario:
    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, order=True)
class NamedTest:
    """`path`: relative to the repository."""

    path: str
    name: str

    @property
    def rows(self) -> tuple[str, ...]:
        """The ids of the rows that the name carries."""
        return tuple(f"S{scenario}.{row}" for scenario, row in ROW_IN_NAME.findall(self.name))


def scenarios(text: str) -> list[Scenario]:
    """Read `tests/scenarios.toml`. Raises `ValueError` where `later` speaks of a row that does not exist."""
    found = []
    for key, table in tomllib.loads(text).items():
        later = table.get("later", {})
        if unknown := later.keys() - table["rows"].keys():
            raise ValueError(f"{key}.later names no row: {', '.join(sorted(unknown))}")
        rows = (
            Row(f"{key}.{number}", meaning, table["required"], later.get(number))
            for number, meaning in table["rows"].items()
        )
        found.append(Scenario(table["title"], tuple(rows)))
    return found


def named_below(folder: Path, root: Path) -> Iterator[NamedTest]:
    """Every test function below `folder`, by reading its file."""
    for file in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield NamedTest(file.relative_to(root).as_posix(), node.name)


def by_row(tests: Sequence[NamedTest]) -> dict[str, list[NamedTest]]:
    found: dict[str, list[NamedTest]] = {}
    for test in sorted(tests):
        for row in test.rows:
            found.setdefault(row, []).append(test)
    return found


def faults(known: Sequence[Scenario], held: Mapping[str, Sequence[NamedTest]]) -> list[str]:
    """One line for each required row without a test, and for each test whose row does not exist."""
    rows = [row for scenario in known for row in scenario.rows]
    ids = {row.id for row in rows}
    missing = [f"{row.id} has no test: {row.meaning}" for row in rows if row.required and row.id not in held]
    return missing + [
        f"{test.path}: {test.name} names {row}, which is no row of tests/scenarios.toml"
        for row, tests in held.items()
        if row not in ids
        for test in tests
    ]


def page(known: Sequence[Scenario], held: Mapping[str, Sequence[NamedTest]]) -> str:
    """The text of docs/scenarios.md."""
    lines = [INTRODUCTION]
    for scenario in known:
        lines += [f"## {scenario.title}", "", "| row | what must hold | tests |", "|---|---|---|"]
        lines += [f"| {row.id} | {row.meaning} | {_tests(row, held.get(row.id, ()))} |" for row in scenario.rows]
        lines.append("")
    return "\n".join(lines)


def _tests(row: Row, tests: Sequence[NamedTest]) -> str:
    links = [f"[{test.name}](../{test.path})" for test in tests]
    if row.later:
        links.append(f"Not complete: {row.later}")
    return "<br>".join(links) or "not built yet"


def main(root: Path, *, check: bool) -> int:
    known = scenarios((root / "tests/scenarios.toml").read_text())
    held = by_row(list(named_below(root / "tests", root)))
    target, text = root / "docs/scenarios.md", page(known, held)
    found = faults(known, held)
    if not check:
        target.write_text(text)
    elif not target.exists() or target.read_text() != text:
        found.append("docs/scenarios.md is out of date: run `python -m tests.scenarios`")
    rows = [row for scenario in known for row in scenario.rows]
    print(f"scenarios: {sum(row.id in held for row in rows)} of {len(rows)} rows have a test")
    for row in rows:
        if row.later:
            print(f"scenarios: {row.id} is not complete: {row.later}")
    if unbuilt := [row.id for row in rows if row.id not in held and not row.required]:
        print(f"scenarios: not built yet: {', '.join(unbuilt)}")
    for fault in found:
        print(fault, file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(ROOT, check="--check" in sys.argv[1:]))
