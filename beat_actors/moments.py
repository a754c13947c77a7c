"""Times: those from outside, in UTC and such as every store and reader can hold, and the one form in which people are shown a time."""

from datetime import UTC, datetime

from beat_actors.errors import BadInput

FIRST_YEAR, LAST_YEAR = 2000, 2200
"""Of what is planned. Beyond these PostgreSQL holds times that Python cannot read again."""


def in_utc(value: datetime, name: str) -> datetime:
    """Raises `BadInput` for a time without a zone, or one that is none in UTC."""
    try:
        if value.tzinfo is None:
            raise BadInput(f"{name} needs a time zone, such as 2030-01-31T12:00:00Z", field=name)
        return value.astimezone(UTC)
    except (OverflowError, ValueError):
        raise BadInput(f"{name} is a time that does not exist in UTC", field=name) from None


def planned(value: datetime, name: str) -> datetime:
    """A moment of the years for which anybody plans, in UTC. Raises `BadInput`."""
    at = in_utc(value, name)
    if not FIRST_YEAR <= at.year < LAST_YEAR:
        raise BadInput(f"{name} is a time from {FIRST_YEAR} until before {LAST_YEAR}", field=name)
    return at


def check_ahead(at: datetime | None, name: str) -> None:
    """Raises `BadInput` for a time that has passed."""
    now = datetime.now(UTC)
    if at is not None and at <= now:
        raise BadInput(f"{name} has passed ({moment(at)}; it is {moment(now)}): give a later time, or none", field=name)


def moment(at: datetime) -> str:
    """A time as every text for people has it: in UTC, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
