"""Text from outside: what is let through can be stored, and shows what it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_actors.errors import BadInput
from beat_actors.text import check_text

FINE = [
    "",
    "creator.one",
    "Ünïcödé",
    "\u05e9\u05dc\u05d5\u05dd",  # Hebrew
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with the mark that it needs
    "\U0001f469\u200d\U0001f52c",  # an emoji of two
    "two\nlines\tand a tab",
]
UNFIT = {
    "a\0b": "U+0000",
    "bell\x07": "U+0007",
    "\x1b[2J": "U+001B",
    "\x85": "U+0085",
    "abc\u202egpj.exe": "U+202E",
    "\u2066hidden\u2069": "U+2066",
    "\ud800": "U+D800",
    "x\udfff": "U+DFFF",
}


@pytest.mark.parametrize("text", FINE)
def test_what_languages_need_is_let_through(text: str) -> None:
    check_text(text, "field", longest=100)


@pytest.mark.parametrize(("text", "named"), UNFIT.items())
def test_what_no_reader_should_meet_is_refused_by_its_name(text: str, named: str) -> None:
    with pytest.raises(BadInput) as refused:
        check_text(text, "field", longest=100)
    assert named in str(refused.value)
    assert refused.value.field == "field"
    assert text not in str(refused.value)


@pytest.mark.parametrize("text", ["two\nlines", "a\ttab", "para\u2029graph", "carriage\r"])
def test_one_line_is_one_line(text: str) -> None:
    with pytest.raises(BadInput):
        check_text(text, "field", longest=100, one_line=True)


def test_the_length_is_bounded() -> None:
    check_text("x" * 10, "field", longest=10)
    with pytest.raises(BadInput, match="11 characters; 10 are allowed"):
        check_text("x" * 11, "field", longest=10)


@given(st.text(alphabet=st.characters(), max_size=40))
def test_what_is_let_through_is_utf8_and_has_no_nul(text: str) -> None:
    try:
        check_text(text, "field", longest=40)
    except BadInput:
        return
    assert b"\0" not in text.encode()
