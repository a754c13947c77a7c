"""The structure of a payload as a short name: its keys and the types of its values to a certain depth, and no value. Answers that fail with the same
error and are built differently have different causes: a provider that changed its answer, beside an answer that was always so.
"""

import hashlib
import re
from collections.abc import Iterator

import msgspec

from beat_actors.platforms.reading import BYTE_ORDER_MARK

DEPTH = 4
"""Objects and lists within each other that are looked into; deeper ones are an object or a list."""
KEYS = 100
"""Keys of an object. One with more is a map: its keys are data."""
ITEMS = 50
"""Items that are looked at of a list or a map."""
VALUES = 5000
"""Values that are looked at in all; the rest is left out."""
DATA = re.compile(r"[0-9]{4}|[^0-9A-Za-z_.$-]|.{81}")
"""A key that is data, an id or a name, and not the name of a field."""
SCALARS = {str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
LENGTH = 6
"""Bytes of a name."""


def structure_of(body: bytes) -> str:
    """12 hexadecimal digits. The same for payloads that differ only in values, in the order of keys, or in how many items of the same structure a
    list has. What is no JSON has the name of its kind: nothing, markup, or other text. Raises `MemoryError`."""
    body = body.removeprefix(BYTE_ORDER_MARK)
    try:
        return structure(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        start = body[:100].lstrip()
        return _named("nothing" if not start else "markup" if start.startswith(b"<") else "text")


def structure(value: object) -> str:
    """As `structure_of`, for a value that is decoded already."""
    return _named(_spelt(value, DEPTH, iter(range(VALUES))))


def _spelt(value: object, depth: int, left: Iterator[int]) -> str:
    if isinstance(value, dict):
        return _object(value, depth, left)
    if isinstance(value, list):
        return f"[{_kinds(value, depth, left)}]"
    return SCALARS.get(type(value), "other")


def _object(value: dict[str, object], depth: int, left: Iterator[int]) -> str:
    if len(value) > KEYS:
        return f"{{*:{_kinds([value[key] for key in sorted(value)], depth, left)}}}"
    fields = sorted(key for key in value if not DATA.search(key))
    spelt = [f"{key}:{_inner(value[key], depth, left)}" for key in fields]
    if len(fields) < len(value):
        spelt.append(f"*:{_kinds([value[key] for key in sorted(value.keys() - fields)], depth, left)}")
    return f"{{{','.join(spelt)}}}"


def _kinds(values: list[object], depth: int, left: Iterator[int]) -> str:
    return "|".join(sorted({_inner(one, depth, left) for one in values[:ITEMS]}))


def _inner(value: object, depth: int, left: Iterator[int]) -> str:
    if next(left, None) is None:
        return "..."
    if depth > 1 or not isinstance(value, dict | list):
        return _spelt(value, depth - 1, left)
    return "{}" if isinstance(value, dict) else "[]"


def _named(spelt: str) -> str:
    return hashlib.blake2b(spelt.encode(), digest_size=LENGTH).hexdigest()
