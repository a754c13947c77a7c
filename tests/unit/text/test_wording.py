"""What is wrong with a body is said in JSON's words, with the field that is at fault."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest

from beat_actors.wording import explained


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[str, msgspec.Meta(pattern="^[a-z]{3}$", description="three small letters")]
    bare: Annotated[str, msgspec.Meta(pattern="^[0-9]$")] = "1"


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    inner: Inner | None = None
    many: Annotated[list[Inner], msgspec.Meta(max_length=2)] = []
    size: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    text: Annotated[str, msgspec.Meta(min_length=1)] = "x"
    word: Literal["red", "blue"] = "red"
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    by_name: dict[str, Inner] = {}


GOOD = {"code": "abc"}


@pytest.mark.parametrize(
    ("value", "field", "said"),
    [
        ({}, "name", "`name` is required"),
        ({"name": 1}, "name", "`name` must be a string, not an integer"),
        ({"name": "a", "nmae": 1}, "nmae", "known here: name, inner, many, size, text, word, at, by_name"),
        ({"name": "a", "inner": {}}, "inner.code", "`inner.code` is required"),
        ({"name": "a", "inner": {"code": "ABC"}}, "inner.code", "`inner.code` must be three small letters"),
        ({"name": "a", "inner": {"code": "abc", "x": 1}}, "inner.x", "known here: code, bare"),
        ({"name": "a", "inner": {"code": "abc", "bare": "z"}}, "inner.bare", "does not have the form"),
        ({"name": "a", "inner": []}, "inner", "`inner` must be an object or null, not a list"),
        ({"name": "a", "many": [GOOD, {"code": "A"}]}, "many[1].code", "must be three small letters"),
        ({"name": "a", "many": [GOOD] * 3}, "many", "`many` must have at most 2 items"),
        ({"name": "a", "size": 0}, "size", "`size` must be at least 1"),
        ({"name": "a", "size": 10}, "size", "`size` must be at most 9"),
        ({"name": "a", "size": "3"}, "size", "`size` must be an integer, not a string"),
        ({"name": "a", "text": ""}, "text", "`text` must have at least 1 character"),
        ({"name": "a", "word": "green"}, "word", "`word` must be one of blue, red"),
        ({"name": "a", "at": "soon"}, "at", "`at` must be a time with its zone, such as 2030-01-31T12:00:00Z"),
        ({"name": "a", "at": "2030-01-01T00:00:00"}, "at", "a time with its zone"),
        ({"name": "a", "by_name": {"k": {"code": "A"}}}, "by_name[...].code", "must be three small letters"),
        ([], None, "the body of the request must be an object, not a list"),
    ],
)
def test_it_names_the_field_and_what_it_must_be(value: Any, field: str | None, said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.json.decode(msgspec.json.encode(value), type=Outer)
    found = explained(raised.value, Outer)
    assert found.field == field
    assert said in str(found)
    for python in ("str", "dict", "regex", "`$", "Expected", "Struct"):
        assert python not in str(found).replace("string", "")


def test_a_field_within_another_and_what_asks_for_it_are_named() -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert({}, Inner)
    found = explained(raised.value, Inner, within="params", about="some_flow")
    assert (str(found), found.field) == ("some_flow: `params.code` is required", "params.code")
