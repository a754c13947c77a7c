"""The Graph API's field syntax: `a,b.mod(x).limit(5){c,d{e}}`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

TOKEN = re.compile(r"\s*(?:(\w+)|\.(\w+)\(([^)]*)\)|([{},]))")


class BadFields(ValueError):
    """The expression does not read. The message is fit for the provider's error body."""


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    modifiers: Mapping[str, str]
    children: tuple["Field", ...]


DISCOVERY = re.compile(r"(business_discovery)\.(username)\(([^)]*)\)\{(.*)\}", re.DOTALL)


def parse_fields(text: str) -> tuple[Field, ...]:
    """Raises `BadFields`."""
    # Each call names another person, and then asks all of them the same: only that part is worth remembering.
    if whole := DISCOVERY.fullmatch(text):
        try:
            return (Field(whole[1], {whole[2]: whole[3]}, _parsed(whole[4])),)
        except BadFields:
            pass  # more than one top-level field, or an error whose place is to be told
    return _parsed(text)


@lru_cache(maxsize=1024)
def _parsed(text: str) -> tuple[Field, ...]:
    fields, end = _list(text, 0)
    if end != len(text):
        raise BadFields(f"Syntax error at character {end}")
    return fields


def _list(text: str, at: int) -> tuple[tuple[Field, ...], int]:
    fields: list[Field] = []
    while True:
        found, at = _field(text, at)
        fields.append(found)
        if at < len(text) and text[at] == ",":
            at += 1
            continue
        return tuple(fields), at


def _field(text: str, at: int) -> tuple[Field, int]:
    token = TOKEN.match(text, at)
    if token is None or token[1] is None:
        raise BadFields(f"Syntax error: expected a field name at character {at}")
    name, modifiers, at = token[1], {}, token.end()
    while (token := TOKEN.match(text, at)) is not None and token[2] is not None:
        modifiers[token[2]] = token[3]
        at = token.end()
    children: tuple[Field, ...] = ()
    if at < len(text) and text[at] == "{":
        children, at = _list(text, at + 1)
        if at >= len(text) or text[at] != "}":
            raise BadFields(f"Syntax error: expected '}}' at character {at}")
        at += 1
    return Field(name, modifiers, children), at
