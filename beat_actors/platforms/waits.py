"""How long a provider asks to wait. The time is read from headers and bodies, in each form that is in use, and bounded.

Only ASCII digits are numbers. A date is compared with the answer's own `Date`, so that the clock of this machine does not matter.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_WAIT = 86_400.0
"""Seconds. A provider that asks for more than a day is mistaken: it sent milliseconds, or a date in another century."""
LONGEST_RESET = 32 * 86_400.0
"""Seconds. Every quota begins anew within a month."""
NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")
IN_BODY = re.compile(
    r'"(?:retry_?after|retry_?delay|retry_?in)(_?ms|_?milliseconds)?"\s*:\s*"?([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*(ms\b)?',
    re.IGNORECASE | re.ASCII,
)


def seconds(value: str | None) -> float | None:
    """The number of seconds in a header, or `None` where it is not a number."""
    found = NUMBER.fullmatch((value or "").strip(" \t"))
    return float(found[0]) if found else None


def asked_for(headers: Mapping[str, str], body: bytes) -> float | None:
    """Seconds that the answer asks to wait, not bounded; `None` where it does not ask.

    `Retry-After` is a number of seconds, a date, or a list of them, of which the longest counts. Where the header is missing, a field of the
    body (`retry_after`, `retryDelay`) is read.
    """
    header = headers.get("retry-after")
    if header is None:
        found = IN_BODY.search(body[:4096].decode("utf-8", "replace"))
        return None if found is None else float(found[2]) / (1000 if found[1] or found[3] else 1)
    parts = [_of(part, headers.get("date")) for part in _parts(header)]
    return max((part for part in parts if part is not None), default=None)


def reset(value: str | None) -> float | None:
    """Seconds until a quota begins anew; `None` for a number that cannot be that time."""
    found = seconds(value)
    return found if found is not None and found <= LONGEST_RESET else None


def _parts(header: str) -> list[str]:
    """The members of a list. A comma within a date does not separate members."""
    found: list[str] = []
    for part in header.split(","):
        if found and re.fullmatch(r"\s*[A-Za-z]{3,9}", found[-1]):
            found[-1] = f"{found[-1]},{part}"
        else:
            found.append(part)
    return found


def _of(part: str, date: str | None) -> float | None:
    number = seconds(part)
    if number is not None or not part.isascii():
        return number
    at = _time(part)
    if at is None:
        return None
    now = _time(date) or datetime.now(UTC)
    return max(0.0, (at - now).total_seconds())


def _time(value: str | None) -> datetime | None:
    """An HTTP date, in UTC."""
    try:
        found = parsedate_to_datetime(value or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
