"""Events as one EVAL of `redis_streams.lua`, in bytes that go on the wire as they are. Nothing here does I/O."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from beat_actors.events.envelope import attributes, body, structured
from beat_actors.events.sink import Event, Place, Refusal, Trouble

SCRIPT = Path(__file__).with_name("redis_streams.lua").read_bytes()
MOST_EVENTS, MOST_BYTES = 256, 1 << 20
"""Of a run. Redis does nothing else while it appends one, and it carries the work queue too: about 2 ms."""


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


@lru_cache(maxsize=256)
def _name(name: str) -> str:
    return _value(name)


def _value(value: str) -> str:
    return f"${len(value) if value.isascii() else len(value.encode())}\r\n{value}\r\n"


_FIXED = frozenset({"specversion", "type", "source", "datacontenttype", "dataschema"})
"""Attributes that a type's events from one source share. They are packed once."""
_packed: dict[tuple[str, str], str] = {}
_DATA, _EVENT = bulk(b"data"), bulk(b"event")
_EVAL = b"$4\r\nEVAL\r\n" + bulk(SCRIPT) + b"$1\r\n1\r\n"


class Run(NamedTuple):
    """Events that one script appends. `places`: where each is in the batch. `last`: the seq of the last one."""

    replay: bool
    places: list[int]
    parts: list[bytes]
    first: int
    last: int
    arguments: int
    size: int

    def command(self, stream: str, *, stored: int, ahead: int) -> list[bytes]:
        """The whole command, to be written as it is."""
        head = b"*%d\r\n" % (3 + 1 + 4 + self.arguments)
        mode = b"replay" if self.replay else b"log"
        limits = (b"%d" % stored, b"%d" % ahead, b"%d" % len(self.places))
        return [head, _EVAL, bulk(stream.encode()), bulk(mode), *map(bulk, limits), *self.parts]


NO_EVENTS = Run(replay=False, places=[], parts=[], first=0, last=0, arguments=0, size=0)
"""Only looks at how far the stream has got."""


def runs(events: Sequence[Event], place: Place, refused: dict[int, Refusal]) -> Iterator[Run]:
    """The events in their order, in runs of at most `MOST_EVENTS` and about `MOST_BYTES`. Those that can be no CloudEvent are added to `refused`."""
    places: list[int] = []
    parts: list[bytes] = []
    first = last = arguments = size = 0
    replay = False
    for number, event in enumerate(events):
        try:
            packed, count = _structured(event, place) if place.structured else _binary(event, place)
        except ValueError as error:
            refused[number] = Refusal(Trouble.INVALID, str(error))
            continue
        if places and (replay != event.replay or len(places) == MOST_EVENTS or size + len(packed) > MOST_BYTES):
            yield Run(replay, places, parts, first, last, arguments, size)
            places, parts, arguments, size = [], [], 0, 0
        if not places:
            first, replay = event.seq, event.replay
        places.append(number)
        parts.append(packed)
        last = event.seq
        arguments += count + 3
        size += len(packed)
    if places:
        yield Run(replay, places, parts, first, last, arguments, size)


def _head(event: Event, count: int) -> str:
    return f"{_value(str(event.seq))}{_value(event.id)}{_name(str(count))}"


def _binary(event: Event, place: Place) -> tuple[bytes, int]:
    """A field for each attribute, and `data`. Raises `ValueError` as `attributes` does."""
    named = attributes(event, place)
    count = 2 * len(named) + 2
    parts = [_head(event, count), _packed.get((event.type, place.source)) or _shared(event, place, named)]
    for name, value in named.items():
        if name not in _FIXED:
            size = len(value) if value.isascii() else len(value.encode())
            parts.append(f"{_name(name)}${size}\r\n{value}\r\n")
    data = body(event)
    return b"%b%b$%d\r\n%b\r\n" % ("".join(parts).encode(), _DATA, len(data), data), count


def _shared(event: Event, place: Place, named: Mapping[str, str]) -> str:
    if len(_packed) >= 1024:
        _packed.clear()
    made = "".join(_value(name) + _value(value) for name, value in named.items() if name in _FIXED)
    return _packed.setdefault((event.type, place.source), made)


def _structured(event: Event, place: Place) -> tuple[bytes, int]:
    """One field `event` that holds all of it. Raises `ValueError` as `structured` does."""
    whole = structured(event, place)
    return b"%b%b$%d\r\n%b\r\n" % (_head(event, 2).encode(), _EVENT, len(whole), whole), 2
