"""docs/events.md: its table of types, its attributes and its example are those of the code."""

import json
import re
from pathlib import Path

import jsonschema

from beat_actors.events import envelope
from beat_actors.events.asyncapi import ATTRIBUTES
from beat_actors.events.catalog import EVENTS
from beat_actors.events.schemas import schema
from beat_actors.events.sink import Event, Place

PAGE = (Path(__file__).parents[3] / "docs/events.md").read_text()


def test_the_table_of_types_is_the_catalogue() -> None:
    rows = re.findall(r"^\| `(beat\.[a-z_.]+)` \| (.+) \| `([^`]+)`(.*) \|$", PAGE, re.MULTILINE)
    assert [(name, sent) for name, sent, _, _ in rows] == [
        (name, event.sent[0].lower() + event.sent[1:].removesuffix(".")) for name, event in EVENTS.items()
    ]
    assert [subject + more.replace("`", "") for _, _, subject, more in rows] == [
        event.subject for event in EVENTS.values()
    ]


def test_the_table_of_attributes_is_complete() -> None:
    section = PAGE.partition("## Types")[0]
    assert set(re.findall(r"^\| `([a-z]+)` \|", section, re.MULTILINE)) == ATTRIBUTES.keys()


def test_the_example_is_an_event_as_it_is_sent() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    shown = json.loads(text)
    data = json.dumps(shown["data"])
    event = Event(
        int(shown["sequence"]),
        shown["id"],
        shown["type"],
        shown["subject"],
        None,
        shown["accountid"],
        shown["time"],
        data,
    )
    assert json.loads(envelope.structured(event, Place("bus", ""))) == shown
    jsonschema.Draft202012Validator(schema(EVENTS[event.type], 1)).validate(shown["data"])
