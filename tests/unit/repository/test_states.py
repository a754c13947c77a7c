"""Who writes fetches and requests, and that each statement moves them as the tables of their stages and states say."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import beat_actors
from beat_actors.database.sql import LOADED, Statements
from beat_actors.fetches import states as stages
from beat_actors.requests import states as statuses

ROOT = Path(beat_actors.__file__).parent.parent
PACKAGES = ("beat_actors", "actors", "api", "scheduler")
FETCH, REQUEST = "scrape_fetch", "scrape_request_log"
WRITES = re.compile(
    rf'\b(?:UPDATE|INSERT\s+INTO|DELETE\s+FROM|MERGE\s+INTO|COPY|TRUNCATE)\s+(?:ONLY\s+)?(?:public\.)?"?({FETCH}|{REQUEST})\b',
    re.IGNORECASE,
)
FOLDERS = {FETCH: "beat_actors/fetches", REQUEST: "beat_actors/requests"}
BOTH_IN_FETCHES = {"fetches/claims.leases"}
"""Statements of fetches that write a request as well: the first claim of a call begins the request."""
SABOTEURS = ("beat_actors/chaos/", "beat_actors/database/migrations/")
"""Chaos empties the tables that it fills; a migration may write whatever it changes."""


class Kind(NamedTuple):
    """What the statements are held to: of a table, the column, the line of the contract, the names and the moves."""

    table: str
    column: str
    line: str
    moves: Mapping[Any, frozenset[Any]]


KINDS = [Kind(FETCH, "stage", "Stages", stages.MOVES), Kind(REQUEST, "status", "Status", statuses.MOVES)]


def files(ending: str) -> Iterator[Path]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob(f"*.{ending}")):
            if not str(path.relative_to(ROOT)).startswith(SABOTEURS):
                yield path


def statements() -> Iterator[Any]:
    for path in files("sql"):
        of_file = Statements(str(path))
        for name in of_file.names:
            one = of_file(name)
            LOADED.remove(one)
            yield path, one


def test_fetches_are_written_by_their_folder_and_requests_by_theirs() -> None:
    """A statement that writes both lies in `requests`, since a request owns its fetches."""
    strangers = []
    for path, one in statements():
        written = {table.lower() for table in WRITES.findall(one.text)}
        folder = str(path.parent.relative_to(ROOT))
        may = {FOLDERS[REQUEST]} if REQUEST in written else {FOLDERS[FETCH]}
        if one.name in BOTH_IN_FETCHES:
            assert written == {FETCH, REQUEST}, f"{one.name} writes {written} alone"
            may = {FOLDERS[FETCH]}
        if written and folder not in may:
            strangers.append(f"{one.name} writes {sorted(written)}, and lies in {folder}")
    assert not strangers, "\n".join(strangers)


def test_no_module_has_a_statement_of_its_own_that_writes_fetches_or_requests() -> None:
    strangers = []
    for path in files("py"):
        if not WRITES.search(text := path.read_text()):
            continue
        tree = ast.parse(text)
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                found = WRITES.search(node.value)
                if found:
                    strangers.append(f"{path.relative_to(ROOT)}:{node.lineno} {found[0]}")
    assert not strangers, "\n".join(strangers)


def arrows(moves: Mapping[Any, frozenset[Any]]) -> set[tuple[str, str]]:
    return {(str(before), str(after)) for before, those in moves.items() for after in those}


def told(contract: str, line: str) -> set[tuple[str, str]]:
    """`Stages: WAITING, LEASED -> DONE; FAILED -> WAITING.`"""
    found = re.search(rf"^{line}: ([^.]*)\.", contract, re.MULTILINE)
    moves = set()
    for part in found[1].split(";") if found else ():
        before, _, after = part.partition("->")
        moves |= {(a.strip(), b.strip()) for a in before.split(",") for b in after.split(",")}
    return moves


def assigned(text: str, kind: Kind) -> tuple[list[str], str]:
    """What each UPDATE of the table sets the column to, and the statement without what it sets."""
    values, rest = [], ""
    before, *updates = re.split(rf"\bUPDATE {kind.table}\b", text)
    for update in updates:
        clause = re.split(r"\bSET\b", update, maxsplit=1)[1]
        parts, end = split(clause)
        rest += " " + clause[end:]
        for name, equals, value in (part.partition("=") for part in parts):
            if equals and name.strip() == kind.column:
                values.append(value.strip())
    return values, before + rest


def split(clause: str) -> tuple[list[str], int]:
    """The assignments of a SET clause, and where it ends: at the first FROM, WHERE, RETURNING or bracket outside of brackets."""
    depth, begin, parts = 0, 0, []
    for match in re.finditer(r"[(),]|\b(?:FROM|WHERE|RETURNING)\b", clause):
        if match[0] == "(":
            depth += 1
        elif match[0] == ")" and depth:
            depth -= 1
        elif not depth:
            parts.append(clause[begin : match.start()])
            begin = match.end()
            if match[0] != ",":
                return parts, match.start()
    return [*parts, clause[begin:]], len(clause)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.table for kind in KINDS])
def test_each_statement_moves_as_its_contract_and_the_table_say(kind: Kind) -> None:
    wrong, known = [], {str(name) for name in kind.moves}
    for _, one in statements():
        (values, rest), moves = assigned(one.text, kind), told(one.contract, kind.line)
        if bool(values) != bool(moves):
            wrong.append(f"{one.name}: it sets {values}, and its contract says {sorted(moves)}")
        if not values:
            continue
        if extra := moves - arrows(kind.moves):
            wrong.append(f"{one.name}: the table has no {sorted(extra)}")
        targets = {
            name for value in values for name in re.findall(r"(?:^|\bTHEN |\bELSE )'(\w+)'", value) if name in known
        }
        conditions = rest + " ".join(values)
        sources = {
            name
            for condition in re.findall(rf"\b{kind.column} (?:=|IN) (\(?'[\w', ]+'\)?)", conditions)
            for name in re.findall(r"\w+", condition)
            if name in known
        }
        before, after = {a for a, _ in moves}, {b for _, b in moves}
        if any("%(" in value for value in values):
            targets |= after
        if not (targets - sources <= after <= targets):
            wrong.append(f"{one.name}: it sets {sorted(targets)}, and its contract says {sorted(after)}")
        if sources and not before <= sources:
            wrong.append(f"{one.name}: it looks for {sorted(sources)}, and its contract says {sorted(before)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.table for kind in KINDS])
def test_each_move_of_the_table_is_made_by_a_statement(kind: Kind) -> None:
    made = {move for _, one in statements() for move in told(one.contract, kind.line)}
    assert arrows(kind.moves) - made == set()


def test_the_picture_of_a_fetch_is_the_table() -> None:
    drawn = set(
        re.findall(r"^    ([A-Z]+) --> ([A-Z]+):", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    )
    assert drawn == arrows(stages.MOVES)


def test_what_fails_fetches_does_so_from_a_stage_that_may_fail() -> None:
    """`ending.fail` takes the stages as a parameter: each caller names them, and together they are those of its contract."""
    named = set()
    for path in files("py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "fail_fetches(" in text else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "fail_fetches":
                (passed,) = [word.value for word in node.keywords if word.arg == "stages"]
                assert isinstance(passed, ast.Tuple), f"{path}:{node.lineno}"
                named |= {ast.unparse(one).removeprefix("Stage.").strip("'\"") for one in passed.elts}
    (contract,) = [one.contract for _, one in statements() if one.name == "fetches/ending.fail"]
    # What failed already may fail again, for another reason.
    assert named - {"FAILED"} == {before for before, _ in told(contract, "Stages")}
