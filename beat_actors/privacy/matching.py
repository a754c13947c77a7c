"""Whether a text names a person, and the text without that. Pure: patterns over strings, bytes and JSON values.

An identifier that is distinct (long, or with digits or signs) is found wherever it stands as a word. A short word, as the handle `anna`, is only found where
it is the whole text, or where a mention or an address shows that it is a handle: `@anna`, `/anna`, `=anna`. Everything else would erase other people's words.
"""

import json
import re
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import TypeAlias, cast
from urllib.parse import quote

ERASED = "[erased]"
DISTINCT, DISTINCT_WORD = 6, 8
"""Characters from which on an identifier is distinct: one of digits alone or with other signs, and one of letters alone."""

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_SIGN = re.compile(r"[!-/:-@\[-^`{-~ ]")
# Where a URL or JSON has a sign in another spelling, its last character is a letter or digit.
_SPELT = r"(?<=%40)|(?<=%2F)|(?<=%3A)|(?<=%3D)|(?<=%22)|(?<=\\n)|(?<=\\t)|(?<=\\r)"
_BEFORE = rf"(?:{_SPELT}|(?<![A-Za-z0-9_])(?<![A-Za-z0-9_]\.))"
_AFTER = r"(?![A-Za-z0-9_]|\.[A-Za-z0-9_])"
_MARKED = r"(?:(?<=%40)|(?<=%2F)|(?<=%3D)|(?<=[@/:=]))"


def is_distinct(identifier: str) -> bool:
    if identifier.isalpha():
        return len(identifier) >= DISTINCT_WORD
    return len(identifier) >= DISTINCT


def spellings(identifier: str) -> set[str]:
    """The identifier as texts, JSON and URLs have it."""
    return {identifier, json.dumps(identifier)[1:-1], quote(identifier, safe="")}


def _pattern(identifier: str) -> str:
    spelt = "|".join(sorted(map(re.escape, spellings(identifier)), key=len, reverse=True))
    if identifier.isdigit() and is_distinct(identifier):
        # Ids are joined with others by any sign, also by _.
        return f"(?<![0-9])(?:{spelt})(?![0-9])"
    if is_distinct(identifier):
        return f"{_BEFORE}(?:{spelt}){_AFTER}"
    return rf"(?:\A@?(?:{spelt})\Z|{_MARKED}(?:{spelt}){_AFTER})"


def _quoted(identifier: str) -> bytes:
    """In the bytes of an answer a short word also counts as the whole text of a JSON value."""
    spelt = "|".join(sorted(map(re.escape, spellings(identifier)), key=len, reverse=True))
    if is_distinct(identifier):
        return spelt.encode()
    return f'(?:"@?(?:{spelt})"|{_MARKED}(?:{spelt}){_AFTER})'.encode()


class Matcher:
    """Finds the identifiers of one person. `ids` are compared as they are, `names` without regard to case."""

    def __init__(self, ids: Collection[str], names: Collection[str]) -> None:
        self.ids = frozenset(ids)
        self.names = frozenset(name.lower().removeprefix("@") for name in names)

    @cached_property
    def _text(self) -> re.Pattern[str]:
        exact = [_pattern(each) for each in sorted(self.ids)]
        loose = [f"(?i:{_pattern(each)})" for each in sorted(self.names)]
        return re.compile("|".join((*exact, *loose)))

    @cached_property
    def _bytes(self) -> re.Pattern[bytes]:
        exact = [_quoted(each) for each in sorted(self.ids)]
        loose = [b"(?i:" + _quoted(each) + b")" for each in sorted(self.names)]
        return re.compile(b"|".join((*exact, *loose)))

    @cached_property
    def sql(self) -> str:
        """A regular expression of PostgreSQL that matches every text that `names` or `redacted` does, and some more, without regard to case."""
        found = {spelt for each in self.ids | self.names for spelt in spellings(each)}
        return "|".join(_SIGN.sub(r"\\\g<0>", each) for each in sorted(found))

    def in_text(self, text: str) -> bool:
        return self._text.search(text) is not None

    def in_payload(self, body: bytes) -> bool:
        """Whether an answer of a provider names the person."""
        return self._bytes.search(body) is not None

    def is_name(self, value: object) -> bool:
        """Whether a column that holds a name holds this person's."""
        return isinstance(value, str) and value.lower().removeprefix("@") in self.names

    def is_id(self, value: object) -> bool:
        return isinstance(value, str) and value in self.ids

    def redacted(self, value: Json) -> Json:
        """The value without the identifiers. The same object where it has none."""
        if isinstance(value, str):
            return self._text.sub(ERASED, value)
        if isinstance(value, list):
            changed = [self.redacted(item) for item in value]
            return changed if changed != value else value
        if isinstance(value, Mapping):
            fields = {cast("str", self.redacted(name)): self.redacted(item) for name, item in value.items()}
            return fields if fields != value else value
        return value
