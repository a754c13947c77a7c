"""The hours and days of a week in which a sink gets notifications. Pure."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from beat_actors.errors import BadInput

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"([01]?\d|2[0-3])-([01]?\d|2[0-4])")


def check_window(hours: str | None, days: str | None, timezone: str) -> None:
    """Raises `BadInput`."""
    if hours is not None:
        _between(hours)
    if days is not None:
        _days(days)
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput(
            f"there is no time zone {timezone[:80]!r}; give one such as Europe/Berlin", field="timezone"
        ) from None


def is_open(hours: str | None, days: str | None, timezone: str, now: float) -> bool:
    """Whether the window contains the time `now` (epoch seconds). Hours that pass midnight, such as `22-6`, belong to the day on which they begin."""
    local = datetime.fromtimestamp(now, ZoneInfo(timezone))
    wanted = set(range(7)) if days is None else _days(days)
    today, yesterday = local.weekday(), (local - timedelta(days=1)).weekday()
    if hours is None:
        return today in wanted
    begin, end = _between(hours)
    if begin < end:
        return begin <= local.hour < end and today in wanted
    return (local.hour >= begin and today in wanted) or (local.hour < end and yesterday in wanted)


def _between(hours: str) -> tuple[int, int]:
    found = _HOURS.fullmatch(hours)
    if found is None or int(found[1]) == int(found[2]):
        raise BadInput("hours are from-to, such as 8-18 or 22-6", field="hours")
    return int(found[1]), int(found[2])


def _days(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = (word.strip() for word in part.partition("-"))
        if first not in DAYS or (last and last not in DAYS) or part.strip().endswith("-"):
            raise BadInput("days are such as mon-fri or mon,wed,fri", field="days")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found |= {day % 7 for day in range(begin, end + 1 if begin <= end else end + 8)}
    return found
