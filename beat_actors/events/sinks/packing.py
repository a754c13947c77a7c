"""Events as commands of Redis, in bytes that go on the wire as they are. Nothing here does I/O.

A run of events is one transaction of XADDs, whose reply is known beforehand; or, where more than that has to be found out, one call of
`redis_streams.lua`, which costs Redis four times as much.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from beat_actors.events.envelope import MOST_DATA, attributes, body, check, structured
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
_ALWAYS = ("id", "subject", "time", "sequence", "data")
"""The other fields that no event is without."""
_packed: dict[tuple[str, str], tuple[str, int]] = {}
"""What is shared by events of a type from a source, and how many names and values an event of them has at least."""
_DATA, _EVENT = bulk(b"data"), bulk(b"event")
_EVAL = b"$4\r\nEVAL\r\n" + bulk(SCRIPT) + b"$1\r\n1\r\n"


@dataclass(slots=True)
class Run:
    """Events that are appended in one step. `places`: where each is in the batch. `fields`: names and values, `counts` of them. `size`: in bytes."""

    replay: bool = False
    places: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    fields: list[bytes] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    size: int = 0

    @property
    def first(self) -> int:
        return self.events[0].seq

    @property
    def last(self) -> int:
        return self.events[-1].seq

    def is_ascending(self) -> bool:
        return all(before.seq < after.seq for before, after in pairwise(self.events))

    def script(self, stream: str, *, stored: int, ahead: int) -> list[bytes]:
        """The call of the script."""
        head = b"*%d\r\n" % (3 + 1 + 4 + 3 * len(self.events) + sum(self.counts))
        limits = (b"%d" % stored, b"%d" % ahead, b"%d" % len(self.events))
        words = [head, _EVAL, bulk(stream.encode()), bulk(b"replay" if self.replay else b"log"), *map(bulk, limits)]
        for event, count, fields in zip(self.events, self.counts, self.fields, strict=True):
            words += (f"{_value(str(event.seq))}{_value(event.id)}{_name(str(count))}".encode(), fields)
        return words

    def transaction(self, stream: str) -> list[bytes]:
        """The XADDs of a stream that exists and ends before the first of these events. `reply` is what Redis answers."""
        words = [b"*1\r\n$5\r\nMULTI\r\n"]
        command = f"$4\r\nXADD\r\n{_value(stream)}$10\r\nNOMKSTREAM\r\n"
        for event, count, fields in zip(self.events, self.counts, self.fields, strict=True):
            words += (f"*{count + 4}\r\n{command}{_value(f'{event.seq}-0')}".encode(), fields)
        words.append(b"*1\r\n$4\r\nEXEC\r\n")
        return words

    def reply(self) -> bytes:
        """To `transaction`, if each event was appended under its own id."""
        count = len(self.events)
        ids = "".join(_value(f"{event.seq}-0") for event in self.events)
        return b"+OK\r\n" + b"+QUEUED\r\n" * count + f"*{count}\r\n{ids}".encode()


def runs(events: Sequence[Event], place: Place, refused: dict[int, Refusal]) -> Iterator[Run]:
    """The events in their order, in runs of at most `MOST_EVENTS` and about `MOST_BYTES`. Those that can be no CloudEvent are added to `refused`."""
    run = Run()
    for number, event in enumerate(events):
        try:
            fields, count = _structured(event, place) if place.structured else _binary(event, place)
        except ValueError as error:
            refused[number] = Refusal(Trouble.INVALID, str(error))
            continue
        is_full = len(run.events) == MOST_EVENTS or run.size + len(fields) > MOST_BYTES
        if run.events and (is_full or run.replay != event.replay):
            yield run
            run = Run()
        run.replay = event.replay
        run.places.append(number)
        run.events.append(event)
        run.fields.append(fields)
        run.counts.append(count)
        run.size += len(fields)
    if run.events:
        yield run


def _binary(event: Event, place: Place) -> tuple[bytes, int]:
    """A field for each attribute, and `data`. Raises `ValueError` as `attributes` does."""
    seq, identity, kind, subject, version, account, time, data, replay, trace = event
    shared = _packed.get((kind, place.source))
    if shared is None or replay or len(data) > MOST_DATA:
        return _any(event, place)
    # Nearly every event. It is packed in half the time that a mapping of its attributes takes.
    check(event)
    fixed, count = shared
    text = (
        f"{fixed}$2\r\nid\r\n${len(identity)}\r\n{identity}\r\n$7\r\nsubject\r\n${len(subject)}\r\n{subject}\r\n"
        f"$4\r\ntime\r\n${len(time)}\r\n{time}\r\n$8\r\nsequence\r\n$20\r\n{seq:020d}\r\n"
    )
    if account:
        text += f"$9\r\naccountid\r\n${len(account)}\r\n{account}\r\n"
        count += 2
    if version is not None:
        text += f"$14\r\nsubjectversion\r\n{_value(str(version))}"
        count += 2
    if trace is not None:
        text += f"$11\r\ntraceparent\r\n{_value(trace)}"
        count += 2
    text += f"$4\r\ndata\r\n${len(data)}\r\n{data}\r\n"
    # Sizes are bytes: those of other text are not its characters.
    return (text.encode(), count) if text.isascii() else _any(event, place)


def _any(event: Event, place: Place) -> tuple[bytes, int]:
    """As `_binary`, for each event."""
    named = attributes(event, place)
    fixed, _ = _packed.get((event.type, place.source)) or _shared(event, place, named)
    others = "".join(_name(name) + _value(value) for name, value in named.items() if name not in _FIXED)
    data = body(event)
    return b"%b%b$%d\r\n%b\r\n" % ((fixed + others).encode(), _DATA, len(data), data), 2 * len(named) + 2


def _shared(event: Event, place: Place, named: Mapping[str, str]) -> tuple[str, int]:
    if len(_packed) >= 1024:
        _packed.clear()
    shared = {name: value for name, value in named.items() if name in _FIXED}
    made = "".join(_value(name) + _value(value) for name, value in shared.items())
    return _packed.setdefault((event.type, place.source), (made, 2 * (len(shared) + len(_ALWAYS))))


def _structured(event: Event, place: Place) -> tuple[bytes, int]:
    """One field `event` that holds all of it. Raises `ValueError` as `structured` does."""
    whole = structured(event, place)
    return b"%b$%d\r\n%b\r\n" % (_EVENT, len(whole), whole), 2
