"""Replaces what may be personal in an answer by other words of the same form: the same word by the same word everywhere. Pure.

A word is replaced letter by letter and digit by digit, by a keyed hash of the word. So lengths, case, signs and the form of ids, URLs and handles stay, and what a
parser cuts out of a text is replaced as the word is elsewhere. Kept are counts, times, short numbers, the names of fields, and words that stand in the platform's
source, such as the values that a parser compares with. The key is made for one export and forgotten.
"""

import ast
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

WORD = re.compile(r"[^\W_]+")
TIMES = re.compile(r"(time|date|taken|created|published|updated|expir|_at$|_ts$|At$|duration)", re.IGNORECASE)
COUNT_TEXT = re.compile(r"[\d.,]+ ?[KMBkmb]?")
DURATION = re.compile(r"P(T?\d+[A-Z])+(T?(\d+[A-Z])*)")
TIME_TEXT = re.compile(r"\d{4}-\d{2}-\d{2}([T ][\d:.]+(Z|[+-]\d{2}:?\d{2})?)?")
ID_DIGITS = 7
"""A number with so many digits may be an id. A shorter one is a count or a part of a time."""
IDS = re.compile(r"(^|_)(pk|id|ids|fbid|uid|sid)(_|$)|[a-z](Id|ID|Ids)$|^owner$|^user$|^aweme", re.IGNORECASE)
COMMON = frozenset(
    [
        "http",
        "https",
        "www",
        "com",
        "net",
        "org",
        "html",
        "php",
        "jpg",
        "jpeg",
        "png",
        "webp",
        "heic",
        "mp4",
        "m3u8",
        "true",
        "false",
        "null",
        "none",
    ]
)
LETTERS, DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"


@cache
def words_of_source(package: str) -> frozenset[str]:
    """The words in the texts of a package's source, in small letters: field names, values of enumerations, hosts, paths."""
    found = set(COMMON)
    folder = Path(str(import_module(package).__file__)).parent
    for path in sorted(folder.rglob("*.py")):
        if "simulator" in path.parts or path.name == "simulator.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
                found |= {word.lower() for word in WORD.findall(node.value)}
    return frozenset(found)


class Anonymiser:
    """`key`: of the hash. `kept`: words that are not replaced, in small letters."""

    def __init__(self, key: bytes, kept: frozenset[str]) -> None:
        self._key, self._kept = key, kept
        self._known: dict[str, str] = {}

    def value(self, value: object, name: str = "") -> object:
        """A value of JSON. `name`: of its field."""
        if isinstance(value, dict):
            return {self._name(key): self.value(one, key) for key, one in value.items()}
        if isinstance(value, list):
            return [self.value(one, name) for one in value]
        if isinstance(value, str):
            return self.text(value, name)
        if isinstance(value, int) and not isinstance(value, bool):
            return self._number(value, name)
        return value

    def params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.value(value, name) for name, value in params.items()}

    def text(self, text: str, name: str = "") -> str:
        if TIMES.search(name) and not IDS.search(name):
            return text if not WORD.search(re.sub(r"\d|[TZPHMS]", "", text)) else WORD.sub(self._word, text)
        if COUNT_TEXT.fullmatch(text) and sum(map(str.isdigit, text)) < ID_DIGITS:
            return text
        if TIME_TEXT.fullmatch(text) or DURATION.fullmatch(text):
            return text
        if text.startswith(("{", "[")):
            return text if text in ("{}", "[]") else WORD.sub(self._word, text)
        return WORD.sub(self._word, text)

    def _number(self, value: int, name: str) -> int:
        if abs(value) < 10 ** (ID_DIGITS - 1) or not IDS.search(name):
            return value
        return int(self._replaced(str(abs(value))))

    def _name(self, name: str) -> str:
        """A field of an answer; where a table is keyed by ids, the id."""
        return self._replaced(name) if name.isdecimal() and len(name) >= ID_DIGITS else name

    def _word(self, found: re.Match[str]) -> str:
        word = found[0]
        if word.lower() in self._kept or (word.isdecimal() and len(word) < ID_DIGITS):
            return word
        return self._replaced(word)

    def _replaced(self, word: str) -> str:
        """The same form, other letters. A word and the same in another case are replaced alike."""
        known = self._known.get(word)
        if known is None:
            known = "".join(self._letters(word))
            if len(self._known) < 100_000:
                self._known[word] = known
        return known

    def _letters(self, word: str) -> list[str]:
        length = len(word)
        stream = hashlib.shake_128(self._key + word.lower().encode()).digest(length)
        found = []
        for place, (letter, byte) in enumerate(zip(word, stream, strict=True)):
            if letter.isdecimal():
                # An id begins with another digit than 0, as before.
                found.append(DIGITS[1 + byte % 9] if place == 0 else DIGITS[byte % 10])
            else:
                other = LETTERS[byte % 26]
                found.append(other.upper() if letter.isupper() else other)
        return found
