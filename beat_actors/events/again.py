"""What a relay sends again beside what is new: events that were set aside and whose next try is due, and replays that somebody asked for."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beat_actors.database import Database, arrays
from beat_actors.errors import StorageUnavailable
from beat_actors.events.catalog import matches
from beat_actors.events.positions import (
    ALONE,
    DUE,
    LOOK,
    PAGE,
    READ,
    REFUSED_AGAIN,
    REPLAY,
    REPLAYED,
    UNPARK,
    Replay,
    Wanted,
    due,
    read,
    reading,
)
from beat_actors.events.sink import Event, Refusal, Sink, SinkUnavailable, Trouble
from beat_actors.events.window import rounds
from beat_actors.logger import get_logger

log = get_logger(__name__)

PARKED_AFTER = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds until the next try of a parked event; the last of them from then on."""
DUE_BATCH = 500


@dataclass(slots=True)
class Again:
    """Of one sink, while the relay has its lease."""

    database: Database
    name: str
    sink: Sink
    wanted: Wanted
    _looking: asyncio.Task[None] | None = None
    _replaying: asyncio.Task[None] | None = None
    _sent: int = 0

    def begin(self) -> None:
        """Try what is due, and go on with the oldest replay, each beside what is new. Neither is begun while it runs."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._alone(self._look()))

    async def _look(self) -> None:
        async with self.database.statements() as alone:
            found = await alone.only(LOOK, {"sink": self.name})
        if found.replay and (self._replaying is None or self._replaying.done()):
            self._replaying = asyncio.ensure_future(self._alone(self._begin_replay()))
        while found.due and await self._try_parked():
            pass  # the next one of each subject is due

    def counted(self) -> int:
        """Events that were sent since this was asked last."""
        sent, self._sent = self._sent, 0
        return sent

    def cancel(self) -> None:
        """The lease ends. What is due is tried, and a replay goes on, by who has it next."""
        for task in (self._looking, self._replaying):
            if task is not None:
                task.cancel()

    async def _alone(self, work: Coroutine[Any, Any, None]) -> None:
        """Whatever it raises is logged; it is begun again with the next look."""
        try:
            await work
        except (SinkUnavailable, StorageUnavailable) as error:
            log.warning("sink_again_skipped", sink=self.name, reason=str(error))
        except Exception:
            log.exception("sink_again_failed", sink=self.name)

    async def _try_parked(self) -> bool:
        """Whether any was taken."""
        async with self.database.statements() as alone:
            rows = due(await alone.only(DUE, {"sink": self.name, "limit": DUE_BATCH, "waits": self.wanted.waits}))
        if not rows:
            return False
        # A sink that keeps the order itself has gone past their places: they come as what they are, sent once more.
        refused = await self._publish([row.event(replay=self.sink.in_order) for row in rows])
        taken = [row.seq for place, row in enumerate(rows) if place not in refused]
        again = [
            (
                row.seq,
                refused[place].trouble.value,
                refused[place].reason[:500],
                next_try(row.tries + 1, refused[place]),
            )
            for place, row in enumerate(rows)
            if place in refused
        ]
        async with self.database.transaction() as transaction:
            if taken:
                await transaction.run(ALONE, {"sink": self.name})
                await transaction.run(UNPARK, {"sink": self.name, "seqs": taken})
            if again:
                named = arrays(again, "seqs", "troubles", "reasons", "seconds")
                await transaction.run(REFUSED_AGAIN, {"sink": self.name} | named)
        self._sent += len(taken)
        return bool(taken)

    async def _publish(self, events: Sequence[Event]) -> Mapping[int, Refusal]:
        """As the sink does. What it raises for a batch is found by sending each event alone. Raises `SinkUnavailable`."""
        try:
            return await self.sink.publish(events)
        except SinkUnavailable:
            raise  # it says nothing of these
        except Exception as error:
            if len(events) == 1:
                log.exception("sink_failed", sink=self.name)
                return {0: Refusal(Trouble.INVALID, f"the sink raised {type(error).__name__} for it: {error}"[:300])}
        refused = {}
        for place, event in enumerate(events):
            if (found := (await self._publish([event])).get(0)) is not None:
                refused[place] = found
        return refused

    async def _begin_replay(self) -> None:
        async with self.database.statements() as alone:
            found = await alone.row(REPLAY, {"sink": self.name})
        if found is not None:
            await self._replay(found)

    async def _replay(self, replay: Replay) -> None:
        """Send a replay at its rate. One that stands, or of which an event is refused, is begun again where it stopped; what can never be sent is
        passed."""
        loop, position, done = asyncio.get_running_loop(), replay.position, False
        wanted = Wanted(replay.types, self.wanted.accounts)
        most = min(PAGE, max(replay.rate, 1))
        page = most
        while not done:
            begun, error = loop.time(), None
            async with self.database.statements() as alone:
                found = await alone.only(READ, reading(position, replay.to_seq, page, wanted, replay))
            events = [row.event(replay=True) for row in read(found.events) if self._wants(row.type)]
            position, sent, held = replay.to_seq if found.seq is None else found.seq, 0, None
            # Places without an event that is wanted are passed faster than the rate.
            page = most if events else min(page * 2, PAGE)
            if len(events) > most:
                events, position = events[:most], events[most - 1].seq
            for batch in rounds(events, in_order=self.sink.in_order):
                refused = await self._publish(batch)
                sent += len(batch) - len(refused)
                error = next((one.reason for one in refused.values()), error)
                held = min(
                    (batch[at].seq for at, one in refused.items() if one.trouble is not Trouble.INVALID), default=None
                )
                if held is not None:
                    position = held - 1
                    break
            done = position >= replay.to_seq
            written = {"id": replay.id, "position": position, "sent": sent, "ended": done, "error": error}
            async with self.database.statements() as alone:
                if not await alone.run(REPLAYED, written) or held is not None:
                    return  # it was cancelled, or goes on with the next look
            await asyncio.sleep(max(len(events) / replay.rate - (loop.time() - begun), 0.0))

    def _wants(self, event_type: str) -> bool:
        return any(matches(pattern, event_type) for pattern in self.wanted.types)


def next_try(tries: int, refusal: Refusal) -> float | None:
    """Seconds until a parked event is tried again; None: an operator decides."""
    if refusal.trouble is Trouble.INVALID:
        return None
    return PARKED_AFTER[min(tries, len(PARKED_AFTER) - 1)]
