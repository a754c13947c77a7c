"""The statements in `.sql` files: each has its contract, is used, and gives rows of the type that its module says."""

import ast
import importlib
import pkgutil
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
import psycopg
import pytest
from psycopg.pq import ExecStatus

import actors
import api
import beat_actors
import scheduler
from beat_actors.database.sql import LOADED, Statement, Statements
from beat_actors.settings import Settings

ROOT = Path(beat_actors.__file__).parent.parent
FILES = sorted(
    path for package in ("beat_actors", "actors", "api", "scheduler") for path in (ROOT / package).rglob("*.sql")
)
PARAMETER = re.compile(r"%\((\w+)\)[sbt]")
"""A parameter; those without a name are not for statements in files."""
TYPES: dict[str, tuple[type[Any], ...]] = {
    "bool": (bool,),
    "int2": (int,),
    "int4": (int,),
    "int8": (int,),
    "oid": (int,),
    "float8": (float,),
    "float4": (float,),
    "text": (str,),
    "varchar": (str,),
    "name": (str,),
    "uuid": (UUID,),
    "bytea": (bytes,),
    "date": (date,),
    "interval": (timedelta,),
    "timestamptz": (datetime,),
    "jsonb": (dict, list, str, int, float, bool),
    "json": (dict, list, str, int, float, bool),
}
"""What Python makes of each type of PostgreSQL's."""
LOCKS = re.compile(r"\b(UPDATE|INSERT INTO|DELETE FROM|FOR (NO KEY UPDATE|UPDATE|SHARE)|pg_advisory\w*lock)\b")


def import_everything() -> None:
    for package in (beat_actors, actors, api, scheduler):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if (
                ".migrations." not in found.name
                and not found.name.endswith("__main__")
                and binds_statements(found.name)
            ):
                importlib.import_module(found.name)


def binds_statements(module: str) -> bool:
    path = ROOT.joinpath(*module.split("."))
    return path.with_suffix(".py").exists() and path.with_suffix(".sql").exists()


def bound() -> list[Statement[Any]]:
    import_everything()
    return list(LOADED)


def in_files() -> list[tuple[Path, str]]:
    return [(path, name) for path in FILES for name in Statements(str(path)).names]


def test_every_file_lies_beside_its_module_and_every_statement_is_bound_by_it() -> None:
    for path in FILES:
        module = path.with_suffix(".py")
        assert module.exists(), f"{path.relative_to(ROOT)} has no module beside it"
        named = {node.value for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Constant)}
        unused = [name for name in Statements(str(path)).names if name not in named]
        assert not unused, f"{module.relative_to(ROOT)} binds none of {unused}"


def test_every_statement_has_its_contract() -> None:
    """What it is for; each parameter by name; what it locks; what no row means."""
    lacking = []
    for path in FILES:
        statements = Statements(str(path))
        for name in statements.names:
            one = statements(name)
            LOADED.remove(one)
            where = f"{path.relative_to(ROOT)}: {name}"
            if not one.contract:
                lacking.append(f"{where} has no contract")
            if "%s" in one.text.replace("%%", ""):
                lacking.append(f"{where} has a parameter without a name")
            told = one.contract.partition("Parameters:")[2]
            lacking += [
                f"{where} does not say what {parameter} is"
                for parameter in sorted(set(PARAMETER.findall(one.text)))
                if not re.search(rf"\b{parameter}\b", told)
            ]
            if LOCKS.search(one.text) and "Locks:" not in one.contract:
                lacking.append(f"{where} does not say what it locks")
            if " WHERE " in f" {one.text} ".replace("\n", " ") and "No row:" not in one.contract:
                lacking.append(f"{where} does not say what no row means")
    assert not lacking, "\n".join(lacking)


@pytest.fixture(scope="module")
def statements() -> list[Statement[Any]]:
    return bound()


def test_the_rows_of_every_statement_are_of_its_type(settings: Settings, statements: list[Statement[Any]]) -> None:
    """PostgreSQL is asked for the columns and their types, of each statement, without running it."""
    wrong = []
    with psycopg.connect(str(settings.database_url), autocommit=True) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        kinds = {
            oid: (name, element)
            for oid, name, element in connection.execute(
                "SELECT t.oid::integer, t.typname, e.typname FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'"
            )
        }
        for statement in statements:
            try:
                columns = described(connection, statement)
            except psycopg.Error as error:
                wrong.append(f"{statement.name}: {error}")
                continue
            wrong += [f"{statement.name}: {fault}" for fault in faults(statement, columns, kinds)]
    assert not wrong, "\n".join(wrong)


def described(connection: "psycopg.Connection[Any]", statement: Statement[Any]) -> list[tuple[str, int]]:
    """The statement's columns, (name, oid of the type)."""
    order = list(dict.fromkeys(PARAMETER.findall(statement.text)))
    text = PARAMETER.sub(lambda found: f"${order.index(found[1]) + 1}", statement.text).replace("%%", "%")
    prepared = connection.pgconn.prepare(b"", text.encode())
    if prepared.status != ExecStatus.COMMAND_OK:
        raise psycopg.ProgrammingError(prepared.error_message.decode())
    result = connection.pgconn.describe_prepared(b"")
    return [((result.fname(i) or b"").decode(), result.ftype(i)) for i in range(result.nfields)]


def faults(
    statement: Statement[Any], columns: list[tuple[str, int]], kinds: dict[int, tuple[str, str | None]]
) -> list[str]:
    if statement.row is None:
        return [f"it gives rows, {[name for name, _ in columns]}, and has no type for them"] if columns else []
    if statement.is_scalar:
        wanted = {columns[0][0]: statement.row} if columns else {}
    else:
        wanted = get_type_hints(statement.row)
    if [name for name, _ in columns] != list(wanted):
        return [f"the columns are {[name for name, _ in columns]}, the fields {list(wanted)}"]
    return [
        f"{name} is {kinds[oid][0]}, its field {wanted[name]}"
        for name, oid in columns
        if not fits(wanted[name], *kinds[oid])
    ]


def fits(hint: Any, kind: str, element: str | None) -> bool:
    options = (
        [one for one in get_args(hint) if one is not type(None)] if get_origin(hint) in (Union, UnionType) else [hint]
    )
    if element is not None:
        return all(
            one is list or (get_origin(one) is list and fits(get_args(one)[0], element, None)) for one in options
        )
    if kind == "record":
        return True
    may_be = TYPES[kind]
    return all(one in (Any, object) or issubclass(get_origin(one) or one, may_be) for one in options)


def test_the_type_of_a_row_is_held_against_the_columns_when_a_statement_first_runs() -> None:
    statement = Statement("a.b", "", "SELECT 1 AS x", int)
    assert statement.is_scalar

    class Cursor:
        description = (type("Column", (), {"name": "x"}), type("Column", (), {"name": "y"}))

    with pytest.raises(TypeError, match=r"the statement a\.b gives the columns \['x', 'y'\]"):
        statement.rows(Cursor())  # type: ignore[arg-type]


class Pair(msgspec.Struct, kw_only=True):
    x: int
    y: str


@dataclass(frozen=True)
class Other:
    x: int
    y: str


def test_a_row_may_be_a_struct_or_a_dataclass() -> None:
    class Cursor:
        description = (type("Column", (), {"name": "x"}), type("Column", (), {"name": "y"}))

    for row in (Pair, Other):
        statement = Statement[Any]("a.b", "", "SELECT 1 AS x, 'a' AS y", row)
        assert not statement.is_scalar
        assert statement.rows(Cursor())((1, "a")) == row(x=1, y="a")  # type: ignore[arg-type]


def test_a_file_may_name_a_fragment_of_another(tmp_path: Path) -> None:
    (tmp_path / "one.sql").write_text("-- fragment: own\nid, platform\n")
    (tmp_path / "other.sql").write_text("-- name: all\n-- All of them.\nSELECT {{one.own}} FROM scrape_fetch\n")
    statement = Statements(str(tmp_path / "other.py"))("all")
    LOADED.remove(statement)
    assert statement.text == "SELECT id, platform FROM scrape_fetch"


def test_a_file_may_name_a_fragment_of_another_directory(tmp_path: Path) -> None:
    for name in ("fetches", "requests"):
        (tmp_path / name).mkdir()
    (tmp_path / "fetches" / "lanes.sql").write_text("-- fragment: known\nl.reasons\n")
    (tmp_path / "requests" / "explain.sql").write_text(
        "-- name: all\n-- All.\nSELECT {{fetches/lanes.known}} FROM lane l\n"
    )
    statement = Statements(str(tmp_path / "requests" / "explain.py"))("all")
    LOADED.remove(statement)
    assert statement.text == "SELECT l.reasons FROM lane l"
