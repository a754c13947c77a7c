"""What was published and is not confirmed yet. Nothing here does I/O or reads a clock.

The server counts the messages of a channel from 1 (delivery tags). It confirms one, or all up to one, in any order. A message that no queue takes is
returned first and confirmed afterwards.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

from beat_actors.events.sink import Event, Refusal, Trouble


class Batch:
    """The events of one call, which have consecutive tags from `first`.

    `refusals`: by the event's place in the call. `done`: set when all were sent and confirmed, or when the connection has ended.
    """

    def __init__(self, events: Sequence[Event], sent_at: float) -> None:
        self.events = events
        self.refusals: dict[int, Refusal] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.first = 0
        self.sent_at = sent_at
        self.left = 0
        self._places: list[int] = []
        self._waits = bytearray()
        self._returned: dict[str, deque[int]] | None = None
        self._whole = False

    @property
    def after(self) -> int:
        """The tag after the last one."""
        return self.first + len(self._places)

    def add(self, places: Sequence[int], tag: int, now: float) -> None:
        """The events at these places are sent now, with tags from `tag`."""
        if not self._places:
            self.first = tag
        self._places += places
        self._waits += b"\x01" * len(places)
        self.left += len(places)
        self.sent_at = now
        self._returned = None

    @property
    def is_over(self) -> bool:
        """No confirmation is to come. The caller may have gone before: `done` is cancelled then, and says nothing."""
        return self._whole and not self.left

    def whole(self) -> None:
        """All that can be sent was sent."""
        self._whole = True
        self._finish()

    def confirm(self, start: int, stop: int, refusal: Refusal | None) -> None:
        """The tags from `start` until `stop` were stored, or refused for the reason given."""
        low, high = max(start - self.first, 0), min(stop - self.first, len(self._places))
        if low >= high:
            return
        count = self._waits.count(1, low, high)
        if refusal is not None and count:
            for offset in range(low, high):
                if self._waits[offset]:
                    self.refusals.setdefault(self._places[offset], refusal)
        self._waits[low:high] = bytes(high - low)
        self.left -= count
        self._finish()

    def returned(self, event_id: str, refusal: Refusal) -> bool:
        """No queue takes the first event with this id that waits and was not returned before. False: there is none here."""
        if self._returned is None:
            self._returned = {}
            for offset, place in enumerate(self._places):
                if self._waits[offset] and place not in self.refusals:
                    self._returned.setdefault(self.events[place].id, deque()).append(offset)
        offsets = self._returned.get(event_id)
        while offsets:
            offset = offsets.popleft()
            if self._waits[offset]:
                self.refusals[self._places[offset]] = refusal
                return True
        return False

    def _finish(self) -> None:
        if self.is_over and not self.done.done():
            self.done.set_result(None)


class Confirms:
    """All calls in flight on a channel, in the order of their tags."""

    def __init__(self) -> None:
        self._tag = 1
        self._batches: deque[Batch] = deque()

    def sent(self, batch: Batch, places: Sequence[int], now: float) -> None:
        """Events of `batch` are written. Batches do not mix."""
        if not batch.after:
            self._batches.append(batch)
        batch.add(places, self._tag, now)
        self._tag += len(places)

    def confirm(self, tag: int, multiple: bool, refusal: Refusal | None) -> None:
        """A confirmation by the server; of a tag that does not wait, nothing happens. The cost is that of the calls in flight.

        Tag 0 with `multiple` means all that were sent.
        """
        if multiple and tag == 0:
            tag = self._tag - 1
        for batch in self._batches:
            if tag < batch.first:
                break
            batch.confirm(batch.first if multiple else tag, tag + 1, refusal)
        while self._batches and self._batches[0].is_over:
            self._batches.popleft()

    def returned(self, event_id: str, reason: str) -> bool:
        """The server has returned the oldest message with this id that waits. False: no such message waits."""
        refusal = Refusal(Trouble.UNROUTABLE, reason)
        return any(batch.returned(event_id, refusal) for batch in self._batches)

    def waiting(self) -> int:
        """Events that were sent and are not confirmed."""
        return sum(batch.left for batch in self._batches)

    def oldest(self) -> float | None:
        """When the events that have waited longest were sent."""
        return next((batch.sent_at for batch in self._batches if batch.left), None)

    def end(self) -> None:
        """The channel is gone: no confirmation comes any more."""
        for batch in self._batches:
            if not batch.done.done():
                batch.done.set_result(None)
        self._batches.clear()


def by_place(batch: Batch) -> Mapping[int, Refusal]:
    """The refusals of a call, in the order of its events."""
    return dict(sorted(batch.refusals.items()))
