"""What parsers of every platform read with."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from beat_actors.errors import Malformed
from beat_actors.platforms.reading import count, decoder, flag, in_seconds, instant, name, whole


@pytest.mark.parametrize("value", [1.5, "1_000", "1.5", "1,000", " 7", "+7", "٧", "many", -1, "-1", 2**63, 1e400])
def test_what_is_no_count_is_refused_and_not_rounded(value: Any) -> None:
    with pytest.raises(Malformed) as refused:
        count(value, "$.count")
    assert refused.value.path == "$.count"


@pytest.mark.parametrize(
    ("value", "found"), [(7, 7), ("7", 7), ("0012", 12), (7.0, 7), (0, 0), ("", None), (None, None)]
)
def test_a_count_is_a_number_or_its_digits(value: Any, found: int | None) -> None:
    assert count(value, "$") == found


def test_what_is_whole_may_be_below_zero() -> None:
    assert [whole(value) for value in ("-3", -3, -3.0, 2.5, "x", None)] == [-3, -3, -3, None, None, None]


def test_yes_and_no_may_be_1_and_0() -> None:
    assert [flag(value) for value in (True, False, 1, 0, 2, -1, None)] == [True, False, True, False, None, None, None]


@pytest.mark.parametrize("nothing", [0, "0", 0.0, "", None, "soon", float("inf"), 2**80])
def test_no_time_is_the_beginning_of_the_epoch(nothing: Any) -> None:
    assert instant(nothing) is None


def test_a_time_is_seconds_or_iso() -> None:
    at = datetime(2020, 6, 1, 10, 56, 12, tzinfo=UTC)
    assert {instant(1591008972), instant("1591008972"), instant("2020-06-01T10:56:12Z")} == {at}


def test_a_time_may_be_in_milliseconds_or_microseconds() -> None:
    at = datetime(2020, 6, 1, 10, 56, 12, tzinfo=UTC)
    assert {instant(1591008972000), instant("1591008972000"), instant(1591008972000000)} == {at}


def test_a_time_in_a_query_is_in_utc_to_the_second() -> None:
    at = datetime(2020, 6, 1, 12, 56, 12, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert (in_seconds(at), in_seconds(None)) == ("2020-06-01T10:56:12Z", None)


def test_a_byte_order_mark_is_no_part_of_the_answer() -> None:
    assert decoder(list[int])(b"\xef\xbb\xbf[1]") == [1]
    with pytest.raises(Malformed):
        decoder(list[int])(b"\xef\xbb\xbf\xef\xbb\xbf[1]")


def test_a_name_is_compared_in_one_form() -> None:
    assert name("Cafe\u0301") == name("CAF\u00c9") == "caf\u00e9"
