"""The context of a trace as W3C Trace Context defines it, and the ids of traces and spans. Pure.

Ids are computed from the row of a request. So they can be shown before an export, and a repeated export has the same ids.
"""

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple, Self

TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
"""https://www.w3.org/TR/trace-context-2/#traceparent-header: versions above 00 may have more behind a dash; ff is invalid."""
LONGEST_PARENT = 255
SAMPLED = 1
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
STORED = 25
"""Bytes of a context in a row: the ids of the trace and of the parent span, and the flags."""


class Context(NamedTuple):
    """What a caller sent: the ids in lower-case hex, 32 and 16 digits; the flags.

    The header `tracestate` is not read: it tells other tracing systems what they wrote, and a caller writes in it what it likes. The standard allows
    a service that passes `traceparent` on to leave it out.
    """

    trace_id: str
    parent_id: str
    flags: int

    @property
    def sampled(self) -> bool:
        return bool(self.flags & SAMPLED)

    @property
    def stored(self) -> bytes:
        """As the row of a request has it."""
        return bytes.fromhex(self.trace_id + self.parent_id) + bytes([self.flags])

    @classmethod
    def read(cls, stored: bytes | None) -> Self | None:
        """From the column of a request; `None` for a request whose caller sent none."""
        if stored is None or len(stored) != STORED:
            return None
        return cls(stored[:16].hex(), stored[16:24].hex(), stored[24])


def parse(traceparent: str | None) -> Context | None:
    """What this header says; `None` for none, or for one that the standard says to ignore."""
    if traceparent is None or len(traceparent) > LONGEST_PARENT:
        return None
    found = TRACEPARENT.fullmatch(traceparent.strip(" \t"))
    if found is None:
        return None
    version, trace_id, parent_id, flags, more = found.groups()
    if (version == "00" and more) or not int(trace_id, 16) or not int(parent_id, 16):
        return None
    # Of the flags only those that version 00 knows: the others say nothing of what they would mean.
    return Context(trace_id, parent_id, int(flags, 16) & SAMPLED)


class Ids(NamedTuple):
    """Of a run of a request: its trace, the span of the whole request, and the span of publishing the event that ends the run."""

    trace: str
    root: str
    end: str


def ids(request_id: int, created_at: datetime, run: int, context: Context | None) -> Ids:
    """A run is counted from 0. Its trace is the caller's for the first run, a derived one otherwise.

    The time of creation makes ids of installations differ that export to the same backend. All three are of one hash: each event is sent with two of
    them.
    """
    micros = (created_at - EPOCH) // MICROSECOND
    made = sha256(b"beat trace %d %d %d" % (request_id, micros, run)).hexdigest()
    trace = made[:32] if context is None or run else context.trace_id
    return Ids(trace, made[32:48], made[48:])


def span_id(trace: str, *of: object) -> str:
    """The id of the span of a trace that stands for these values, such as `("call", 7, 1)`."""
    return sha256(" ".join(map(str, (trace, *of))).encode()).hexdigest()[:16]


def span_of(trace: str, request_id: int, run: int, *of: object) -> str:
    """A span of a request. Other requests of the caller may have the same trace, so the request is part of it."""
    return span_id(trace, request_id, run, *of)


def publishing(event_type: str) -> tuple[str, str]:
    """What the span of an event of a request stands for, as `span_of` takes it; the one of the event that ends a run has `Ids.end`."""
    return "publish", event_type


def delivering(event_type: str, endpoint_id: int) -> tuple[str, str, int]:
    """What the span of the delivery of an event to an endpoint stands for, with all its attempts."""
    return "deliver", event_type, endpoint_id
