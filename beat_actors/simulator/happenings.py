"""What truly happens to the simulated people: a purge, a viral day, a new name, a name that is given away, hidden likes, a lost verification.

All providers answer accordingly, each in its own words, and so does `/_simulator/people/NAME`: these are no faults, but the truth.
"""

import random
from collections.abc import Sequence
from enum import StrEnum

import msgspec


class HappeningKind(StrEnum):
    PURGE = "purge"  # false followers are removed: `size` is the mean share; from some a third and more, from a few nearly all
    VIRAL = "viral"  # followers are `size` times as many
    RENAME = "rename"  # `handle` is `to` from now on, and leads nowhere
    RECYCLE = "recycle"  # as a rename, and `handle` leads to a newcomer
    HIDE_LIKES = "hide_likes"  # the numbers of likes are hidden
    UNVERIFY = "unverify"  # the verification is lost


OF_ONE = frozenset({HappeningKind.RENAME, HappeningKind.RECYCLE})
SIZES = {HappeningKind.PURGE: 0.076, HappeningKind.VIRAL: 3.0}
NEARLY_ALL = 0.001
MANY = 0.01


class Happening(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As it is asked for. `handle`: the one whom it happens to; without it `share` of all. `size`: see the kinds. `to`: the new handle; made up
    if not given. `at`: epoch seconds, filled in."""

    kind: HappeningKind
    handle: str | None = None
    share: float = 1.0
    size: float | None = None
    to: str | None = None
    at: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError("share is above 0 and at most 1")
        if self.kind in OF_ONE and self.handle is None:
            raise ValueError(f"a {self.kind} has the handle of the one whom it happens to")
        if self.kind not in OF_ONE and self.to is not None:
            raise ValueError(f"a {self.kind} gives nobody a new handle")
        if self.size is not None and not (0 < self.size < 1 if self.kind is HappeningKind.PURGE else self.size > 0):
            raise ValueError("size is above 0, and of a purge below 1")


class Happened(msgspec.Struct, frozen=True):
    """`number`: the order. `index`: of the one whom it happened to; `None` where it happened to a share of all. `newcomer`: of the one who got the handle."""

    number: int
    happening: Happening
    index: int | None
    newcomer: int | None = None

    def hits(self, index: int) -> bool:
        if self.index is not None:
            return self.index == index
        return self.happening.share >= 1 or self._chance(index).random() < self.happening.share

    def followers(self, index: int, before: int) -> int:
        """How many followers are left, or are there now."""
        kind, size = self.happening.kind, self.happening.size
        if kind is HappeningKind.VIRAL:
            return round(before * (size or SIZES[kind]))
        if kind is not HappeningKind.PURGE:
            return before
        chance, mean = self._chance(index), size or SIZES[kind]
        chance.random()  # by this one `hits` decides
        drawn = chance.random()
        if drawn < NEARLY_ALL:
            share = 0.999
        elif drawn < MANY:
            share = chance.uniform(0.35, 0.60)
        else:
            share = min(0.34, chance.gammavariate(2.0, mean / 2.2))
        return round(before * (1 - share))

    def _chance(self, index: int) -> random.Random:
        return random.Random((self.number << 40) | index)


class Happenings:
    """All that happened, in its order. A population and what it was in the past share one."""

    def __init__(self) -> None:
        self._all: list[Happened] = []
        self._last = 0

    @property
    def generation(self) -> int:
        """A number that changes with each happening."""
        return self._last

    def add(self, happening: Happening, index: int | None, first_free: int) -> Happened:
        """`first_free`: the index from which on nobody is."""
        self._last += 1
        if happening.kind in OF_ONE and happening.to is None:
            happening = msgspec.structs.replace(happening, to=f"{happening.handle}.{self._last}")
        taken = sum(each.newcomer is not None for each in self._all)
        newcomer = first_free + taken if happening.kind is HappeningKind.RECYCLE else None
        happened = Happened(self._last, happening, index, newcomer)
        self._all.append(happened)
        return happened

    def clear(self) -> None:
        if self._all:
            self._last += 1
        self._all = []

    def until(self, now: float) -> Sequence[Happened]:
        if not self._all:
            return ()
        return [each for each in self._all if each.happening.at <= now]
