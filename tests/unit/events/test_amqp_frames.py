"""What a server sends: whole however it is cut, and nothing but `BadFrame` for what is no AMQP."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import body, commands, frame, header, heartbeat

from beat_actors.events.sinks.amqp.frames import BadFrame, Confirm, Frame, Frames

SENT = b"".join(
    frame.marshal(value, 1)
    for value in (
        commands.Basic.Ack(7, True),
        heartbeat.Heartbeat(),
        commands.Basic.Return(312, "NO_ROUTE", "beat.dx", "beat.alert.opened"),
        header.ContentHeader(body_size=3, properties=commands.Basic.Properties(message_id="m")),
        body.ContentBody(b"abc"),
        commands.Basic.Nack(8, False, False),
        commands.Connection.Blocked("low on memory"),
    )
)


def names(found: list[Frame]) -> list[object]:
    return [one if isinstance(one, Confirm | bytes) else one.name for one in found]


EXPECTED = [
    Confirm(7, True, True),
    "Basic.Return",
    "ContentHeader",
    b"abc",
    Confirm(8, False, False),
    "Connection.Blocked",
]


@given(st.lists(st.integers(0, len(SENT)), max_size=20))
def test_frames_are_whole_however_they_arrive(cuts: list[int]) -> None:
    frames, found, start = Frames(131_072), [], 0
    for stop in [*sorted(cuts), len(SENT)]:
        found += frames.feed(SENT[start:stop])
        start = stop
    assert names(found) == EXPECTED


@given(st.binary(max_size=300))
def test_any_bytes_are_frames_or_a_bad_frame(data: bytes) -> None:
    with suppress(BadFrame):
        list(Frames(4096).feed(data))


@given(st.binary(max_size=80), st.sampled_from([1, 2, 3, 8]))
def test_any_payload_is_a_frame_or_a_bad_frame(payload: bytes, kind: int) -> None:
    data = bytes((kind, 0, 1)) + len(payload).to_bytes(4, "big") + payload + b"\xce"
    with suppress(BadFrame):
        list(Frames(4096).feed(data))


@given(st.data())
def test_a_damaged_stream_is_frames_or_a_bad_frame(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(SENT) - 1))
    damaged = SENT[:place] + bytes((data.draw(st.integers(0, 255)),)) + SENT[place + 1 :]
    with suppress(BadFrame):
        list(Frames(131_072).feed(damaged))


def test_a_frame_that_is_too_large_is_refused_before_it_came() -> None:
    with pytest.raises(BadFrame):
        list(Frames(4096).feed(b"\x01\x00\x01\xff\xff\xff\xff"))


def test_another_version_of_amqp_is_refused() -> None:
    with pytest.raises(BadFrame, match=r"AMQP 0-9-1"):
        list(Frames(4096).feed(b"AMQP\x00\x01\x00\x00"))
