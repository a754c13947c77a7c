"""What a server sends, cut into frames and decoded: acknowledgements by hand, because there may be one for each event, the rest by pamqp."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from pamqp import base, commands, decode, exceptions, frame, header, heartbeat

METHOD, HEADER, BODY, BEAT, END = 1, 2, 3, 8, 0xCE
ACK = struct.pack(">HH", 60, 80)
NACK = struct.pack(">HH", 60, 120)
HEAD = 7
"""Bytes of a frame before its payload: type, channel and size."""
HEARTBEAT = heartbeat.Heartbeat().marshal()


class BadFrame(Exception):
    """The server sent what is not AMQP. The message is an English sentence."""


class Confirm(NamedTuple):
    """The server has stored (`ack`) or refused a message, and all before it if `multiple`."""

    tag: int
    multiple: bool
    ack: bool


Method = base.Frame
Frame = Confirm | Method | header.ContentHeader | bytes
"""`bytes`: the payload of a body frame. A heartbeat is no frame: that something came is what it says."""


class Frames:
    """Cuts what was received. At most one unfinished frame is kept, of `frame_max` bytes."""

    def __init__(self, frame_max: int) -> None:
        self.frame_max = frame_max
        self._rest = b""

    def feed(self, received: bytes) -> Iterator[Frame]:
        """The frames that end in what was received. Raises `BadFrame`."""
        data = self._rest + received if self._rest else received
        self._rest = b""
        start, length = 0, len(data)
        try:
            while start + HEAD <= length:
                kind, _, size = struct.unpack_from(">BHI", data, start)
                if kind not in (METHOD, HEADER, BODY, BEAT) or size > self.frame_max:
                    raise BadFrame("The server sent what is not AMQP 0-9-1.")
                end = start + HEAD + size
                if end >= length:
                    break
                if data[end] != END:
                    raise BadFrame("The server sent a frame without its end.")
                payload = data[start + HEAD : end]
                start = end + 1
                if kind != BEAT:
                    yield decoded(kind, payload)
        finally:
            self._rest = data[start:]


def decoded(kind: int, payload: bytes) -> Frame:
    """One frame. Raises `BadFrame`."""
    if kind == BODY:
        return payload
    try:
        if kind == METHOD and payload[:4] in (ACK, NACK):
            tag, bits = struct.unpack_from(">QB", payload, 4)
            return Confirm(tag, bool(bits & 1), payload[:4] == ACK)
        if kind == HEADER:
            found = header.ContentHeader()
            found.unmarshal(payload)
            return found
        _, index = decode.long_int(payload[:4])
        method: base.Frame = commands.INDEX_MAPPING[index]()
        method.unmarshal(payload[4:])
    except (exceptions.PAMQPException, struct.error, ValueError, LookupError, TypeError, OverflowError, OSError):
        raise BadFrame("The server sent a frame that cannot be decoded.") from None
    return method


def marshalled(method: Method, channel: int) -> bytes:
    """A method as it is sent."""
    return frame.marshal(method, channel)
