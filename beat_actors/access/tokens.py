"""A key as its holder has it: `beat_<prefix>_<secret><checksum>`.

The fixed form lets secret scanners find one that leaked, and its checksum tells it from text that only looks like one. The
prefix names the row. The secret is 256 random bits: nobody guesses it, so its SHA-256 is all that is stored, and a slow hash
would protect nothing and cost 110 ms for every call.
"""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field

PREFIX, SECRET, CHECKSUM = 8, 43, 6
"""43 characters of 62 hold 256 bits, and 6 a CRC-32."""
DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
# A letter first, so that a prefix is never taken for the number of a key.
FORM = re.compile(
    rf"beat_(?P<prefix>[A-Za-z][0-9A-Za-z]{{{PREFIX - 1}}})_[0-9A-Za-z]{{{SECRET}}}(?P<checksum>[0-9A-Za-z]{{{CHECKSUM}}})"
)


@dataclass(frozen=True, slots=True)
class Token:
    """A well-formed token, without its secret. `digest`: SHA-256 of the whole."""

    prefix: str
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Minted:
    """A new token; `text` is shown to its holder once, and kept nowhere."""

    text: str = field(repr=False)
    token: Token


def mint() -> Minted:
    prefix = secrets.choice(string.ascii_letters) + "".join(secrets.choice(DIGITS) for _ in range(PREFIX - 1))
    body = f"beat_{prefix}_{_base62(secrets.randbits(256), SECRET)}"
    text = body + _checksum(body)
    return Minted(text, Token(prefix, _digest(text)))


def parse(text: str) -> Token | None:
    """The token that a text is; `None` where it is not one, which needs no look at any row."""
    found = FORM.fullmatch(text)
    if found is None or _checksum(text[:-CHECKSUM]) != found["checksum"]:
        return None
    return Token(found["prefix"], _digest(text))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECKSUM)


def _base62(number: int, width: int) -> str:
    characters = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        characters.append(DIGITS[digit])
    return "".join(reversed(characters))
