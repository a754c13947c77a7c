"""Each type of event that a statement writes is in the catalogue, with every field explained."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from beat_actors import alerts
from beat_actors.events import payloads
from beat_actors.events.catalog import EVENTS, TEST, EventType, is_known, matches, schema_path
from beat_actors.events.schemas import DIALECT, schema, schemas

ROOT = Path(payloads.__file__).parents[1]
BEGUN = re.compile(r"'(beat\.[a-z_]+\.[a-z_]*)'")


NOT_WRITTEN = {TEST}
"""The type that no statement writes into the log: the test of a webhook."""


def test_statements_write_the_types_of_the_catalogue_and_no_others() -> None:
    """A statement names a type, or the beginning of types that it completes by a state."""
    texts = [
        path.read_text()
        for path in [*ROOT.rglob("*.sql"), ROOT / "pipeline/entities.py", ROOT / "restoring/statements.py"]
    ]
    begun = {
        name
        for text in texts
        for name in BEGUN.findall(text)
        if not name.startswith(("beat.webhooks.", "beat.assets."))
    }
    written = {
        name: {event for event in EVENTS if event == name or (name.endswith(".") and event.startswith(name))}
        for name in begun
    }
    assert {name for name, events in written.items() if not events} == set()
    assert EVENTS.keys() - set().union(*written.values()) == NOT_WRITTEN


def fields(kind: type[msgspec.Struct]) -> Iterator[tuple[str, dict[str, Any]]]:
    _, parts = msgspec.json.schema_components([kind])
    for name, part in parts.items():
        for field, shape in part["properties"].items():
            yield f"{name}.{field}", shape


@pytest.mark.parametrize("event", EVENTS.values(), ids=list(EVENTS))
def test_every_field_is_explained_and_every_schema_is_one(event: EventType) -> None:
    assert re.fullmatch(r"beat(\.[a-z_]+){2}", event.name)
    assert event.sent.endswith(".")
    for kind in event.payloads:
        assert kind.__doc__
        assert {name: shape["description"][-1] for name, shape in fields(kind)} == {
            name: "." for name, _ in fields(kind)
        }
    for major in range(1, event.major + 1):
        made = schema(event, major)
        assert (made["$schema"], made["$id"]) == (DIALECT, f"/schemas/{event.name}/{major}")
        jsonschema.Draft202012Validator.check_schema(made)
    assert schema_path(event.name) == f"/schemas/{event.name}/{event.major}"


def test_there_is_a_schema_for_each_major_version() -> None:
    assert schemas().keys() == {(name, major + 1) for name, event in EVENTS.items() for major in range(event.major)}
    assert schema_path("beat.later.kind") is None


def test_severities_are_those_of_alerts() -> None:
    assert tuple(payloads.SEVERITIES) == alerts.SEVERITIES


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("*", set(EVENTS)),
        ("beat.*", set(EVENTS)),
        ("beat.alert.*", {"beat.alert.opened", "beat.alert.escalated", "beat.alert.resolved"}),
        ("beat.batch.ended", {"beat.batch.ended"}),
        ("beat.batch", set()),
        ("beat.ba*", set()),
        ("beat", set()),
        ("", set()),
        (".*", set()),
    ],
)
def test_a_pattern_matches_a_type_the_beginning_of_types_or_all(pattern: str, matched: set[str]) -> None:
    assert {name for name in EVENTS if matches(pattern, name)} == matched
    assert is_known(pattern) == bool(matched)
