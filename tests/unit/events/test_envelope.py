"""An event becomes the CloudEvent that the specification asks for, in both modes, and the SDK of CloudEvents reads it."""

import json
import re
from typing import Any

import pytest
from cloudevents.core.bindings import amqp
from cloudevents.core.formats.json import JSONFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beat_actors.events import envelope
from beat_actors.events.catalog import EVENTS as TYPES
from beat_actors.events.sink import Event, Place

PLACE = Place("bus", "amqp://localhost")
EVENT = Event(
    seq=42,
    id="0b9ce3a5-3f43-4a0e-9a38-7dfd1b1a9a10",
    type="beat.scrape_request.complete",
    subject="scrape_request/7",
    version=3,
    account_id="acme",
    time="2026-11-28T12:51:53.123456Z",
    data='{"id": 7, "status": "COMPLETE"}',
)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TEXT = WORDS.filter(lambda text: text and not envelope.FORBIDDEN.search(text))
DATA = st.dictionaries(WORDS, st.none() | st.integers() | WORDS | st.lists(WORDS, max_size=3), max_size=4)
EVENTS = st.builds(
    Event,
    seq=st.integers(1, envelope.MOST_SEQUENCE),
    id=st.uuids().map(str),
    type=st.sampled_from(sorted(TYPES)) | st.just("beat.later.kind"),
    subject=TEXT,
    version=st.none() | st.integers(1, 2**31 - 1),
    account_id=st.none() | TEXT,
    time=st.datetimes().map(lambda at: at.isoformat() + "Z"),
    data=DATA.map(json.dumps) | DATA.map(lambda data: json.dumps(data, ensure_ascii=False)),
    replay=st.booleans(),
    trace=st.none() | st.just(f"00-{'a' * 32}-{'b' * 16}-01"),
)
PLACES = st.sampled_from([PLACE, Place("bus", "", "https://beat.example.com/"), Place("bus", "", "/beat/eu")])


def parsed_binary(event: Event, place: Place) -> Any:
    """The event as the SDK reads it from a message with attributes in its headers."""
    attributes = dict(envelope.attributes(event, place))
    properties = {"content-type": attributes.pop("datacontenttype")}
    headers = {f"cloudEvents_{name}": value for name, value in attributes.items()}
    return amqp.from_amqp_event(amqp.AMQPMessage(properties, headers, envelope.body(event)))


def parsed_structured(event: Event, place: Place) -> Any:
    message = amqp.AMQPMessage({"content-type": envelope.STRUCTURED}, {}, envelope.structured(event, place))
    return amqp.from_amqp_event(message)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(event=EVENTS, place=PLACES)
def test_the_sdk_reads_both_modes_as_the_same_event(event: Event, place: Place) -> None:
    binary, structured = parsed_binary(event, place), parsed_structured(event, place)
    assert binary.get_attributes() == structured.get_attributes()
    # The SDK does not tell an empty object from none.
    assert (binary.get_data() or {}) == (structured.get_data() or {}) == json.loads(event.data)
    assert binary.get_specversion() == "1.0"
    assert (binary.get_id(), binary.get_type(), binary.get_subject()) == (event.id, event.type, event.subject)
    assert binary.get_source() == place.source
    assert binary.get_extension("accountid") == event.account_id
    assert binary.get_extension("subjectversion") == (None if event.version is None else str(event.version))
    assert binary.get_extension("traceparent") == event.trace
    assert binary.get_extension("replay") == ("true" if event.replay else None)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(event=EVENTS, place=PLACES)
def test_names_and_values_are_those_that_cloudevents_allows(event: Event, place: Place) -> None:
    for name, value in envelope.attributes(event, place).items():
        assert re.fullmatch("[a-z0-9]{1,20}", name)
        assert value
        assert not envelope.FORBIDDEN.search(value)


@given(one=st.integers(1, envelope.MOST_SEQUENCE), other=st.integers(1, envelope.MOST_SEQUENCE))
def test_sequences_compare_as_strings_as_events_lie_in_the_log(one: int, other: int) -> None:
    first, second = (envelope.attributes(EVENT._replace(seq=seq), PLACE)["sequence"] for seq in (one, other))
    assert len(first) == len(second) == 20
    assert (first < second) == (one < other)


def test_the_structured_form_has_the_data_as_they_stand_in_the_log() -> None:
    data = '{"n": 1.10, "n": 12345678901234567890, "ü": "\\u00fc"}'
    assert envelope.structured(EVENT._replace(data=data), PLACE).endswith(f',"data":{data}}}'.encode())
    assert JSONFormat.CONTENT_TYPE == envelope.STRUCTURED


def test_what_an_event_has_not_is_left_out() -> None:
    bare = EVENT._replace(version=None, account_id=None)
    assert set(envelope.attributes(bare, PLACE)) == {
        "specversion", "type", "source", "datacontenttype", "dataschema", "id", "subject", "time", "sequence",
    }  # fmt: skip
    assert "dataschema" not in envelope.attributes(EVENT._replace(type="beat.later.kind"), PLACE)
    assert "accountid" not in envelope.attributes(EVENT._replace(account_id=""), PLACE)


@pytest.mark.parametrize(
    ("source", "uri"),
    [
        ("urn:beat", "urn:beat:schemas/beat.batch.ended/1"),
        ("https://beat.example.com", "https://beat.example.com/schemas/beat.batch.ended/1"),
        ("https://beat.example.com/eu/", "https://beat.example.com/eu/schemas/beat.batch.ended/1"),
        ("/beat", "urn:beat:schemas/beat.batch.ended/1"),
    ],
)
def test_the_schema_is_named_by_an_absolute_uri(source: str, uri: str) -> None:
    ended = EVENT._replace(type="beat.batch.ended")
    assert envelope.attributes(ended, Place("bus", "", source))["dataschema"] == uri


@pytest.mark.parametrize("letter", ["a", "ü", "€", "🙂"])
def test_data_over_64_kib_are_referred_to(letter: str) -> None:
    frame = len('{"a":""}')
    count = (envelope.MOST_DATA - frame) // len(letter.encode())
    fits = EVENT._replace(data=f'{{"a":"{letter * count}"}}')
    spare = envelope.MOST_DATA - len(fits.data.encode())
    fits = fits._replace(data=fits.data.replace('""', '"') if not spare else f'{{"a":"{letter * count}{"x" * spare}"}}')
    assert len(envelope.body(fits)) == envelope.MOST_DATA
    assert "dataref" not in envelope.attributes(fits, PLACE)
    over = fits._replace(data=f'{{"a":"{letter * count}{"x" * (spare + 1)}"}}')
    assert envelope.body(over) == b""
    assert envelope.attributes(over, PLACE)["dataref"] == "/v1/events/42"
    binary, structured = parsed_binary(over, PLACE), parsed_structured(over, PLACE)
    assert binary.get_attributes() == structured.get_attributes()
    assert binary.get_data() is structured.get_data() is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "a\x00b"},
        {"subject": ""},
        {"subject": "alert/a\nb"},
        {"subject": "alert/\x7f"},
        {"subject": "alert/\ud800"},
        {"subject": "alert/\uffff"},
        {"account_id": "a\r\nx: y"},
        {"type": ""},
        {"type": "beat x"},
        {"type": "b" * 256},
        {"seq": 0},
        {"seq": -1},
        {"seq": 10**20},
        {"time": "2026-11-28 12:51:53+00"},
        {"time": ""},
        {"time": "2026-11-28T12:51:53Z\n"},
        {"data": ""},
        {"data": "[1]"},
        {"data": "null"},
    ],
)
def test_what_can_be_no_cloudevent_is_refused_in_both_modes(wrong: dict[str, Any]) -> None:
    for build in (envelope.attributes, envelope.structured):
        with pytest.raises(ValueError, match=r"^the \w+"):
            build(EVENT._replace(**wrong), PLACE)


@pytest.mark.parametrize("source", ["", "urn:be at", "urn:beät", "urn:beat\n"])
def test_a_source_that_is_no_uri_is_refused(source: str) -> None:
    for build in (envelope.attributes, envelope.structured):
        with pytest.raises(ValueError, match="source"):
            build(EVENT, Place("bus", "", source))


def test_text_that_is_no_unicode_is_refused() -> None:
    for build in (envelope.body, lambda event: envelope.structured(event, PLACE)):
        with pytest.raises(ValueError, match="surrogates"):
            build(EVENT._replace(data='{"a": "\ud800"}'))


def test_a_caller_may_change_what_it_got() -> None:
    first = envelope.attributes(EVENT, PLACE)
    assert isinstance(first, dict)
    first.clear()
    assert envelope.attributes(EVENT, PLACE)["specversion"] == "1.0"
