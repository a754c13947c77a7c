"""Events as frames of `basic.publish`: read back by pamqp, which packs none of them."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import body, commands, frame, header

from beat_actors.events.envelope import MOST_DATA
from beat_actors.events.sink import Event, Place
from beat_actors.events.sinks.amqp.messages import Messages

FRAME_MAX = 131_072
EVENT = Event(
    seq=42,
    id="0197a1b2-0000-7000-8000-000000000001",
    type="beat.scrape_request.complete",
    subject="scrape_request/7",
    version=3,
    account_id="acme",
    time="2026-11-29T12:00:00.25Z",
    data='{"status": "complete", "name": "Zoë"}',
)
BINARY = Place("bus", "amqp://localhost")
STRUCTURED = BINARY.__class__("bus", "amqp://localhost", structured=True)


def read(data: bytes) -> Iterator[frame.FrameTypes]:
    while data:
        count, channel, found = frame.unmarshal(data)
        assert channel == 1
        yield found
        data = data[count:]


def message(
    event: Event, place: Place = BINARY, frame_max: int = FRAME_MAX
) -> tuple[commands.Basic.Publish, commands.Basic.Properties, bytes]:
    """What a server reads."""
    method, head, *bodies = read(Messages(place, "beat.dx").packed(event, frame_max))
    assert isinstance(method, commands.Basic.Publish)
    assert isinstance(head, header.ContentHeader)
    whole = b"".join(part.value or b"" for part in bodies if isinstance(part, body.ContentBody))
    assert head.body_size == len(whole)
    return method, head.properties, whole


def test_binary_mode_has_each_attribute_as_a_header() -> None:
    method, properties, data = message(EVENT)
    assert (method.exchange, method.routing_key, method.mandatory) == ("beat.dx", "beat.scrape_request.complete", True)
    assert properties.headers == {
        "cloudEvents_specversion": "1.0",
        "cloudEvents_id": EVENT.id,
        "cloudEvents_source": "urn:beat",
        "cloudEvents_type": "beat.scrape_request.complete",
        "cloudEvents_subject": "scrape_request/7",
        "cloudEvents_time": "2026-11-29T12:00:00.25Z",
        "cloudEvents_dataschema": properties.headers["cloudEvents_dataschema"],
        "cloudEvents_sequence": "00000000000000000042",
        "cloudEvents_accountid": "acme",
        "cloudEvents_subjectversion": "3",
    }
    assert (properties.content_type, properties.delivery_mode, properties.message_id) == (
        "application/json",
        2,
        EVENT.id,
    )
    assert properties.timestamp.isoformat() == "2026-11-29T12:00:00+00:00"
    assert data == EVENT.data.encode()


@pytest.mark.parametrize(
    "event",
    [
        EVENT,
        EVENT._replace(account_id=None, version=None),
        EVENT._replace(account_id="", version=12),
        EVENT._replace(subject="é ✓", account_id="Zoë"),
        EVENT._replace(replay=True),
        EVENT._replace(trace=f"00-{'a' * 32}-{'b' * 16}-01"),
        EVENT._replace(data='{"text":"' + "x" * MOST_DATA + '"}'),
    ],
)
def test_a_later_event_of_a_type_is_packed_as_the_first_is(event: Event) -> None:
    first, later = Messages(BINARY, "beat.dx"), Messages(BINARY, "beat.dx")
    later.packed(EVENT, FRAME_MAX)
    assert later.packed(event, FRAME_MAX) == first.packed(event, FRAME_MAX)


def test_structured_mode_has_all_of_it_in_the_body() -> None:
    method, properties, data = message(EVENT, STRUCTURED)
    assert method.routing_key == EVENT.type
    assert properties.headers is None
    assert (properties.content_type, properties.message_id) == ("application/cloudevents+json", EVENT.id)
    found = json.loads(data)
    assert (found["id"], found["sequence"], found["data"]["name"]) == (EVENT.id, "00000000000000000042", "Zoë")


def test_the_headers_of_a_type_are_those_of_its_own_events() -> None:
    messages = Messages(BINARY, "beat.dx")
    for event_type in ("beat.alert.opened", "beat.alert.resolved", "beat.alert.opened"):
        frames = list(read(messages.packed(EVENT._replace(type=event_type, version=None), FRAME_MAX)))
        assert frames[0].routing_key == event_type
        assert frames[1].properties.headers["cloudEvents_type"] == event_type
        assert "cloudEvents_subjectversion" not in frames[1].properties.headers


@pytest.mark.parametrize("length", [4096 - 9, 4096 - 8, 4096 - 7, 40_000])
def test_a_body_is_cut_at_the_size_of_a_frame(length: int) -> None:
    event = EVENT._replace(data='{"x":"' + "y" * (length - 8) + '"}')
    packed = Messages(BINARY, "beat.dx").packed(event, 4096)
    data = packed
    while data:
        count, _, _ = frame.unmarshal(data)
        assert count <= 4096
        data = data[count:]
    assert message(event, frame_max=4096)[2] == event.data.encode()


@pytest.mark.parametrize(
    "event",
    [
        EVENT._replace(id=""),
        EVENT._replace(id="i" * 256),
        EVENT._replace(type="t" * 256),
        EVENT._replace(time="yesterday"),
        EVENT._replace(time="2026-13-45T12:00:00Z"),
        EVENT._replace(time="1960-01-01T00:00:00Z"),
        EVENT._replace(data='{"x": "\ud800"}'),
        EVENT._replace(subject="s" * 5000),
    ],
    ids=["no id", "long id", "long type", "no time", "no such day", "before 1970", "no Unicode", "large header"],
)
def test_an_event_that_cannot_be_sent_is_a_value_error(event: Event) -> None:
    with pytest.raises(ValueError):
        Messages(BINARY, "beat.dx").packed(event, 4096)


words = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=60)


@given(words, words, st.integers(1, 10**20 - 1), st.none() | words, st.text(st.characters(exclude_categories=("Cs",))))
def test_any_event_is_read_back_as_it_was(
    event_id: str, subject: str, seq: int, account: str | None, text: str
) -> None:
    event = EVENT._replace(id=event_id, subject=subject, seq=seq, account_id=account, data=json.dumps({"x": text}))
    try:
        _, properties, data = message(event)
    except ValueError:
        assert len(event_id.encode()) > 255 or not all(map(str.isprintable, f"{event_id}{subject}{account}"))
        return
    headers = properties.headers
    assert (headers["cloudEvents_id"], headers["cloudEvents_subject"]) == (event_id, subject)
    assert headers["cloudEvents_sequence"] == f"{seq:020d}"
    assert headers.get("cloudEvents_accountid") == account
    assert data == event.data.encode()
