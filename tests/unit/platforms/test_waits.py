"""How long a provider asks to wait, in the forms in which it may say so."""

import pytest

from beat_actors.platforms.instagram import platform
from beat_actors.platforms.interface import Answer, Outcome
from beat_actors.platforms.waits import LONGEST_WAIT, asked_for, reset, seconds

DATE = "Sun, 29 Nov 2026 13:00:00 GMT"


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("120", 120),
        (" 1.5 ", 1.5),
        ("Sun, 29 Nov 2026 13:30:00 GMT", 1800),
        ("Sunday, 29-Nov-26 13:30:00 GMT", 1800),
        ("Sun, 29 Nov 2026 12:30:00 GMT", 0),
        ("2814, 2", 2814),
        ("2, Sun, 29 Nov 2026 13:30:00 GMT", 1800),
        ("٣", None),
        ("-3", None),
        ("1e9", None),
        ("soon", None),
        ("", None),
        ("Sun, 99 Nov 2026 13:30:00 GMT", None),
    ],
)
def test_a_wait_is_a_number_a_date_or_a_list(header: str, wait: float | None) -> None:
    assert asked_for({"retry-after": header, "date": DATE}, b"") == wait


@pytest.mark.parametrize(
    ("body", "wait"),
    [
        (b'{"retry_after": 30}', 30),
        (b'{"error": {"retryDelay": "12.5s"}}', 12.5),
        (b'{"retry_after_ms": 1500}', 1.5),
        (b'{"retryAfter": "1500 ms"}', 1.5),
        ('{"retry_after": "٣"}'.encode(), None),
        (b"{}", None),
    ],
)
def test_a_wait_may_stand_in_the_body(body: bytes, wait: float | None) -> None:
    assert asked_for({}, body) == wait
    assert asked_for({"retry-after": "7"}, body) == 7


def test_a_number_of_seconds_has_ascii_digits_alone() -> None:
    assert [seconds(value) for value in ("5", "0.5", "٣", "³", "1_0", "inf", None)] == [5, 0.5, *[None] * 5]
    assert [reset(value) for value in ("2163603", "1795960800", "x")] == [2_163_603, None, None]


@pytest.mark.parametrize("source", ["arraybobo", "lama", "graphapi"])
def test_a_wait_is_a_day_at_most_and_reported_as_doubtful_beyond(source: str) -> None:
    body = b'{"error": {"code": 4}, "message": "Too many requests"}'
    verdict = platform.sources[source].classify(Answer(429, {"retry-after": "864000000"}, body))
    assert (verdict.outcome, verdict.retry_after) == (Outcome.RATE_LIMITED, LONGEST_WAIT)
    assert "doubtful: it asks to wait 864000000 s" in verdict.detail


def test_a_spent_short_window_of_the_gateway_reports_its_own_reset() -> None:
    def wait(**headers: str) -> float | None:
        answer = Answer(429, {name.replace("_", "-"): value for name, value in headers.items()}, b'{"message": "slow"}')
        return platform.sources["jotucker"].classify(answer).retry_after

    assert wait(x_ratelimit_remaining="0", x_ratelimit_reset="5") == 5
    assert wait(x_ratelimit_remaining="3", x_ratelimit_reset="5") is None
    assert wait(x_ratelimit_remaining="0", x_ratelimit_reset="1009152000") is None


def test_a_reset_that_cannot_be_reports_nothing() -> None:
    headers = {"x-ratelimit-requests-remaining": "7", "x-ratelimit-requests-reset": "1009152000"}
    assert platform.sources["jotucker"].classify(Answer(200, headers, b"{}")).reported is None
