"""Hold the query of a call to what its route declares, before the route runs: names, bounds, words and forms are those of the document."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, get_args

import msgspec
from falcon.asgi import Request

from api.calls import Call
from beat_actors.errors import BadInput

TAG = "tag."
"""What the name of a parameter begins with that filters by a tag."""


def check_query(req: Request, call: Call) -> None:
    """Raises `BadInput` for a parameter that the call does not take, that is given twice, or whose value is not one that is declared."""
    for name, value in req.params.items():
        if call.tagged and name.startswith(TAG) and name != TAG:
            kind: Any = str
        elif name in call.query:
            kind = call.query[name]
        else:
            raise BadInput(f"unknown query parameter {name[:80]!r}; this call takes {_known(call)}", field=name[:80])
        if isinstance(value, list):
            raise BadInput(f"{name} is given {len(value)} times; give it once", field=name)
        _check(name, value, kind)


def words_of(kind: Any) -> list[str]:
    """The words that a parameter may be; empty where it may be any text."""
    return [str(word) for each in _metas(kind) for word in (each.extra_json_schema or {}).get("enum", ())]


def _known(call: Call) -> str:
    names = [*call.query, *(["tag.NAME"] if call.tagged else [])]
    return ", ".join(names) or "no query parameters"


def _metas(kind: Any) -> Iterable[msgspec.Meta]:
    return (each for each in get_args(kind)[1:] if isinstance(each, msgspec.Meta))


def _check(name: str, value: str, kind: Any) -> None:
    if "\0" in value:
        # PostgreSQL holds no NUL in a text, so nothing that is stored has one.
        raise BadInput(f"{name} must not contain NUL", field=name)
    bare = get_args(kind)[0] if get_args(kind) else kind
    if bare is bool and value not in ("true", "false"):
        raise BadInput(f"{name} must be true or false", field=name)
    if bare is datetime and not _is_moment(value):
        raise BadInput(f"{name} must be a time with its zone, such as 2030-01-31T12:00:00Z", field=name)
    if bare is int:
        _check_number(name, value, kind)
    words = words_of(kind)
    if words and value.casefold() not in {word.casefold() for word in words}:
        raise BadInput(f"{name} must be one of {', '.join(words)}", field=name)


def _check_number(name: str, value: str, kind: Any) -> None:
    bounds = [(each.ge, each.le) for each in _metas(kind)]
    least, most = bounds[0] if bounds else (0, 2**63 - 1)
    if not value.isascii() or not value.isdigit() or len(value) > 19 or not (least or 0) <= int(value) <= (most or 0):
        raise BadInput(f"{name} must be a whole number from {least or 0} to {most}", field=name)


def _is_moment(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
