"""Whether the data of a source, operation and parser version can be used. A source that answers, and answers wrongly, is taken out of the chain.

Closed → open when many more records than usual are bad: rejected, or held and refuted. Also when the cohort says that the source broke. While it is
open, one call in 50 still goes to the source, and what it says is only judged. It closes when 19 of the last 20 such records are good. A new
parser version begins with a breaker of its own.

The breaker of a version that reads only a share of the answers opens sooner, because the deployed parser can read all of them. It closes by hand.
"""

import msgspec

from beat_actors.trust.cohort import TOO_MANY
from beat_actors.trust.counting import Recent

AT_LEAST = 10
"""Bad records that it takes to open."""
SHARE = 0.05
TIMES = 5.0
"""It opens where more than `SHARE` of the records are bad, and more than so many times what is usual."""
USUAL = 0.002
"""What is taken as usual at first, and the least that ever is."""
SLOWNESS = 2000
"""Over about so many records the usual share is learnt."""
ONE_IN = 50
TRIED = 20
GOOD = 19
ALL_TRIED = (1 << TRIED) - 1


class DataBreaker(msgspec.Struct, frozen=True, array_like=True):
    """`usual`: the share of bad records on normal days. `open_since`: epoch seconds, 0 while it is closed. `tried`: how many of the last sampled records
    are known, at most 20; `good`: a bit for each of them, the newest lowest."""

    recent: Recent = Recent()
    usual: float = USUAL
    open_since: float = 0.0
    why: str = ""
    tried: int = 0
    good: int = 0

    @property
    def is_open(self) -> bool:
        return self.open_since > 0

    def asks(self, call: int) -> bool:
        """Whether call number `call` goes to the source."""
        return not self.is_open or call % ONE_IN == 0

    def counted(self, seen: int, bad: int, now: float) -> "DataBreaker":
        """After so many records that were to be written. While it is open, none is: see `sampled`."""
        if self.is_open:
            return self
        recent = self.recent.counted(seen, bad)
        if recent.odd >= AT_LEAST and recent.odd > max(SHARE, TIMES * self.usual) * recent.seen:
            share = 100 * recent.odd / recent.seen
            return self._opened(
                now, f"{share:.0f} % of the last {recent.seen} records were bad; {100 * self.usual:.1f} % is usual"
            )
        learnt = self.usual + (bad - self.usual * seen) / max(SLOWNESS, seen)
        return msgspec.structs.replace(self, recent=recent, usual=max(USUAL, learnt))

    def doubted(self, recent: Recent, now: float) -> "DataBreaker":
        """Of a version that reads a share of the answers, after so many observations were out of range. It has few, so it does not wait for `WINDOW` of
        them, nor for witnesses."""
        if self.is_open or recent.odd < AT_LEAST or recent.odd <= TOO_MANY * recent.seen:
            return self
        share = 100 * recent.odd / recent.seen
        return self._opened(now, f"{share:.0f} % of its last {recent.seen} observations were out of range")

    def broke(self, now: float, why: str) -> "DataBreaker":
        """The cohort of the source was refuted, or a person opened it."""
        return self if self.is_open else self._opened(now, why)

    def sampled(self, *, good: bool) -> "DataBreaker":
        """A record of a call that went to the source while it is open, by what the gate or a witness said of it."""
        if not self.is_open:
            return self
        tried, bits = min(TRIED, self.tried + 1), (self.good << 1 | good) & ALL_TRIED
        if tried == TRIED and bits.bit_count() >= GOOD:
            return DataBreaker(usual=self.usual)
        return msgspec.structs.replace(self, tried=tried, good=bits)

    def _opened(self, now: float, why: str) -> "DataBreaker":
        return DataBreaker(usual=self.usual, open_since=now, why=why)
