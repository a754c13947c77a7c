"""A change of an event's data that consumers may trip over fails the check; what only adds passes."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from beat_actors.events.catalog import EventType
from beat_actors.events.schemas import breaks, schema, schemas
from supply import schemas as release


class Part(msgspec.Struct):
    code: str
    count: int


class Whole(msgspec.Struct):
    id: int
    status: Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["A", "B"]})]
    name: str | None
    part: Part | None
    parts: list[Part]
    tags: dict[str, str]
    pair: tuple[str, int]
    score: Annotated[int, msgspec.Meta(ge=0)]
    extra: str | msgspec.UnsetType = msgspec.UNSET


OLD = schema(EventType("beat.x.y", "It happens.", "x/{id}", [Whole]), 1)


def changed(change: Callable[[dict[str, Any]], object]) -> list[str]:
    new = deepcopy(OLD)
    change(new)
    return breaks(OLD, new)


def renamed(new: dict[str, Any]) -> None:
    new["properties"]["number"] = new["properties"].pop("id")
    new["required"] = ["number" if name == "id" else name for name in new["required"]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda new: new["properties"].pop("extra"), ["extra was removed"]),
        (renamed, ["id was removed", "number is required now"]),
        (lambda new: new["properties"].update(id={"type": "string"}), ["id: integer became string"]),
        (lambda new: new["properties"].update(name={"type": "string"}), ["name: null or string became string"]),
        (
            lambda new: new["properties"].update(id={"anyOf": [{"type": "integer"}, {"type": "null"}]}),
            ["id: integer became integer or null"],
        ),
        (lambda new: new["properties"].update(id={}), ["id: integer became any"]),
        (lambda new: new["properties"]["status"]["enum"].append("C"), ["status: the values A or B became A or B or C"]),
        (lambda new: new["properties"]["status"]["enum"].pop(), ["status: the values A or B became A"]),
        (lambda new: new["properties"]["status"].pop("enum"), ["status: the values A or B became any"]),
        (lambda new: new["required"].remove("id"), ["id is optional now"]),
        (lambda new: new["required"].append("extra"), ["extra is required now"]),
        (
            lambda new: (new["properties"].update(more={"type": "string"}), new["required"].append("more")),
            ["more is required now"],
        ),
        (lambda new: new["properties"]["score"].update(minimum=1), ["score: `minimum` has changed"]),
        (lambda new: new["properties"]["score"].update(maximum=1), ["score: `maximum` has changed"]),
        (
            lambda new: new["properties"]["tags"].update(additionalProperties={"type": "integer"}),
            ["tags[]: string became integer"],
        ),
        (lambda new: new["properties"]["pair"].update(prefixItems=[]), ["pair: `prefixItems` has changed"]),
        (lambda new: new["properties"]["parts"].update(items={"type": "string"}), ["parts[]: object became string"]),
        (
            lambda new: new["$defs"]["Part"]["properties"].pop("code"),
            ["part.code was removed", "parts[].code was removed"],
        ),
        (lambda new: new.update(additionalProperties=False), ["the data: `additionalProperties` has changed"]),
    ],
)
def test_a_breaking_change_is_named(change: Callable[[dict[str, Any]], object], said: list[str]) -> None:
    assert sorted(changed(change)) == sorted(said)


@pytest.mark.parametrize(
    "change",
    [
        lambda new: None,
        lambda new: new["properties"].update(more={"type": "string"}),
        lambda new: new["$defs"]["Part"]["properties"].update(more={"$ref": "#/$defs/Part"}),
        lambda new: new["properties"]["id"].update(description="Said better."),
        lambda new: new.update(title="beat.x.z"),
        lambda new: new["required"].reverse(),
        lambda new: new["properties"]["status"]["enum"].reverse(),
        lambda new: new["properties"]["name"]["anyOf"].reverse(),
        lambda new: new["properties"].update(part={"anyOf": [{"type": "null"}, new["$defs"]["Part"]]}),
    ],
)
def test_what_only_adds_or_explains_passes(change: Callable[[dict[str, Any]], object]) -> None:
    assert changed(change) == []


def test_a_removed_type_is_named_and_a_new_type_or_version_is_not(tmp_path: Path) -> None:
    release.write({("beat.x.y", 1): OLD}, tmp_path)
    before = release.released(tmp_path)
    assert before == {("beat.x.y", 1): OLD}
    assert list(release.complaints(before, {})) == ["beat.x.y, version 1, was removed"]
    assert list(release.complaints(before, {("beat.x.y", 2): OLD})) == ["beat.x.y, version 1, was removed"]
    assert list(release.complaints(before, {**before, ("beat.x.y", 2): {}, ("beat.x.z", 1): {}})) == []


def test_nothing_is_written_over_a_release_that_would_break(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    older = deepcopy(OLD)
    older["properties"]["gone"] = {"type": "string"}
    release.write({("beat.x.y", 1): older}, tmp_path)
    monkeypatch.setattr(release, "schemas", lambda: {("beat.x.y", 1): OLD})
    monkeypatch.setattr(release, "released", lambda: {("beat.x.y", 1): older})
    monkeypatch.setattr(release, "write", lambda now: pytest.fail("it wrote"))
    monkeypatch.setattr("sys.argv", ["supply.schemas"])
    assert release.main() == 1


def test_this_tree_breaks_no_consumer_of_the_last_release() -> None:
    released = release.released()
    assert len(released) >= 19
    assert list(release.complaints(released, schemas())) == []
    assert all(json.dumps(made) for made in released.values())
