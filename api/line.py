"""Which calls of a process are at work: so many at a time. The others wait in line and cost nothing meanwhile; the keys take turns.

Without a bound, more calls than a process can do within their deadline slow each other down until none of them ends in time: the process is busy and
answers nobody. A call that waits comes to work with enough of its time left, or it is refused.
"""

import asyncio
import random
from collections import deque

from beat_actors.errors import BeatError

AT_WORK = 32
"""The most calls of a process at work."""
WAITS = 1.2
"""The most seconds in line, of the 1.7 s that a call has."""
COME_BACK = (1, 3)
"""The range of seconds after which a refused caller should come again. It is random, so that callers do not come together."""


class Busy(BeatError):
    """Too many calls at work"""

    code = "busy"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"this process works on {most} calls and more wait in line; nothing was done. Try again shortly."
        )
        self.seconds = random.randint(*COME_BACK)


class Line:
    """One for each process. A caller is known by what it says it is (its header `Authorization`), before that is checked."""

    def __init__(self, most: int = AT_WORK, *, waits: float = WAITS) -> None:
        self._most, self._waits = most, waits
        self._free = most
        # The keys in the order of their turns, each with its calls in the order in which they came.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def place(self, who: str) -> "Place":
        """A place at work, at once or when it is the call's turn. Raises `Busy`."""
        if self._free > 0:  # then nobody waits
            self._free -= 1
            return Place(self)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append(turn)
        try:
            async with asyncio.timeout(self._waits):
                await turn
        except TimeoutError:
            self._leave(who, turn)
            raise Busy(self._most) from None
        except asyncio.CancelledError:
            self._leave(who, turn)
            raise
        return Place(self)

    def _leave(self, who: str, turn: "asyncio.Future[None]") -> None:
        """A call that waited is gone. Its turn may have come at the same moment."""
        if turn.done() and not turn.cancelled():
            self.give_back()
            return
        calls = self._waiting.get(who)
        if calls is not None and turn in calls:
            calls.remove(turn)
            if not calls:
                del self._waiting[who]

    def give_back(self) -> None:
        """A place is free: it is the turn of the key that waits longest since its last one."""
        self._free += 1
        while self._free > 0 and self._waiting:
            who = next(iter(self._waiting))
            calls = self._waiting.pop(who)
            turn = calls.popleft()
            if calls:
                self._waiting[who] = calls
            if not turn.done():
                self._free -= 1
                turn.set_result(None)

    def take_back(self) -> None:
        """A call goes on that was not at work for a time. It does not wait once more, so more than `most` may be at work for a moment."""
        self._free -= 1


class Place:
    """The place of one call. `leave` and `back` do nothing where the call has left, or is back, already."""

    __slots__ = ("_held", "_line")

    def __init__(self, line: Line) -> None:
        self._line, self._held = line, True

    def leave(self) -> None:
        if self._held:
            self._held = False
            self._line.give_back()

    def back(self) -> None:
        if not self._held:
            self._held = True
            self._line.take_back()
