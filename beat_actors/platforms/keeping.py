"""What Beat keeps of a provider's answer. The source declares it, and the answer is cut down to it before any of it is stored.

`only` keeps the fields of a shape, for answers about people whom Beat does not need to know, as the buyers of a store. `without` blanks fields
by their names, for answers of which most is read. The parser reads what is kept in both cases, so that a replay reads the same.
"""

import re
import types
from collections.abc import Callable, Mapping
from typing import Union, get_args, get_origin

import msgspec

Keep = Callable[[bytes], bytes]
"""The body of an answer -> the body that is stored and parsed. Never raises."""
NOTHING = b""


def only(shape: type[msgspec.Struct]) -> Keep:
    """Keep the fields of `shape`, at every depth.

    A value of a wrong type is replaced by an empty value of that type, so that the parser still finds what is wrong and where. Nothing is kept
    of a body that is not JSON.
    """
    cut = _cutter(shape)

    def keep(body: bytes) -> bytes:
        try:
            return msgspec.json.encode(cut(msgspec.json.decode(body)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return NOTHING

    return keep


def without(*names: str) -> Keep:
    """Replace the texts and numbers of fields with these `names` by null, at every depth."""
    spelt = b"|".join(name.encode() for name in sorted(names))
    field = re.compile(rb'("(?:%s)"\s*:\s*)(?:"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*)' % spelt, re.DOTALL)

    def keep(body: bytes) -> bytes:
        return field.sub(rb"\1null", body)

    return keep


def _cutter(kind: object) -> Callable[[object], object]:
    """A function that cuts a value down to the type `kind` of its field."""
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    fields: Mapping[str, Callable[[object], object]] | None = None
    item: Callable[[object], object] | None = None
    for member in members:
        if isinstance(member, type) and issubclass(member, msgspec.Struct):
            fields = {one.encode_name: _cutter(one.type) for one in msgspec.structs.fields(member)}
        elif get_origin(member) is list:
            item = _cutter(get_args(member)[0])
    is_leaf = fields is None and item is None

    def cut(value: object) -> object:
        if isinstance(value, dict):
            return (
                {} if fields is None else {name: fields[name](each) for name, each in value.items() if name in fields}
            )
        if isinstance(value, list):
            return [] if item is None else [item(each) for each in value]
        if isinstance(value, str):
            return value if is_leaf else ""
        return value if is_leaf or value is None else 0

    return cut
