"""Statements in `.sql` files, by name: each with its contract, and with the type of its rows.

The file `fetches.sql` beside `fetches.py` holds that module's statements:

    -- fragment: columns
    id, platform, flow, status

    -- name: end
    -- Ends requests that nobody waits for any more.
    -- Parameters: ids (bigint[]), status (text).
    -- Locks: the requests, in the order of their ids.
    -- No row: all of them had ended before; nothing is to be done.
    UPDATE scrape_request_log SET status = %(status)s WHERE id = ANY(%(ids)s) RETURNING {{columns}}

and the module binds it with `END = SQL("end", Ended)`, where `Ended` has the columns as its fields (a NamedTuple, a msgspec struct or a
dataclass), or, of a statement with one column, is the type of that column. `{{intake.columns}}` is the fragment of another file in the same
directory, and `{{fetches/lanes.known}}` of one in another directory beside it. `{table}` is a name that the module gives
when it binds the statement. `tests/integration/database/test_statements.py` holds the
files against this form and the types against the database.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

if TYPE_CHECKING:
    from psycopg import AsyncCursor, Cursor

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_PART = re.compile(r"^-- (name|fragment): (\w+)$", re.MULTILINE)
_FRAGMENT = re.compile(r"\{\{(?:([\w/]+)\.)?(\w+)\}\}")
_COMMENT = re.compile(r"(^|\s+)--(\s.*)?$")

LOADED: list["Statement[Any]"] = []
"""Every statement that a module has bound."""


class Statement(Generic[R_co]):
    """One statement. `row`: the type of its rows, None where it gives none."""

    __slots__ = ("_fields", "_known", "_make", "contract", "name", "row", "sent", "text")

    def __init__(self, name: str, contract: str, text: str, row: type[R_co] | None) -> None:
        self.name, self.contract, self.text, self.row = name, contract, text, row
        self.sent = text.encode()
        self._known = False
        self._fields = None if row is None else _fields(row)
        self._make: Callable[[Sequence[Any]], Any] = tuple if row is None else _maker(row, self._fields)

    @property
    def is_scalar(self) -> bool:
        return self.row is not None and self._fields is None

    def rows(self, cursor: "AsyncCursor[Any] | Cursor[Any]") -> Callable[[Sequence[Any]], R_co]:
        """A row factory of psycopg. Raises TypeError where the columns are not those of the type."""
        if not self._known and cursor.description is not None:
            self._check([column.name for column in cursor.description])
            self._known = True
        return self._make

    def _check(self, columns: Sequence[str]) -> None:
        fields = list(columns[:1]) if self.is_scalar else list(self._fields or ())
        if list(columns) != fields:
            raise TypeError(f"the statement {self.name} gives the columns {list(columns)}, its type has {fields}")

    def __repr__(self) -> str:
        return f"<statement {self.name}>"


def _fields(row: type[Any]) -> tuple[str, ...] | None:
    """The names of the columns; None of a type that is one column's."""
    if dataclasses.is_dataclass(row):
        return tuple(field.name for field in dataclasses.fields(row))
    found: tuple[str, ...] | None = getattr(row, "_fields", None) or getattr(row, "__struct_fields__", None)
    return found


def _maker(row: type[R], fields: tuple[str, ...] | None) -> Callable[[Sequence[object]], R]:
    """What makes a row of the values of its columns."""
    if fields is None:
        return _first
    if issubclass(row, tuple):
        # As `_make`, which would count the columns of each row once more.
        return partial(tuple.__new__, row)
    if not _by_name(row):
        return lambda values: row(*values)
    return lambda values: row(**dict(zip(fields, values, strict=True)))


def _by_name(row: type[Any]) -> bool:
    """Whether its fields are given by their names alone."""
    return any(one.kind is one.KEYWORD_ONLY for one in inspect.signature(row).parameters.values())


def _first(values: Sequence[Any]) -> Any:
    return values[0]


class Composed(Statement[R_co]):
    """A statement that a module puts together when it runs, of names that no parameter carries: a platform's tables and columns.

    `make`: makes a row of the values of `columns`, where a platform declares the columns too."""

    __slots__ = ()

    @overload
    def __init__(self: "Composed[None]", name: str, text: str, row: None = None) -> None: ...
    @overload
    def __init__(
        self,
        name: str,
        text: str,
        row: type[R_co],
        *,
        columns: Sequence[str] = (),
        make: Callable[[Sequence[object]], R_co] | None = None,
    ) -> None: ...

    def __init__(
        self,
        name: str,
        text: str,
        row: type[R_co] | None = None,
        *,
        columns: Sequence[str] = (),
        make: Callable[[Sequence[object]], R_co] | None = None,
    ) -> None:
        super().__init__(name, "", text, row)
        if make is not None:
            self._fields, self._make = tuple(columns), make


class Statements:
    """The statements of the file beside `module`, a path: `SQL = Statements(__file__)`."""

    def __init__(self, module: str) -> None:
        self.path = Path(module).with_suffix(".sql")
        self._contracts: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._fragments: dict[str, str] = {}
        _, *parts = _PART.split(self.path.read_text())
        for kind, name, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            if name in self._fragments or name in self._texts:
                raise ValueError(f"{self.path.name} has two parts that are called {name}")
            contract, text = _divided(body)
            text = _FRAGMENT.sub(lambda found: self.fragment(found[2], found[1]), text)
            if kind == "fragment":
                self._fragments[name] = text
            else:
                self._contracts[name], self._texts[name] = contract, text

    def fragment(self, name: str, file: str | None = None) -> str:
        """A fragment's text; `file`: of another file in the same directory, or, with the directory's name, in one beside it."""
        if file is None:
            return self._fragments[name]
        path = self.path.parent.parent / file if "/" in file else self.path.parent / file
        return Statements(str(path)).fragment(name)

    @property
    def names(self) -> list[str]:
        return list(self._texts)

    @overload
    def __call__(self, name: str, row: None = None, **names: str) -> Statement[None]: ...
    @overload
    def __call__(self, name: str, row: type[R], **names: str) -> Statement[R]: ...

    def __call__(self, name: str, row: type[Any] | None = None, **names: str) -> Statement[Any]:
        """Bind a statement. `names`: of tables and columns that the text has in braces, for statements of one shape. Raises KeyError where
        the file has none of this name, ValueError for what is no name."""
        text, called = self._texts[name], f"{self.path.parent.name}/{self.path.stem}.{name}"
        for place, value in names.items():
            if not value.isidentifier() or f"{{{place}}}" not in text:
                raise ValueError(f"{called} has no place {place} for {value!r}")
            text = text.replace(f"{{{place}}}", value)
        statement = Statement(" ".join((called, *names.values())), self._contracts[name], text, row)
        LOADED.append(statement)
        return statement


def _divided(body: str) -> tuple[str, str]:
    """The comment at the head of a part, and its statement without comments and indentation: psycopg keeps what it parsed of a statement of
    at most 4,096 characters."""
    lines = body.strip().splitlines()
    head = 0
    while head < len(lines) and lines[head].startswith("--"):
        head += 1
    contract = "\n".join(line.removeprefix("--").strip() for line in lines[:head])
    stripped = (_COMMENT.sub("", line).strip() for line in lines[head:])
    return contract, "\n".join(line for line in stripped if line)
