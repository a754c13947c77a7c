"""Readers for the parsers of all platforms: typed decoding, counts, texts and times. An error has the path of the wrong value. Also the form
of a time in a query."""

import math
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.marks import MARKS

T = TypeVar("T")
Id = int | str
Count = int | float | str | None
Time = int | float | str | None
Flag = bool | int | None
NOT_JSON = r"\A(?!\s*[\[{])"
"""For an error table: matches a body that is not JSON, such as a page, a line of text, or nothing."""
DIGITS = re.compile(r"-?[0-9]{1,40}")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A larger number of seconds lies after the year 5138, so it is one of milliseconds or microseconds.
LATEST = 10**11
WORD = rf"\w{MARKS}"
"""For a character class: the letters and digits of every script, and the marks that many scripts need to write words."""
UNTEXT = re.compile("[\0\ud800-\udfff]")


def decoder(shape: type[T]) -> Callable[[bytes], T]:
    """A decoder of bytes into a type, with or without a byte order mark.

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
    """A count, or `None` where it is hidden. Raises `Malformed`."""
    if value is None or value == "":
        return None
    number = whole(value)
    if number is None:
        raise Malformed(f"{value!r} is not a count", path=path)
    if not 0 <= number < 2**63:
        raise Malformed(f"a count of {number} cannot be", path=path)
    return number


def given(value: T | msgspec.UnsetType | None) -> T | None:
    """A value of a payload; `None` also where its key is not there."""
    return None if isinstance(value, msgspec.UnsetType) else value


def silent_on(**fields: tuple[object, ...]) -> tuple[str, ...]:
    """The fields of a record of which a payload does not speak: those of which no key is there. Each is given with the values of its keys."""
    return tuple(name for name, values in fields.items() if all(value is msgspec.UNSET for value in values))


def whole(value: Count) -> int | None:
    """A whole number that the payload has as a number, as text, or with zeros after the point; `None` for any other value."""
    if isinstance(value, str):
        return int(value) if DIGITS.fullmatch(value) else None
    return None if value is None or value != value // 1 else int(value)


def flag(value: Flag) -> bool | None:
    """Yes or no, for which some answers have 1 or 0."""
    return bool(value) if value in (0, 1) else None


def text(value: str | None) -> str | None:
    """Text that every store can hold. NUL and lone surrogates become U+FFFD."""
    if not value:
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return UNTEXT.sub("�", value)
    return value.replace("\0", "�")


def composed(value: str) -> str:
    """Text in the normal form NFC, so that equal texts have equal bytes."""
    return unicodedata.normalize("NFC", value)


def name(value: str) -> str:
    """A name as it is kept and compared: in small letters and in the normal form NFC."""
    return composed(value.lower())


def quoted(value: object) -> str:
    """A value of an answer as an error names it: as JSON has it, and not more of it than a line holds."""
    return "null" if value is None else repr(str(value)[:80])


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
    """Seconds; `None` for a picture, for which some providers have 0."""
    try:
        seconds = float(value or 0)
    except (ValueError, OverflowError):
        return None
    return seconds if 0 < seconds < math.inf else None


def timestamp(value: str | None, path: str) -> datetime | None:
    """An ISO time, which is in UTC where it names no zone. Raises `Malformed`."""
    try:
        found = datetime.fromisoformat(value) if value else None
    except ValueError:
        raise Malformed(f"{value!r} is not a time", path=path) from None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)


def in_seconds(at: datetime | None) -> str | None:
    """A time as providers take it in a query: ISO, in UTC, to the second. None stays None."""
    return None if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _path(message: str) -> str:
    found = re.search(r"at `(\$[^`]*)`", message)
    missing = re.search(r"missing required field `([^`]+)`", message)
    path = found.group(1) if found else "$"
    return f"{path}.{missing.group(1)}" if missing else path
