"""The events of a relay that are on their way: which may be sent next, and up to which place everything is settled. Does no I/O.

Events of one subject are sent one after the other: the next one is ready when the sink has taken the one before, or when that one is set aside.
"""

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from beat_actors.events.sink import Event, Refusal, Trouble

PARK_AFTER = 3
"""Refusals of an event, while others are taken, after which it is set aside."""
RETRY_AFTER = (0.2, 1.0, 5.0)
"""Seconds until a refused event is sent again."""


@dataclass(slots=True, eq=False)
class Entry:
    """An event on its way. `settled`: it was taken or is set aside. `refusal`: why it was refused last, and `tries` how often it was."""

    event: Event
    settled: bool = False
    tries: int = 0
    refusal: Refusal | None = None


@dataclass(slots=True, eq=False)
class Parking:
    """An event that is to be set aside. `behind`: only because an earlier one of its subject is."""

    entry: Entry
    refusal: Refusal
    behind: bool


class Window:
    """`in_order`: the sink keeps the order of what it gets, so subjects need not be told apart. `waits`: later events of a subject wait behind one that
    is set aside."""

    def __init__(self, position: int, *, in_order: bool, waits: bool) -> None:
        self._in_order, self._waits = in_order, waits
        self._entries: deque[Entry] = deque()
        self._ready: deque[Entry] = deque()
        self._behind: dict[str, deque[Entry]] = {}
        self._again: list[tuple[float, Entry]] = []
        self._parking: list[Parking] = []
        self.read_to = position
        """The place up to which the log was read."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def position(self) -> int:
        """The place up to which everything is settled."""
        while self._entries and self._entries[0].settled:
            self._entries.popleft()
        return self._entries[0].event.seq - 1 if self._entries else self.read_to

    @property
    def has_ready(self) -> bool:
        return bool(self._ready)

    def read(self, events: Iterable[tuple[Event, bool]], up_to: int) -> None:
        """Add what was read, up to a place, each with whether an earlier event of its subject is set aside."""
        # What is set aside and not stored yet, no reader of the table can know.
        aside = {parking.entry.event.subject for parking in self._parking} if self._waits else set()
        for event, held in events:
            entry = Entry(event)
            self._entries.append(entry)
            if self._waits and (held or event.subject in aside):
                self._set_aside(entry, _BEHIND, behind=True)
            elif self._in_order:
                self._ready.append(entry)
            elif (queue := self._behind.get(event.subject)) is not None:
                queue.append(entry)
            else:
                self._behind[event.subject] = deque()
                self._ready.append(entry)
        self.read_to = up_to

    def take(self, most: int, *, last: Collection[str] = ()) -> list[Entry]:
        """The next entries to send, up to so many; of each subject one, unless the sink keeps their order. Events of the types `last` wait for others."""
        if last and not self._in_order:
            others = [entry for entry in self._ready if entry.event.type not in last][:most]
            if others:
                chosen = {id(entry) for entry in others}
                self._ready = deque(entry for entry in self._ready if id(entry) not in chosen)
                return others
        return [self._ready.popleft() for _ in range(min(most, len(self._ready)))]

    def give_back(self, entries: Sequence[Entry]) -> None:
        """They were not taken, for no fault of theirs: they are the next to be sent."""
        self._ready.extendleft(reversed(entries))

    def taken(self, entries: Sequence[Entry]) -> None:
        """The sink has stored them."""
        for entry in entries:
            entry.settled = True
        if not self._in_order:
            for entry in entries:
                self._advance(entry.event.subject)

    def refused(self, entry: Entry, refusal: Refusal, now: float, *, at_once: bool = False) -> None:
        """The sink did not take it, while it took others: it is sent again, or set aside, `at_once` where others of its type were."""
        entry.tries += 1
        entry.refusal = refusal
        if refusal.trouble is Trouble.INVALID or at_once or entry.tries >= PARK_AFTER:
            self._set_aside(entry, refusal, behind=False)
        else:
            self._again.append((now + RETRY_AFTER[entry.tries - 1], entry))

    def wake(self, now: float) -> float | None:
        """Make ready again what was refused and whose time has come; seconds until the next."""
        due = [entry for at, entry in self._again if at <= now]
        if due:
            self._again = [(at, entry) for at, entry in self._again if at > now]
            self._ready.extend(due)
        return min((at - now for at, _ in self._again), default=None)

    def make_room(self) -> None:
        """Set aside the refused event that keeps everything behind it from being settled."""
        if self._entries and any(entry is self._entries[0] for _, entry in self._again):
            first = self._entries[0]
            self._again = [(at, entry) for at, entry in self._again if entry is not first]
            self._set_aside(first, first.refusal or _BEHIND, behind=False)

    def parking(self) -> list[Parking]:
        """What is to be set aside. Say `parked` when it is stored."""
        return self._parking

    def parked(self, parkings: Sequence[Parking]) -> None:
        """They are stored as set aside."""
        stored = {id(parking) for parking in parkings}
        self._parking = [parking for parking in self._parking if id(parking) not in stored]
        for parking in parkings:
            parking.entry.settled = True

    def _set_aside(self, entry: Entry, refusal: Refusal, *, behind: bool) -> None:
        self._parking.append(Parking(entry, refusal, behind))
        if behind:
            return
        if self._in_order:
            if self._waits:
                subject = entry.event.subject
                waiting = [one for one in self._ready if one.event.subject == subject]
                self._ready = deque(one for one in self._ready if one.event.subject != subject)
                self._parking += [Parking(one, _BEHIND, behind=True) for one in waiting]
            return
        if not self._waits:
            self._advance(entry.event.subject)
            return
        for later in self._behind.pop(entry.event.subject, ()):
            self._parking.append(Parking(later, _BEHIND, behind=True))

    def _advance(self, subject: str) -> None:
        queue = self._behind.get(subject)
        if queue is None:
            return
        if queue:
            self._ready.append(queue.popleft())
        else:
            del self._behind[subject]


_BEHIND = Refusal(Trouble.INVALID, "an earlier event of its subject is set aside")


def rounds(events: Sequence[Event], *, in_order: bool) -> list[list[Event]]:
    """Batches in which a sink may get these, one after the other: of a subject one in each, unless the sink keeps their order."""
    if in_order:
        return [list(events)]
    batches: list[list[Event]] = []
    seen: dict[str, int] = defaultdict(int)
    for event in events:
        place = seen[event.subject]
        seen[event.subject] += 1
        if place == len(batches):
            batches.append([])
        batches[place].append(event)
    return batches
