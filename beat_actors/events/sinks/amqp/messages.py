"""An event as the frames of `basic.publish`, packed by hand: a method frame, a content header and a body (AMQP 0-9-1, sections 2.3.5 and 4.2.6).

The message follows the AMQP binding of CloudEvents 1.0. In binary mode each attribute is a header `cloudEvents_NAME`, and the body is the data. In
structured mode the body is the whole event. In both, `message_id` is the event's id, and the message is persistent.

An event's routing key is its type, such as `beat.scrape_request.complete`, so a queue can be bound to `beat.scrape_request.*` or `#`.
"""

import struct
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from beat_actors.events import envelope
from beat_actors.events.sink import Event, Place

CHANNEL = 1
PREFIX = "cloudEvents_"
OF_A_TYPE = frozenset({"specversion", "type", "source", "dataschema", "datacontenttype"})
"""Attributes that are the same for each event of a type. Their headers are packed once."""
METHOD, HEADER, BODY, END = 1, 2, 3, 0xCE
BASIC, PUBLISH = 60, 40
MANDATORY = 1
PERSISTENT = 2
CONTENT_TYPE, HEADERS, DELIVERY_MODE, MESSAGE_ID, TIMESTAMP = 1 << 15, 1 << 13, 1 << 12, 1 << 7, 1 << 6
MOST_SHORT = 255
"""Bytes of a short string: routing keys and message ids."""
OF_A_FRAME = 8
"""Bytes of a frame beside its payload."""
TYPES = 1024
"""Types of events whose constant parts are kept. There are some dozens."""

_length = struct.Struct(">I").pack
_tail = struct.Struct(">QBBHI").pack
"""The timestamp and the end of the content header, and the beginning of a body frame."""


class Messages:
    """Packs the events of one sink."""

    def __init__(self, place: Place, exchange: str) -> None:
        self.place = place
        self.exchange = exchange
        content_type = (envelope.STRUCTURED if place.structured else envelope.DATA).encode()
        # Frame type, channel, size; class, weight, bytes of the body, flags; content type.
        head = struct.Struct(f">BHIHHQHB{len(content_type)}s")
        flags = CONTENT_TYPE | DELIVERY_MODE | MESSAGE_ID | TIMESTAMP | (0 if place.structured else HEADERS)
        after = len(head.pack(*(0,) * 8, b"")) - 7

        def pack(rest: int, body: int) -> bytes:
            """`rest`: bytes of the header's payload after the content type. `body`: bytes of the body."""
            return head.pack(HEADER, CHANNEL, after + rest, BASIC, 0, body, flags, len(content_type), content_type)

        self._head = pack
        self._of_a_type: dict[str, tuple[bytes, bytes]] = {}

    def packed(self, event: Event, frame_max: int) -> bytes:
        """The frames that publish `event`, none over `frame_max` bytes. Raises `ValueError`, with a sentence, for an event that cannot be sent."""
        try:
            return self._packed(event, frame_max)
        except (struct.error, OverflowError):
            raise ValueError("the time of the event is before 1970 or cannot be sent") from None

    def _packed(self, event: Event, frame_max: int) -> bytes:
        message_id = event.id.encode()
        if len(message_id) > MOST_SHORT:
            raise ValueError(f"the id of the event has more than {MOST_SHORT} bytes")
        if self.place.structured:
            method, table = self._constant(event.type, {})[0], b""
            body = envelope.structured(event, self.place)
        else:
            known = self._of_a_type.get(event.type)
            if known is None or event.replay or envelope.is_large(event):
                method, fields = self._any(event)
            else:
                # Nearly every event. It is packed in two thirds of the time that a mapping of its attributes takes.
                envelope.check(event)
                method, fixed = known
                subject, time = event.subject.encode(), event.time.encode()
                fields = b"".join((
                    fixed, _ID, _length(len(message_id)), message_id, _SUBJECT, _length(len(subject)), subject,
                    _TIME, _length(len(time)), time, _SEQUENCE, b"%020d" % event.seq,
                ))  # fmt: skip
                if event.account_id:
                    account = event.account_id.encode()
                    fields += b"%b%b%b" % (_ACCOUNT, _length(len(account)), account)
                if event.version is not None:
                    version = b"%d" % event.version
                    fields += b"%b%b%b" % (_VERSION, _length(len(version)), version)
                if event.trace is not None:
                    trace = event.trace.encode()
                    fields += b"%b%b%b" % (_TRACE, _length(len(trace)), trace)
            table = _length(len(fields)) + fields
            body = envelope.body(event)
        rest = len(table) + len(message_id) + 10
        head = self._head(rest, len(body))
        if len(head) + rest + 1 > frame_max:
            raise ValueError("the attributes of the event are larger than a frame")
        seconds = int(datetime.fromisoformat(event.time).timestamp())
        if len(body) > frame_max - OF_A_FRAME or not body:
            end = struct.pack(">QB", seconds, END) + _bodies(body, frame_max - OF_A_FRAME)
        else:
            end = _tail(seconds, END, BODY, CHANNEL, len(body)) + body + b"\xce"
        return b"".join((method, head, table, bytes((PERSISTENT, len(message_id))), message_id, end))

    def _any(self, event: Event) -> tuple[bytes, bytes]:
        """The method frame and the headers of any event."""
        attributes = envelope.attributes(event, self.place)
        method, fixed = self._constant(event.type, attributes)
        parts = [fixed]
        for name, value in attributes.items():
            if name not in OF_A_TYPE:
                encoded = value.encode()
                parts += (_header_name(name), _length(len(encoded)), encoded)
        return method, b"".join(parts)

    def _constant(self, event_type: str, attributes: Mapping[str, str]) -> tuple[bytes, bytes]:
        """The method frame of a type, and the headers that its events share."""
        known = self._of_a_type.get(event_type)
        if known is None:
            if len(self._of_a_type) >= TYPES:
                self._of_a_type.clear()
            headers = b"".join(
                _header_name(name) + _length(len(value.encode())) + value.encode()
                for name, value in attributes.items()
                if name in OF_A_TYPE and name != "datacontenttype"
            )
            known = self._of_a_type[event_type] = (publish_frame(self.exchange, event_type), headers)
        return known


def publish_frame(exchange: str, routing_key: str) -> bytes:
    """`basic.publish`, mandatory. Raises `ValueError` for names that are too long."""
    encoded = exchange.encode(), routing_key.encode()
    if max(map(len, encoded)) > MOST_SHORT:
        raise ValueError(f"the type of the event has more than {MOST_SHORT} bytes")
    names = b"".join(bytes((len(name),)) + name for name in encoded)
    payload = struct.pack(">HHH", BASIC, PUBLISH, 0) + names + bytes((MANDATORY,))
    return struct.pack(">BHI", METHOD, CHANNEL, len(payload)) + payload + b"\xce"


@lru_cache(maxsize=256)
def _header_name(name: str) -> bytes:
    """The name of an attribute's header, and the sign of a long string."""
    encoded = f"{PREFIX}{name}".encode()
    return bytes((len(encoded),)) + encoded + b"S"


def _bodies(body: bytes, most: int) -> bytes:
    """A body in frames of `most` bytes of payload; none for an empty one."""
    pieces = (body[start : start + most] for start in range(0, len(body), most))
    return b"".join(struct.pack(">BHI", BODY, CHANNEL, len(piece)) + piece + b"\xce" for piece in pieces)


_ID, _SUBJECT, _TIME, _ACCOUNT, _VERSION, _TRACE = map(
    _header_name, ("id", "subject", "time", "accountid", "subjectversion", "traceparent")
)
_SEQUENCE = _header_name("sequence") + _length(20)
