"""The AsyncAPI document is valid against the official schema, and says of each event what is sent."""

import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from beat_actors.events import envelope
from beat_actors.events.asyncapi import ATTRIBUTES, document
from beat_actors.events.catalog import EVENTS
from beat_actors.events.sink import Event, Place
from supply.notice import VENDORED

FOLDER = Path(__file__).parents[2] / "fixtures/asyncapi"
DOCUMENT = document("1.2.3")


@pytest.fixture(scope="module")
def official() -> jsonschema.protocols.Validator:
    schema = json.loads((FOLDER / "3.1.0.json").read_text())
    return jsonschema.validators.validator_for(schema)(schema)


def resolved(reference: dict[str, str]) -> Any:
    found: Any = DOCUMENT
    for step in reference["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found


def test_the_document_is_valid_and_a_broken_one_is_not(official: jsonschema.protocols.Validator) -> None:
    assert [error.message for error in official.iter_errors(DOCUMENT)] == []
    for broken in (
        {"asyncapi": "3.1"},
        {"channels": {"rabbitmq": {"bindings": {"amqp": {"is": "routingKey", "exchange": {"type": "nonsense"}}}}}},
        {"operations": {"send": {"action": "shout", "channel": {"$ref": "#/channels/redis"}}}},
    ):
        assert not official.is_valid(DOCUMENT | broken)


def test_every_reference_of_the_document_leads_somewhere() -> None:
    left: list[Any] = [DOCUMENT]
    seen = 0
    while left:
        one = left.pop()
        if isinstance(one, dict):
            if isinstance(one.get("$ref"), str):
                assert resolved(one)
                seen += 1
            left += one.values()
        elif isinstance(one, list):
            left += one
    assert seen > 4 * len(EVENTS)


def test_each_channel_has_the_events_that_are_sent_to_it() -> None:
    logged = {name for name, event in EVENTS.items() if event.logged}
    for name, channel in DOCUMENT["channels"].items():
        assert set(channel["messages"]) == (set(EVENTS) if name == "webhook" else logged)
        for called, message in channel["messages"].items():
            payload = message["payload"]
            shape = resolved(payload["properties"]["data"] if name == "webhook" else payload)
            assert shape["title"] == EVENTS[called].payload.__name__
    assert {each["channel"]["$ref"] for each in DOCUMENT["operations"].values()} == {
        f"#/channels/{name}" for name in DOCUMENT["channels"]
    }


def test_the_document_explains_the_attributes_that_events_have() -> None:
    event = Event(
        7,
        "id",
        "beat.batch.ended",
        "batch/1",
        1,
        "acme",
        "2030-01-31T12:00:00Z",
        f'{{"a":"{"x" * 70_000}"}}',
        replay=True,
        trace=f"00-{'a' * 32}-{'b' * 16}-01",
    )
    assert envelope.attributes(event, Place("bus", "")).keys() == ATTRIBUTES.keys()
    small = event._replace(data="{}", version=None, account_id=None, replay=False, trace=None, type="beat.later.kind")
    required = DOCUMENT["components"]["messageTraits"]["redis"]["headers"]["required"]
    assert set(required) == envelope.attributes(small, Place("bus", "")).keys() - {"datacontenttype"}


def test_the_vendored_schema_is_unchanged_and_named_in_the_notice() -> None:
    lines = (FOLDER / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split() for line in lines)}
    assert sums.keys() == {"3.1.0.json", "LICENSE", "NOTICE"}
    for name, digest in sums.items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest
    assert "AsyncAPI 3.1.0" in VENDORED
