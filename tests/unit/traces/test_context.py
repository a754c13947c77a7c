"""W3C Trace Context: what is taken from callers, and ids that are computed from the row of a request."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_actors.traces.context import STORED, Context, ids, parse, span_id

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
ZERO_TRACE, ZERO_SPAN = "0" * 32, "0" * 16


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (f"00-{TRACE}-{SPAN}-01", 1),
        (f"00-{TRACE}-{SPAN}-00", 0),
        (f"00-{TRACE}-{SPAN}-03", 1),  # the flag `random` of the second level
        (f"00-{TRACE}-{SPAN}-fe", 0),
        (f" 00-{TRACE}-{SPAN}-01\t", 1),
        (f"01-{TRACE}-{SPAN}-01", 1),  # a later version
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", 1),
    ],
)
def test_a_valid_traceparent(header: str, flags: int) -> None:
    assert parse(header) == Context(TRACE, SPAN, flags)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{TRACE}-{SPAN}-0G",
        f"00-{ZERO_TRACE}-{SPAN}-01",
        f"00-{TRACE}-{ZERO_SPAN}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",  # two headers
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-" + "x" * 255,
    ],
)
def test_a_traceparent_that_the_standard_ignores(header: str | None) -> None:
    assert parse(header) is None


@given(st.text(max_size=80))
def test_whatever_a_caller_sends_is_taken_or_ignored(parent: str) -> None:
    assert parse(parent) is None or len(parent.strip()) >= 55


def test_a_context_fits_into_its_column_and_comes_back() -> None:
    context = parse(f"00-{TRACE}-{SPAN}-01")
    assert context is not None
    assert len(context.stored) == STORED
    assert Context.read(context.stored) == context
    assert Context.read(None) is None
    assert Context.read(b"short") is None


def test_the_id_of_a_trace_is_the_callers_or_derived() -> None:
    context = Context(TRACE, SPAN, 1)
    assert ids(7, AT, 0, context).trace == TRACE
    own = ids(7, AT, 0, None).trace
    assert own == ids(7, AT.astimezone(), 0, None).trace
    others = [
        ids(8, AT, 0, None).trace,
        ids(7, AT + timedelta(microseconds=1), 0, None).trace,
        ids(7, AT, 1, None).trace,
    ]
    assert len({own, *others}) == 4
    assert ids(7, AT, 1, context).trace == ids(7, AT, 1, None).trace, "a retry is a trace of its own"


def test_ids_of_spans_differ_by_what_they_stand_for_and_by_their_trace() -> None:
    other = TRACE[::-1]
    made = {
        span_id(TRACE, "call", 1, 2),
        span_id(TRACE, "call", 12),
        span_id(TRACE, "wait", 1, 2),
        span_id(other, "call", 1, 2),
    }
    assert len(made) == 4
    assert all(len(one) == 16 and int(one, 16) for one in made)
    made = [*ids(1, AT, 0, None)[1:], *ids(1, AT, 1, None)[1:], *ids(2, AT, 0, None)[1:]]
    assert len({*made}) == 6
    assert all(len(one) == 16 and int(one, 16) for one in made)


def test_ids_never_change() -> None:
    """They stand in traces that were exported, and in links to them."""
    assert ids(1, AT, 0, None) == ("6abfe14ebd147ba8e5a7aaf999e217cc", "bf97adb0ac41ba1b", "7079fc2c02dcb37d")
    assert span_id(TRACE, "call", 1) == "a1972b272da669fc"
