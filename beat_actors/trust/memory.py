"""What the gate has to know of an entity: the last accepted values, and how far they usually move. At most 200 bytes, read and written with the row.

Only what was accepted is learnt. A held value changes nothing but the mark that something is held.
"""

import math
from collections.abc import Sequence
from zlib import crc32

import msgspec

from beat_actors.platforms.interface import Number

DAY = 86_400.0
SCALE = 100_000
"""A spread is kept as a whole number of this part of a log change."""
MOST_MOVES = 30
"""From this number of changes on, an older one counts for less with each new one."""
OUTLIER = 4
"""A change counts at most this many times what is usual, so one true jump does not widen the range for long."""
FACES = 4


class Known(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A number as it was last accepted. `at`: epoch seconds of the answer. `moves`: how many accepted changes were seen. `spread`: their mean, as
    an absolute log change within a day, in 1/100,000."""

    value: int
    at: int
    moves: int = 0
    spread: int = 0

    def moved(self, rule: Number, value: int, at: int) -> "Known":
        """The number after an accepted observation. One that is older than the last changes nothing."""
        if at < self.at:
            return self
        before, spread = self.value, self.spread
        moves = self.moves + 1 if self.moves < MOST_MOVES else MOST_MOVES
        if value == before:
            return Known(value, at, moves, spread - spread // moves)
        if value <= 0 or before <= 0:
            return Known(value, at, self.moves, spread)
        change, days = abs(math.log(value / before)) * SCALE, (at - self.at) / DAY
        if days > 1:
            change /= math.sqrt(days)
        most = OUTLIER * max((rule.usual or 0.0) * SCALE, spread)
        return Known(value, at, moves, int(spread + (min(change, most) - spread) / moves))


class Memory(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`face` and `handle` are hashes, 0 where nothing is known. `held_since`: epoch seconds since when an observation is held, 0 for none."""

    numbers: dict[str, Known] = {}
    face: tuple[int, ...] = ()
    handle: int = 0
    is_verified: bool | None = None
    held_since: int = 0

    def holding(self, at: int) -> "Memory":
        """With the mark that an observation is held. The values stay, because held values are not learnt."""
        return self if self.held_since else msgspec.structs.replace(self, held_since=at)

    def released(self) -> "Memory":
        """Without that mark: the held observation was accepted or rejected."""
        return msgspec.structs.replace(self, held_since=0) if self.held_since else self


NOTHING = Memory()


def mark(value: object) -> int:
    """A hash of a text, the same in every process; 0 for none. Of a URL only the last part of the path counts, because servers and signatures change."""
    if not value or not isinstance(value, str):
        return 0
    if value[:4] == "http" and value.startswith(("https://", "http://")):
        value = value.partition("?")[0].rpartition("/")[2]
    return crc32(value.encode("utf-8", "replace")) or 1


def seen(face: tuple[int, ...], told: Sequence[object]) -> tuple[int, ...]:
    """The marks of a face after what was told of it. What was not told stays as it was."""
    marks = tuple([mark(one) for one in told])
    if not face or not marks:
        return marks or face
    return marks if 0 not in marks else tuple([new or old for new, old in zip(marks, face, strict=True)])


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Memory).decode
