"""Which part of a body a caller gets, and whether it has the body already."""

import pytest

from api.conditions import RangeUnsatisfiable, Span, has_it, span_of

MARK = "ab12"


@pytest.mark.parametrize(
    ("wanted", "span"),
    [
        (None, None),
        ("bytes=0-0", Span(0, 1)),
        ("bytes=0-", Span(0, 10)),
        ("bytes=3-5", Span(3, 3)),
        ("bytes = 3 - 5", Span(3, 3)),
        ("BYTES=3-500", Span(3, 7)),
        ("bytes=-4", Span(6, 4)),
        ("bytes=-400", Span(0, 10)),
        ("bytes=5-3", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=0x1-2", None),
        ("bytes=9999999999999999-", None),
        ("", None),
    ],
)
def test_a_range_of_bytes_is_read_as_rfc_9110_says(wanted: str | None, span: Span | None) -> None:
    assert span_of(wanted, None, MARK, 10) == span


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_a_range_behind_the_end_is_refused_with_the_size(wanted: str) -> None:
    with pytest.raises(RangeUnsatisfiable) as refused:
        span_of(wanted, None, MARK, 10)
    assert refused.value.size == 10


def test_a_range_of_an_empty_body_is_refused() -> None:
    with pytest.raises(RangeUnsatisfiable):
        span_of("bytes=0-", None, MARK, 0)


@pytest.mark.parametrize(
    ("only_if", "span"), [('"ab12"', Span(1, 2)), ('"other"', None), ('W/"ab12"', None), ("Tue, 01 Jan 2030", None)]
)
def test_if_range_gives_the_part_only_of_the_same_body(only_if: str, span: Span | None) -> None:
    assert span_of("bytes=1-2", only_if, MARK, 10) == span


@pytest.mark.parametrize(
    ("known", "has"),
    [(None, False), ('"ab12"', True), ('W/"ab12"', True), ('"x", "ab12"', True), ("*", True), ('"x"', False), ("ab12", False), ("", False)],
)  # fmt: skip
def test_if_none_match_names_tags(known: str | None, has: bool) -> None:
    assert has_it(known, MARK) is has
