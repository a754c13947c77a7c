"""What parsers of every platform read with: typed decoding with the path of what is wrong, counts, texts, times."""

import math
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from beat_actors.errors import Malformed

T = TypeVar("T")
Id = int | str
Count = int | float | str | None
Time = int | float | str | None
Flag = bool | int | None
NOT_JSON = r"\A(?!\s*[\[{])"
"""What an error's body begins with that is no JSON, for an error table: a page, a line of text, or nothing."""
DIGITS = re.compile(r"-?[0-9]{1,40}")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A later time in seconds lies beyond the year 5138: it is told in milliseconds, or in microseconds.
LATEST = 10**11
MARKS = "".join(char for char in map(chr, range(0x300, 0x1_E000)) if unicodedata.category(char) in ("Mn", "Mc"))
WORD = rf"\w{MARKS}"
"""What stands in a character class for the letters and digits of every script, with the marks that many scripts write words with."""
UNTEXT = re.compile("[\0\ud800-\udfff]")


def decoder(shape: type[T]) -> Callable[[bytes], T]:
    """A typed decoder straight from bytes, with or without a byte order mark.

    Raises `Malformed` with the path of the key that is missing or of another type.
    """
    decode = msgspec.json.Decoder(shape).decode

    def read(body: bytes) -> T:
        try:
            return decode(body.removeprefix(BYTE_ORDER_MARK))
        except msgspec.ValidationError as error:
            raise Malformed(str(error), path=_path(str(error))) from None
        except RecursionError:
            raise Malformed("the answer is nested too deeply") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            start = body[:40].decode("utf-8", "replace").strip()
            raise Malformed(f"the answer is not JSON; it begins with {start!r}") from None

    return read


def count(value: Count, path: str) -> int | None:
    """A count, or `None` where it is hidden. Raises `Malformed` for what is no count."""
    if value is None or value == "":
        return None
    number = whole(value)
    if number is None:
        raise Malformed(f"{value!r} is not a count", path=path)
    if not 0 <= number < 2**63:
        raise Malformed(f"a count of {number} cannot be", path=path)
    return number


def whole(value: Count) -> int | None:
    """A whole number, told as one, as its digits, or with nothing behind the point."""
    if isinstance(value, str):
        return int(value) if DIGITS.fullmatch(value) else None
    return None if value is None or value != value // 1 else int(value)


def flag(value: Flag) -> bool | None:
    """Yes or no, which some answers say as 1 or 0."""
    return bool(value) if value in (0, 1) else None


def text(value: str | None) -> str | None:
    """Text that every store can hold; NUL and lone surrogates become U+FFFD."""
    if not value:
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return UNTEXT.sub("�", value)
    return value.replace("\0", "�")


def composed(value: str) -> str:
    """Text in one of the forms in which its letters may be composed (NFC)."""
    return unicodedata.normalize("NFC", value)


def name(value: str) -> str:
    """A name as it is kept and compared: in small letters, and in one of the forms in which its letters may be composed (NFC)."""
    return composed(value.lower())


def instant(value: Time) -> datetime | None:
    """Seconds, milliseconds or microseconds since the epoch, or an ISO time with its zone, as a time in UTC."""
    try:
        if isinstance(value, str) and not DIGITS.fullmatch(value):
            parsed = datetime.fromisoformat(value)
            return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
        number = int(value or 0)
        for _ in range(2):
            number = number // 1000 if number >= LATEST else number
        return datetime.fromtimestamp(number, UTC) if number else None
    except (ValueError, OverflowError, OSError):
        return None


def duration(value: Count) -> float | None:
    """Seconds; a picture has none, and some providers say 0 then."""
    try:
        seconds = float(value or 0)
    except (ValueError, OverflowError):
        return None
    return seconds if 0 < seconds < math.inf else None


def timestamp(value: str | None, path: str) -> datetime | None:
    """An ISO time, in UTC where it names no zone. Raises `Malformed` for what is no time."""
    try:
        found = datetime.fromisoformat(value) if value else None
    except ValueError:
        raise Malformed(f"{value!r} is not a time", path=path) from None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)


def _path(message: str) -> str:
    found = re.search(r"at `(\$[^`]*)`", message)
    missing = re.search(r"missing required field `([^`]+)`", message)
    path = found.group(1) if found else "$"
    return f"{path}.{missing.group(1)}" if missing else path
