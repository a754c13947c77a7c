"""What a sink is: one place that events are published to, such as an exchange of RabbitMQ or a stream of Redis.

A sink is a class with three methods. The relay (`events/relay`) reads the log, keeps the order of each subject, retries, and stores how far a sink
has got; a sink only sends, and says what became of what it sent. A distribution registers its class in the entry-point group `beat.sinks` under the
scheme of its URLs. `tests/conformance/test_sinks.py` tests every registered sink against this contract.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol


class Event(NamedTuple):
    """An event of the log, ready to be sent.

    `seq`: its place in the log, from 1, without gaps. `id`: a UUID, the same for each retry and replay. `version`: 1..n within the life of a request;
    None for other subjects. `time`: RFC 3339, UTC, when it happened. `data`: a JSON object as text. `replay`: it is sent once more because somebody
    asked for it. `trace`: the `traceparent` of W3C Trace Context with which a consumer goes on with the trace of the caller of the request that the event
    is of; None if there is none.
    """

    seq: int
    id: str
    type: str
    subject: str
    version: int | None
    account_id: str | None
    time: str
    data: str
    replay: bool = False
    trace: str | None = None


class Trouble(StrEnum):
    """Why a sink does not take an event, or takes none. Each has its own alert and remedy (`events/troubles`)."""

    UNREACHABLE = "unreachable"
    """No connection, or it broke."""
    AUTH = "auth"
    """The server refused the login, or what the login may do."""
    BLOCKED = "blocked"
    """The server takes no messages for the time being: an alarm of RabbitMQ."""
    NO_CONFIRM = "no_confirm"
    """The server has not confirmed within 10 s, and the connection is alive."""
    NACKED = "nacked"
    """The server refused to store this event: a full queue."""
    UNROUTABLE = "unroutable"
    """No queue is bound for this event."""
    FULL = "full"
    """The server has no memory or disk left."""
    LOST = "lost"
    """The server has lost what it had confirmed, such as a stream that was deleted."""
    INVALID = "invalid"
    """This event can never be sent as it is, such as one that is too large."""


class Refusal(NamedTuple):
    """Why an event was not taken. `reason`: one English sentence for an operator, without secrets."""

    trouble: Trouble
    reason: str


class SinkUnavailable(Exception):
    """A sink takes nothing at the moment. What was sent and not confirmed is sent again.

    `stored`: with `LOST`, the seq up to which the server still has the events, 0 if it has none; None if that is unknown. A sink raises `LOST` once for
    a loss, and then goes on with the next event. The relay may first send again what follows `stored`.
    """

    def __init__(self, trouble: Trouble, reason: str, *, stored: int | None = None) -> None:
        super().__init__(reason)
        self.trouble = trouble
        self.stored = stored


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sink sends to, and how. `url`: as in BEAT_EVENT_SINKS, with its login. `options`: what the URL's query names.

    `source`: the `source` attribute of every event. `structured`: whole CloudEvents as JSON instead of attributes beside the data.
    """

    name: str
    url: str = field(repr=False)
    source: str = "urn:beat"
    structured: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


class Sink(Protocol):
    """One place that events are published to. Made with `Place`; used in one event loop, by one relay at a time.

    `in_order`: it takes all of a batch, or the first part and refuses the rest, so a batch may hold several events of one subject. The relay gives any
    other sink no event of a subject before it knows what became of the one before.
    """

    in_order: bool

    def __init__(self, place: Place) -> None:
        """Raises `BadSettings` for a URL or options that cannot be used. Does no I/O."""

    async def open(self, position: int = 0) -> None:
        """Connect, and declare what is published to. Called again after `close`, and after `SinkUnavailable`.

        `position`: the highest seq that this sink has stored, by the relay's records; 0 if there is none or it is unknown. An event that was parked, or
        that is not for this place, does not count, however far the relay has read. A sink whose server can say
        how far it has got compares the two. Raises `SinkUnavailable`.
        """

    async def publish(self, events: Sequence[Event]) -> Mapping[int, Refusal]:
        """Send these events in this order; return when the server has stored or refused each, with the refused ones by their place in `events`.

        Several calls may be in flight; their events are sent in the order of the calls. Raises `SinkUnavailable` if what became of them is unknown;
        any of them may then be stored, and all are sent again.
        """

    def trouble(self) -> Refusal | None:
        """What keeps calls of `publish` from returning at the moment; None if nothing does."""

    async def close(self) -> None:
        """Disconnect. Calls in flight raise `SinkUnavailable`. Never raises."""
