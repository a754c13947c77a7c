"""The hours and days in which a sink gets notifications."""

from datetime import datetime

import pytest

from beat_actors.errors import BadInput
from beat_actors.notify.hours import check_window, is_open


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("hours", "days", "zone", "moment", "wanted"),
    [
        (None, None, "UTC", "2026-11-30T03:00:00+00:00", True),
        ("8-18", None, "UTC", "2026-11-30T08:00:00+00:00", True),
        ("8-18", None, "UTC", "2026-11-30T17:59:59+00:00", True),
        ("8-18", None, "UTC", "2026-11-30T18:00:00+00:00", False),
        ("0-24", None, "UTC", "2026-11-30T23:59:59+00:00", True),
        # Monday, 30 November
        ("22-6", "mon", "UTC", "2026-11-30T23:00:00+00:00", True),
        ("22-6", "mon", "UTC", "2026-12-01T05:59:00+00:00", True),
        ("22-6", "mon", "UTC", "2026-12-01T23:00:00+00:00", False),
        ("22-6", "mon", "UTC", "2026-11-30T05:00:00+00:00", False),
        (None, "sat-mon", "UTC", "2026-11-30T12:00:00+00:00", True),
        (None, "sat-mon", "UTC", "2026-12-01T12:00:00+00:00", False),
        (None, "tue,thu", "UTC", "2026-12-03T12:00:00+00:00", True),
        # 23:30 UTC on Sunday is Monday in Berlin
        (None, "mon", "Europe/Berlin", "2026-11-29T23:30:00+00:00", True),
        # New York leaves summer time on 1 November 2026: 8:00 is 12:00 UTC before, and 13:00 UTC after
        ("8-18", None, "America/New_York", "2026-10-31T12:00:00+00:00", True),
        ("8-18", None, "America/New_York", "2026-11-02T12:00:00+00:00", False),
        ("8-18", None, "America/New_York", "2026-11-02T13:00:00+00:00", True),
    ],
)
def test_a_sink_gets_notifications_in_its_hours(
    hours: str | None, days: str | None, zone: str, moment: str, *, wanted: bool
) -> None:
    check_window(hours, days, zone)
    assert is_open(hours, days, zone, at(moment)) is wanted


@pytest.mark.parametrize(
    ("hours", "days", "zone", "field"),
    [
        ("8", None, "UTC", "hours"),
        ("8-8", None, "UTC", "hours"),
        ("8-25", None, "UTC", "hours"),
        ("24-6", None, "UTC", "hours"),
        (None, "monday", "UTC", "days"),
        (None, "mon-", "UTC", "days"),
        (None, "", "UTC", "days"),
        (None, None, "Mars/Olympus", "timezone"),
        (None, None, "../etc/passwd", "timezone"),
    ],
)
def test_what_is_no_window_is_refused(hours: str | None, days: str | None, zone: str, field: str) -> None:
    with pytest.raises(BadInput) as refused:
        check_window(hours, days, zone)
    assert refused.value.field == field
