"""What msgspec says of a value that does not have its type, in the words of JSON: which field is wrong, and what the field may be.

The API, the command line and the flows use it for what people and programs send; parsers of payloads do not.
"""

import re
from functools import lru_cache

import msgspec
from msgspec import inspect

from beat_actors.errors import BadInput

NAMES = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
    "object": "an object",
    "array": "a list",
    "datetime": "a time",
    "date": "a date",
    "bytes": "a base64 string",
}
TIME = "a time with its zone, such as 2030-01-31T12:00:00Z"
_AT = re.compile(r"(?s)(.*) - at `(?:key in )?\$?(.*)`")
_STEP = re.compile(r"\.([^.\[]+)|\[(\.\.\.|\d+)\]")
_BOUND = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


def explained(error: msgspec.ValidationError, shape: object, *, within: str = "", about: str = "") -> BadInput:
    """The error for a value that is not of this type. `within`: the field that holds the value, empty for a whole body. `about`: what asks for it."""
    message, field = _said(error, shape, within)
    return BadInput(f"{about}: {message}" if about else message, field=field)


def _said(error: msgspec.ValidationError, shape: object, within: str) -> tuple[str, str | None]:
    said = _AT.fullmatch(str(error))
    message, path = (said[1], said[2]) if said else (str(error), "")
    place = f"{within}{path}".lstrip(".")
    if known := re.fullmatch(r"Object (missing required|contains unknown) field `(.*)`", message):
        place = f"{place}.{known[2]}".lstrip(".")
        if known[1] == "missing required":
            return f"`{place}` is required", place
        return f"`{place}` is not known; known here: {_fields(shape, path)}", place
    meant = _meant(message, _found(shape, path))
    return (f"`{place}` {meant}", place) if place else (f"the body of the request {meant}", None)


def _meant(message: str, kind: inspect.Type | None) -> str:
    if known := re.fullmatch(r"Expected `(.+)`, got `(.+)`", message):
        return f"must be {_named(known[1])}, not {_named(known[2])}"
    if " matching regex " in message:
        described = _described(kind)
        return f"must be {described}" if described else "does not have the form that it must have"
    if known := re.fullmatch(r"Expected `(.+)` of length (<=|>=|==) (\d+)", message):
        parts = {"str": "characters", "object": "fields"}.get(known[1], "items")
        parts = parts.removesuffix("s") if known[3] == "1" else parts
        return f"must have {_BOUND.get(known[2], 'exactly')} {int(known[3]):,} {parts}"
    if known := re.fullmatch(r"Expected `(.+)` (<=|>=|<|>) (\S+)", message):
        return f"must be {_BOUND[known[2]]} {known[3]}"
    if "RFC3339" in message or "timezone" in message:
        return f"must be {TIME}"
    if known := re.fullmatch(r"Invalid enum value (.+)", message):
        values = getattr(_bare(kind), "values", ())
        return f"must be one of {', '.join(map(str, values))}" if values else f"cannot be {known[1]}"
    return f"is not valid: {message}"


def _named(types: str) -> str:
    return " or ".join(NAMES.get(name, name) for name in types.split(" | "))


@lru_cache(maxsize=256)
def _info(shape: object) -> inspect.Type:
    return inspect.type_info(shape)


def _found(shape: object, path: str) -> inspect.Type | None:
    """The type that the declaration has at a path such as `.items[0].name`."""
    found: inspect.Type | None = _info(shape)
    for name, _ in _STEP.findall(path):
        found = _below(found, name)
    return found


def _below(kind: inspect.Type | None, name: str) -> inspect.Type | None:
    bare = _bare(kind)
    if isinstance(bare, inspect.UnionType):
        return next((below for each in bare.types if (below := _below(each, name)) is not None), None)
    if isinstance(bare, inspect.StructType):
        return next((field.type for field in bare.fields if field.encode_name == name), None)
    if isinstance(bare, inspect.ListType) and not name:
        return bare.item_type
    return bare.value_type if isinstance(bare, inspect.DictType) else None


def _bare(kind: inspect.Type | None) -> inspect.Type | None:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return kind


def _fields(shape: object, path: str) -> str:
    bare = _bare(_found(shape, path))
    structs = bare.types if isinstance(bare, inspect.UnionType) else (bare,)
    names = [field.encode_name for each in structs if isinstance(each, inspect.StructType) for field in each.fields]
    return ", ".join(names) or "nothing"


def _described(kind: inspect.Type | None) -> str | None:
    """What the declaration says of a text's form, in words."""
    if isinstance(kind, inspect.UnionType):
        return next((found for each in kind.types if (found := _described(each))), None)
    return (kind.extra_json_schema or {}).get("description") if isinstance(kind, inspect.Metadata) else None
