"""How many of the last observations were odd. Counts can be added in batches, so that processes need not agree on an order."""

import msgspec

WINDOW = 200
"""Observations that are looked back on."""
BUCKET = 20


class Recent(msgspec.Struct, frozen=True, array_like=True):
    """(observations, odd ones among them), oldest first. The oldest are dropped as long as the rest are at least `WINDOW` observations."""

    buckets: tuple[tuple[int, int], ...] = ()

    @property
    def seen(self) -> int:
        return sum(seen for seen, _ in self.buckets)

    @property
    def odd(self) -> int:
        return sum(odd for _, odd in self.buckets)

    def counted(self, seen: int, odd: int) -> "Recent":
        buckets = list(self.buckets)
        if buckets and buckets[-1][0] + seen <= BUCKET:
            buckets[-1] = (buckets[-1][0] + seen, buckets[-1][1] + odd)
        else:
            buckets.append((seen, odd))
        left = sum(seen for seen, _ in buckets)
        while left - buckets[0][0] >= WINDOW:
            left -= buckets.pop(0)[0]
        return Recent(tuple(buckets))
