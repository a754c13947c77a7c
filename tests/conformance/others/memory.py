"""A sink over a server in memory, with its stand. `fault` names what is wrong with the sink."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from beat_actors.errors import BadSettings
from beat_actors.events.envelope import attributes, body
from beat_actors.events.sink import Event, Place, Refusal, SinkUnavailable, Trouble
from beat_actors.events.sinks.conformance import Arrived
from beat_actors.events.sinks.options import Options

FAULTS = (
    "loses an event",
    "swaps two events",
    "stores what is sent again",
    "makes a new id for a resend",
    "refuses all for one",
    "hides a refusal",
    "says nothing of replays",
    "changes the data",
    "leaves the trace out",
    "raises at close",
    "has its own error",
    "never connects again",
    "tells its password",
    "takes any option",
    "takes a later event while full",
    "mixes calls",
)


@dataclass
class Server:
    """`session`: how often it crashed. A connection belongs to one session."""

    stored: list[Arrived] = field(default_factory=list)
    session: int = 0
    is_up: bool = True
    room: int | None = None


SERVERS: dict[str, Server] = {}
FAULT = {"name": ""}


def is_faulty(name: str) -> bool:
    assert name in FAULTS
    return FAULT["name"] == name


class MemorySink:
    in_order = True

    def __init__(self, place: Place) -> None:
        if is_faulty("takes any option"):
            return
        options = Options(place, ())
        if options.parts.password != "secret-word":
            raise BadSettings("the URL has no password")
        self._place = place
        self._server = SERVERS[options.parts.hostname or ""]
        self._session = -1
        self._turn = asyncio.Lock()

    async def open(self, position: int = 0) -> None:
        if is_faulty("never connects again") and self._session >= 0:
            raise SinkUnavailable(Trouble.UNREACHABLE, "it was connected before")
        if not self._server.is_up:
            if is_faulty("has its own error"):
                raise ConnectionError("down")
            raise SinkUnavailable(Trouble.UNREACHABLE, self._reason())
        self._session = self._server.session

    async def publish(self, events: Sequence[Event]) -> Mapping[int, Refusal]:
        if is_faulty("mixes calls"):
            return await self._publish(events)
        async with self._turn:
            return await self._publish(events)

    async def _publish(self, events: Sequence[Event]) -> Mapping[int, Refusal]:
        refused: dict[int, Refusal] = {}
        for number, event in enumerate(events):
            await asyncio.sleep(0)
            if self._session != self._server.session or not self._server.is_up:
                raise SinkUnavailable(Trouble.UNREACHABLE, self._reason())
            try:
                named = attributes(event, self._place)
            except ValueError as error:
                if is_faulty("refuses all for one"):
                    return dict.fromkeys(range(len(events)), Refusal(Trouble.INVALID, str(error)))
                if not is_faulty("hides a refusal"):
                    refused[number] = Refusal(Trouble.INVALID, str(error))
                continue
            if self._server.room is not None:
                if is_faulty("takes a later event while full") and number == len(events) - 1 > 0:
                    self._store(event, named)
                    return {n: refusal for n, refusal in refused.items() if n != number}
                refused[number] = Refusal(Trouble.FULL, "no room")
                continue
            self._store(event, named)
        return refused

    def _store(self, event: Event, named: Mapping[str, str]) -> None:
        if event.seq == 7 and is_faulty("loses an event"):
            return
        known = [one.id for one in self._server.stored if not one.replay]
        if not event.replay and event.id in known and not is_faulty("stores what is sent again"):
            if not is_faulty("makes a new id for a resend"):
                return
            named = {**named, "id": f"{event.id}-{len(known)}"}
        is_replay = event.replay and not is_faulty("says nothing of replays")
        data = "{}" if is_faulty("changes the data") else body(event).decode()
        trace = None if is_faulty("leaves the trace out") else named.get("traceparent")
        self._server.stored.append(
            Arrived(named["id"], named["subject"], int(named["sequence"]), data, is_replay, trace)
        )
        if event.seq == 9 and is_faulty("swaps two events") and event.subject == "scrape_request/2":
            self._server.stored.insert(0, self._server.stored.pop())

    def trouble(self) -> Refusal | None:
        return None

    async def close(self) -> None:
        if is_faulty("raises at close"):
            raise SinkUnavailable(Trouble.UNREACHABLE, "not open")
        if self._session >= 0:
            self._session = self._session if is_faulty("never connects again") else -1

    def _reason(self) -> str:
        return f"no way to {self._place.url}" if is_faulty("tells its password") else "the server is down"


@dataclass
class MemoryStand:
    place: Place
    secrets: Sequence[str] = ("secret-word",)
    once: bool = True
    make = MemorySink

    @property
    def server(self) -> Server:
        return SERVERS["one"]

    async def arrived(self) -> Sequence[Arrived]:
        return self.server.stored

    def stop(self) -> None:
        if self.server.is_up:
            self.server.is_up, self.server.session = False, self.server.session + 1

    def start(self) -> None:
        self.server.is_up = True

    def fill(self) -> bool:
        self.server.room = 0
        return True

    def drain(self) -> None:
        self.server.room = None

    def wrong_login(self) -> None:
        return None


def stand() -> MemoryStand:
    SERVERS["one"] = Server()
    return MemoryStand(Place("test", "memory://beat:secret-word@one"))
