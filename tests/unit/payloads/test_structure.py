"""The structure of a payload: what differs in it, what does not, and that it is bounded."""

import json
from typing import Any

import pytest

from beat_actors.payloads import structure
from beat_actors.payloads.structure import structure_of


def of(value: Any) -> str:
    return structure_of(json.dumps(value).encode())


PROFILE = {"data": {"user": {"pk": "1", "count": 7, "bio": None, "links": [{"url": "x"}]}}}


@pytest.mark.parametrize(
    "same",
    [
        {"data": {"user": {"pk": "999", "count": 2.5, "bio": None, "links": [{"url": "y"}]}}},
        {"data": {"user": {"links": [{"url": "x"}, {"url": "z"}], "bio": None, "count": 7, "pk": "1"}}},
    ],
    ids=["values", "the order of keys and how many items"],
)
def test_payloads_that_are_built_alike_have_one_name(same: Any) -> None:
    assert of(same) == of(PROFILE)


@pytest.mark.parametrize(
    "other",
    [
        {"user": PROFILE["data"]["user"]},
        {"data": {"user": PROFILE["data"]["user"] | {"extra": 1}}},
        {"data": {"user": {key: value for key, value in PROFILE["data"]["user"].items() if key != "bio"}}},
        {"data": {"user": PROFILE["data"]["user"] | {"count": "7"}}},
        {"data": {"user": PROFILE["data"]["user"] | {"count": True}}},
        {"data": {"user": PROFILE["data"]["user"] | {"bio": ""}}},
        {"data": {"user": PROFILE["data"]["user"] | {"links": []}}},
        {"data": {"user": PROFILE["data"]["user"] | {"links": ["x"]}}},
        {"data": {"user": PROFILE["data"]["user"] | {"links": [{"url": "x"}, "x"]}}},
        {"data": [PROFILE["data"]]},
    ],
    ids=["moved", "new key", "key gone", "text", "boolean", "not null", "no items", "other items", "mixed items", "list"],
)  # fmt: skip
def test_payloads_that_are_built_otherwise_have_other_names(other: Any) -> None:
    assert of(other) != of(PROFILE)


def test_keys_that_are_data_are_not_fields() -> None:
    """The ids of things, and names that nobody gave to a field: each such payload would have a name of its own."""
    assert of({"users": {"17841400": {"pk": 1}, "17841401": {"pk": 2}}}) == of({"users": {"99999": {"pk": 3}}})
    assert of({"Ann Smith": 1}) == of({"ann@example.com": 2}) == of({"x" * 100: 3}) != of({"name": 1})
    many = [{f"{start}{n}": {"pk": n} for n in range(structure.KEYS + 1)} for start in "ab"]
    assert of(many[0]) == of(many[1]) != of({"a1": {"pk": 1}})


def test_what_is_no_json_is_named_by_its_kind() -> None:
    names = [structure_of(body) for body in (b"", b" <html>", b"\xef\xbb\xbf<!doctype html>", b"Too many", b"{}")]
    assert len(set(names)) == 4
    assert names[1] == names[2]
    assert structure_of(b'\xef\xbb\xbf{"a": 1}') == of({"a": 2})
    assert structure_of(b"\xff\xfe") == structure_of(b"[" * 100_000) == structure_of(b"Too many")


def test_it_looks_at_a_bounded_part(monkeypatch: pytest.MonkeyPatch) -> None:
    deep: list[Any] = [1]
    for _ in range(500):
        deep = [deep]
    assert of(deep) == of([[[[["x"]]]]])
    items: list[Any] = [{"a": 1}] * structure.ITEMS
    assert of([*items, "x"]) == of(items) != of([*items[1:], "x"])
    looked = 0

    def counted(value: Any, depth: int, left: Any, spelt: Any = structure._spelt) -> str:
        nonlocal looked
        looked += 1
        return spelt(value, depth, left)

    monkeypatch.setattr(structure, "_spelt", counted)
    wide = {f"k{a}": {f"k{b}": [{f"k{c}": c for c in range(90)}] * 40 for b in range(90)} for a in range(90)}
    named = structure.structure(wide)
    assert looked <= structure.VALUES + 1
    assert named == structure.structure(wide | {"k89": 1})
