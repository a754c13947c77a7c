"""The actor `publish`: one process that gives events their places in the log and relays them to every sink that is configured.

It is an actor whose mailbox is the log: it needs no message, so it publishes while Redis is down. Any number of its processes may run; each sink has
one relay at work at a time, in whichever process holds its lease.
"""

import asyncio
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from beat_actors.database import Database, jsonb
from beat_actors.errors import BadSettings, StorageUnavailable
from beat_actors.event_sinks import EventSink
from beat_actors.events.log import SEQUENCED, sequence
from beat_actors.events.positions import ENROLL, Wanted
from beat_actors.events.relay import Relay
from beat_actors.events.sink import Place
from beat_actors.events.sinks.registry import make_sink, scheme
from beat_actors.failpoints import hit
from beat_actors.logger import get_logger
from beat_actors.pausing import pause
from beat_actors.settings import Settings

log = get_logger(__name__)

BUSY, IDLE = 0.01, 0.75
"""Seconds between two looks for pending events: while there are some, and while there are none."""


def place_of(settings: Settings, name: str, sink: EventSink) -> Place:
    """Where a configured sink sends to: its URL, and the options of the URL's query. The URL `redis:` is BEAT_REDIS_URL."""
    url, _, query = sink.url.get_secret_value().partition("?")
    if url == "redis:":
        url, _, theirs = str(settings.redis_url).partition("?")
        query = "&".join(part for part in (theirs, query) if part)
    options = dict(parse_qsl(query, keep_blank_values=True))
    return Place(name, url, settings.event_source, sink.structured, options)


@dataclass(slots=True)
class Publisher:
    """Make it inside a running event loop."""

    database: Database
    _last: int = 0
    _relays: list[Relay] = field(default_factory=list)

    async def run(self, stopped: asyncio.Event) -> None:
        """Publish until `stopped`; what is confirmed by then is written down. A sink that cannot be made is logged, and harms no other."""
        holder = f"{socket.gethostname()}:{os.getpid()}"
        for name, sink in self.database.settings.event_sinks.items():
            try:
                made = make_sink(place_of(self.database.settings, name, sink))
            except BadSettings as error:
                log.error("sink_unusable", sink=name, error=str(error))
                continue
            wanted = Wanted(sink.types, sink.accounts, sink.order == "wait")
            self._relays.append(Relay(self.database, name, made, wanted, holder, self.last))
        await self._enroll(stopped)
        await asyncio.gather(self._sequence(stopped), *(relay.run(stopped) for relay in self._relays))

    def last(self) -> int:
        """The last place of the log, as far as this process knows."""
        return self._last

    async def _enroll(self, stopped: asyncio.Event) -> None:
        sinks: Mapping[str, EventSink] = self.database.settings.event_sinks
        while not stopped.is_set():
            try:
                async with self.database.statements() as alone:
                    for relay in self._relays:
                        sink = sinks[relay.name]
                        wanted = {"types": sink.types, "accounts": sink.accounts, "order": sink.order}
                        values = {"name": relay.name, "whole": sink.begin == "start", "wanted": jsonb(wanted)}
                        await alone.run(ENROLL, values | {"scheme": scheme(sink.url.get_secret_value())})
                return
            except StorageUnavailable as error:
                log.warning("sinks_not_enrolled", error=str(error))
                await asyncio.sleep(1.0)

    async def _sequence(self, stopped: asyncio.Event) -> None:
        wait = BUSY
        while not stopped.is_set():
            moved = 0
            try:
                hit("publish.before_sequence")
                async with self.database.statements() as alone:
                    moved, last = await sequence(alone)
                if moved:
                    hit("publish.after_sequence")
                if last != self._last:
                    self._last = last
                    for relay in self._relays:
                        relay.news.set()
            except StorageUnavailable as error:
                log.warning("sequencing_skipped", error=str(error))
            wait = BUSY if moved else min(wait * 1.5, IDLE)
            if moved < SEQUENCED:
                await pause(stopped.wait(), within=wait)
