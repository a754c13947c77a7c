"""Cursors: where a page ended, in a form that nobody needs to understand. They are not signed, so each is checked as any input is."""

import base64
from datetime import datetime
from typing import Annotated, TypeVar

import msgspec

from beat_actors.errors import BadInput
from beat_actors.moments import in_utc

T = TypeVar("T", bound=msgspec.Struct)

MAX_LENGTH = 4_000
RowId = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""The number of a row, as a PostgreSQL bigint holds it."""


class Before(msgspec.Struct, frozen=True, array_like=True):
    """Of a list in descending order of its rows' numbers: the last row of the page."""

    id: RowId


def write(position: msgspec.Struct) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def read(text: str, kind: type[T], *, field: str = "cursor") -> T:
    """The position of this kind that a cursor is: with the ranges of its type, times in UTC, and text that PostgreSQL can hold.

    Raises `BadInput`.
    """
    if len(text) <= MAX_LENGTH:
        try:
            position = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=kind)
            return _with_values_that_exist(position)
        except (ValueError, BadInput):  # ValueError: also what base64 and msgspec raise
            pass
    raise BadInput(f"this {field} is not one that a page gave", field=field)


def _with_values_that_exist(position: T) -> T:
    changed: dict[str, datetime] = {}
    for name in position.__struct_fields__:
        value = getattr(position, name)
        if isinstance(value, datetime):
            changed[name] = in_utc(value, name)
        elif isinstance(value, str) and "\0" in value:
            raise ValueError("PostgreSQL holds no NUL")
    return msgspec.structs.replace(position, **changed) if changed else position
