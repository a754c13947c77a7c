"""The evidence of what was published: each event's place in the log, and the entries of the stream. The module does no I/O."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from beat_actors.database import Composed

STREAM = "beat:events"
"""The stream of Redis that the stack's sink publishes to."""
EVENT_SINKS = '{"stream": {"url": "redis:", "begin": "start"}}'
"""From the beginning of the log, so that no event of a run comes before its sink."""
REQUEST = "scrape_request/"


class Logged(NamedTuple):
    """An event, and its place in the log: None while it is pending. `at` in epoch seconds.

    `last`: the last place of the log, and `sink`: that of the sink, None where there is no sink; as of the moment at which all were read.
    """

    id: int
    event_id: str
    subject: str
    version: int | None
    seq: int | None
    at: float
    last: int
    sink: int | None


class Entry(NamedTuple):
    """An entry of the stream: the place and the id of its event."""

    seq: int
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """`entries` in the order of the stream. `kept_from`: in epoch seconds; until then the server may have lost what it had.

    The publisher sees a loss when it has the next event to send, and sends all again.
    """

    events: Sequence[Logged]
    entries: Sequence[Entry]
    kept_from: float = 0.0


LOGGED = Composed(
    "chaos/published.logged",
    """
SELECT e.id, e.event_id::text AS event_id, e.subject, e.version, l.seq, extract(epoch FROM e.at)::float8 AS at,
       (SELECT seq FROM event_sequence) AS last, (SELECT min(seq) FROM event_sink) AS sink
FROM event e LEFT JOIN event_log l ON l.id = e.id AND l.at = e.at ORDER BY l.seq, e.id
""",
    Logged,
)


def entries(stream: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> list[Entry]:
    """The entries of a stream as XRANGE returns them."""
    return [Entry(int(fields[b"sequence"]), fields[b"id"].decode()) for _, fields in stream]


def is_at_rest(events: Sequence[Logged]) -> bool:
    """Whether every event has a place, and the sink is at the last one."""
    return all(event.seq is not None and event.sink == event.last for event in events)


def gone(published: Published) -> int:
    """How many events of the log are not in the stream."""
    return len({event.seq for event in published.events} - {entry.seq for entry in published.entries})


def lost_events(published: Published) -> list[str]:
    """Events without a place or missing in the stream, gaps, and whatever stands in a wrong order."""
    return [*_log(published.events), *_stream(published)]


def repeated_events(published: Published) -> list[str]:
    """Events with two places, two events with one id, and places that are in the stream twice."""
    found = _twice("event", (event.id for event in published.events))
    found += _twice("event id", (event.event_id for event in published.events))
    return found + _twice("entry", (entry.seq for entry in published.entries))


def _log(events: Sequence[Logged]) -> list[str]:
    found = [f"event {event.id} of {event.subject} has no place in the log" for event in events if event.seq is None]
    if not events:
        return found
    last, sink = events[0].last, events[0].sink
    placed = sorted((event.seq, event) for event in events if event.seq is not None)
    places = {seq for seq, _ in placed}
    found += [f"place {seq} of the log has no event" for seq in range(1, last + 1) if seq not in places]
    found += [f"place {seq} is behind the end of the log, {last}" for seq in places if not 1 <= seq <= last]
    if sink != last:
        found.append(f"the sink is at {sink}, and the log ends at {last}")
    of_subject: defaultdict[str, list[Logged]] = defaultdict(list)
    for event in {event.id: event for _, event in placed}.values():
        of_subject[event.subject].append(event)
    for subject, own in of_subject.items():
        ids = [event.id for event in own]
        if ids != sorted(ids):
            found.append(f"the events of {subject} have places in another order than they happened: {ids}")
        versions = [event.version for event in own if event.version is not None]
        if subject.startswith(REQUEST) and versions != list(range(1, len(versions) + 1)):
            found.append(f"the events of {subject} have the versions {versions}")
    return found


def _stream(published: Published) -> list[str]:
    there = {entry.seq: entry.event_id for entry in published.entries}
    found = []
    is_loss_seen = any(event.at > published.kept_from for event in published.events)
    for event in published.events:
        if event.seq in there and there[event.seq] != event.event_id:
            found.append(f"the stream has {there[event.seq]} at place {event.seq}, and the log {event.event_id}")
        elif event.seq is not None and event.seq not in there and is_loss_seen:
            found.append(f"the stream lacks place {event.seq}, event {event.id} of {event.subject}")
    order = list(dict.fromkeys(entry.seq for entry in published.entries))
    found += [f"the stream has place {after} behind {before}" for before, after in pairwise(order) if after < before]
    return found


def _twice(what: str, things: Iterable[object]) -> list[str]:
    return [f"{what} {thing} is there {n} times" for thing, n in Counter(things).items() if n > 1]
