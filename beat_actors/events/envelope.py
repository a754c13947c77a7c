"""An event as a CloudEvent 1.0: its context attributes beside its data (binary mode), or all of it as one JSON text (structured mode).

Every sink builds its messages here, so an event has the same attributes wherever it is read. What an attribute means to a consumer stands in
docs/events.md. Nothing here does I/O. An event costs less than 2 µs: what depends only on its type and source is made once, and the data are
copied as text, never parsed.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring as quoted
from typing import NamedTuple

from beat_actors.events.catalog import schema_path
from beat_actors.events.sink import Event, Place

MOST_DATA = 65_536
"""Bytes of data that an event carries. CloudEvents asks intermediaries for 64 KiB only; an event with more names where its data are (`dataref`)."""
STRUCTURED = "application/cloudevents+json"
"""The content type of `structured`."""
DATA = "application/json"
"""The content type of `body`."""
MOST_SEQUENCE = 10**20 - 1
TYPE = re.compile(r"[A-Za-z0-9_.-]{1,255}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Characters that CloudEvents allows in no attribute. The first group would also break headers."""


class Fixed(NamedTuple):
    """What all events of a type from one source share: their attributes, and the beginning of their JSON text."""

    attributes: dict[str, str]
    start: str


def attributes(event: Event, place: Place) -> Mapping[str, str]:
    """The context attributes of an event by their names, all as strings; the data are `body`.

    A new mapping each time, which the caller may change. Raises `ValueError`, with a sentence without the event's values, for an event that can be no
    CloudEvent.
    """
    check(event)
    made = _fixed(event.type, place.source).attributes.copy()
    made["id"] = event.id
    made["subject"] = event.subject
    made["time"] = event.time
    made["sequence"] = str(event.seq).zfill(20)
    if event.account_id:
        made["accountid"] = event.account_id
    if event.version is not None:
        made["subjectversion"] = str(event.version)
    if event.replay:
        made["replay"] = "true"
    if event.trace is not None:
        made["traceparent"] = event.trace
    if is_large(event):
        made["dataref"] = _dataref(event)
    return made


def body(event: Event) -> bytes:
    """The data of an event, UTF-8; empty for an event whose data are too large and have to be read from its `dataref`.

    Raises `ValueError` for text that is no Unicode.
    """
    return b"" if is_large(event) else event.data.encode()


def structured(event: Event, place: Place) -> bytes:
    """The event with its attributes and data as one JSON object (`STRUCTURED`), UTF-8. All attributes are strings, as in `attributes`.

    Raises `ValueError` as `attributes` does. That the data are a valid JSON object is the log's promise: PostgreSQL wrote them.
    """
    check(event)
    text = (
        f'{_fixed(event.type, place.source).start},"id":{quoted(event.id)},"subject":{quoted(event.subject)},'
        f'"time":"{event.time}","sequence":"{str(event.seq).zfill(20)}"'
    )
    if event.account_id:
        text += f',"accountid":{quoted(event.account_id)}'
    if event.version is not None:
        text += f',"subjectversion":"{event.version}"'
    if event.replay:
        text += ',"replay":"true"'
    if event.trace is not None:
        text += f',"traceparent":{quoted(event.trace)}'
    if is_large(event):
        return f'{text},"dataref":"{_dataref(event)}"}}'.encode()
    return f'{text},"data":{event.data}}}'.encode()


def is_large(event: Event) -> bool:
    """Whether the data are more than `MOST_DATA` bytes of UTF-8."""
    characters = len(event.data)
    if characters <= MOST_DATA // 4:
        return False
    return characters > MOST_DATA or (not event.data.isascii() and len(event.data.encode()) > MOST_DATA)


def check(event: Event) -> None:
    """Raises `ValueError` for an event that can be no CloudEvent, or whose data are no JSON object by their first and last character."""
    if not (event.id and event.subject):
        raise ValueError("the event has no id or no subject")
    values = f"{event.id}{event.subject}{event.account_id}"
    if not (values.isascii() and values.isprintable()) and FORBIDDEN.search(values):
        raise ValueError("the id, the subject or the account of the event has a control character or no Unicode")
    if not 0 < event.seq <= MOST_SEQUENCE:
        raise ValueError(f"the place of the event in the log is not from 1 to {MOST_SEQUENCE}")
    if TIME.fullmatch(event.time) is None:
        raise ValueError("the time of the event is not RFC 3339")
    if event.data[:1] != "{" or event.data[-1] != "}":
        raise ValueError("the data of the event are not a JSON object")


def schema_uri(event_type: str, source: str) -> str | None:
    """The `dataschema` of a type's events: below `source` where that is a URL, otherwise a URN. None for a type that this release does not know.

    CloudEvents asks for an absolute URI here, and several SDKs refuse events with a relative one.
    """
    path = schema_path(event_type)
    if path is None:
        return None
    if source.startswith(("https://", "http://")):
        return source.rstrip("/") + path
    return f"urn:beat:{path.removeprefix('/')}"


@lru_cache(maxsize=1024)
def _fixed(event_type: str, source: str) -> Fixed:
    """Raises `ValueError` for a type or source that no CloudEvent can have."""
    if TYPE.fullmatch(event_type) is None:
        raise ValueError("the type of the event is not 1 to 255 letters, digits, dots, hyphens and underscores")
    if not source or not source.isascii() or not source.isprintable() or " " in source:
        raise ValueError("the source of the events is not a URI")
    found = {"specversion": "1.0", "type": event_type, "source": source, "datacontenttype": DATA}
    schema = schema_uri(event_type, source)
    if schema is not None:
        found["dataschema"] = schema
    start = ",".join(f"{quoted(name)}:{quoted(value)}" for name, value in found.items())
    return Fixed(found, "{" + start)


def _dataref(event: Event) -> str:
    return f"/v1/events/{event.seq}"
