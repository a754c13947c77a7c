"""The sums of one process since its start, and how sums of many processes are added up. Pure.

A process writes its sums whole, not what was added since the last time: a report that is written twice, or whose answer was lost, counts once.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import msgspec

from beat_actors.observe.families import FAMILIES, Family

MOST_SETS = 500
"""Sets of labels that one process keeps of a family. Labels are names that the code declares; this bounds what a mistake could cost."""
OTHER = "other"
"""All labels of what goes beyond."""
INFINITE = "+Inf"


class Sum(msgspec.Struct, array_like=True):
    """A sum as it stands in a row. Of a histogram `value` is the sum of what was observed, and `buckets` how much of it was at most so much and above
    the bound before: by upper bound, without buckets that are empty."""

    name: str
    labels: list[str]
    value: float
    buckets: dict[str, int] | None = None


class _Histogram:
    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.total = 0.0


class Counts:
    """What one process counts. `add` and `observe` cost less than a microsecond."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, ...], float] = {}
        self._histograms: dict[tuple[str, ...], _Histogram] = {}
        self._sets: dict[str, int] = {}

    def add(self, family: Family, *labels: str, by: float = 1) -> None:
        """Count `by` more. `labels`: the values of the family's labels, without the kind of process."""
        key = (family.name, *labels)
        try:
            self._numbers[key] += by
        except KeyError:
            key = self._known(key)
            self._numbers[key] = self._numbers.get(key, 0) + by

    def observe(self, family: Family, *labels: str, value: float) -> None:
        """Add a value to a histogram."""
        key = (family.name, *labels)
        found = self._histograms.get(key)
        if found is None:
            key = self._known(key)
            found = self._histograms.setdefault(key, _Histogram(len(family.bounds) + 1))
        found.counts[bisect_left(family.bounds, value)] += 1
        found.total += value

    def sums(self, process: str) -> list[Sum]:
        """All sums. `process`: its kind, for the families that have it as their first label."""
        return [
            *(Sum(name, _labels(name, labels, process), value) for (name, *labels), value in self._numbers.items()),
            *(
                Sum(name, _labels(name, labels, process), one.total, _buckets(FAMILIES[name], one.counts))
                for (name, *labels), one in self._histograms.items()
            ),
        ]

    def take_off(self, sums: Iterable[Sum]) -> None:
        """Take off what others keep from now on: sums as `sums` gave them."""
        for one in sums:
            key = (one.name, *(one.labels[1:] if FAMILIES[one.name].by_process else one.labels))
            if one.buckets is None:
                self._numbers[key] -= one.value
                continue
            histogram, bounds = self._histograms[key], FAMILIES[one.name].bounds
            histogram.total -= one.value
            for bound, count in one.buckets.items():
                histogram.counts[_place(bounds, bound)] -= count

    def _known(self, key: tuple[str, ...]) -> tuple[str, ...]:
        """The key of a set of labels that is new, or that of all others if there are too many."""
        name = key[0]
        if self._sets.get(name, 0) >= MOST_SETS:
            return (name, *(OTHER for _ in key[1:]))
        self._sets[name] = self._sets.get(name, 0) + 1
        return key


class Totals:
    """Sums of many processes, added up."""

    def __init__(self) -> None:
        self.by_key: dict[tuple[str, tuple[str, ...]], Sum] = {}

    def add(self, sums: Iterable[Sum]) -> None:
        for one in sums:
            key = (one.name, tuple(one.labels))
            known = self.by_key.get(key)
            if known is None:
                self.by_key[key] = Sum(
                    one.name, one.labels, one.value, None if one.buckets is None else {**one.buckets}
                )
                continue
            known.value += one.value
            if one.buckets is not None:
                buckets = known.buckets = known.buckets or {}
                for bound, count in one.buckets.items():
                    buckets[bound] = buckets.get(bound, 0) + count

    def put(self, family: Family, value: float, *labels: str) -> None:
        """One value."""
        self.add([Sum(family.name, list(labels), value)])

    def sums(self) -> list[Sum]:
        return list(self.by_key.values())


def cumulative(bounds: Sequence[float], buckets: dict[str, int]) -> list[int]:
    """How many values were at most each of the bounds, and last how many there were. What a release with other bounds counted goes to the next higher
    bound of these."""
    counts = [0] * (len(bounds) + 1)
    for bound, count in buckets.items():
        counts[_place(bounds, bound)] += count
    for i in range(1, len(counts)):
        counts[i] += counts[i - 1]
    return counts


def _place(bounds: Sequence[float], bound: str) -> int:
    return len(bounds) if bound == INFINITE else bisect_left(bounds, float(bound))


def _labels(name: str, labels: Sequence[str], process: str) -> list[str]:
    return [process, *labels] if FAMILIES[name].by_process else [*labels]


def _buckets(family: Family, counts: Sequence[int]) -> dict[str, int]:
    bounds = [*map(repr, family.bounds), INFINITE]
    return {bound: count for bound, count in zip(bounds, counts, strict=True) if count}
