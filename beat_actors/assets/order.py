"""In which order assets are uploaded, beyond what an index can say. Pure: it reads no clock.

Readers and avatars come first. Behind them, as long as all can be saved, class by class. Where the backlog takes so long that URLs die before
their turn, the earliest deadline comes first: pictures take about the same time each, so no other order saves more of them.
"""

from dataclasses import dataclass

SOON, SOON_MOST = 3.0, 120.0
"""Seconds before its deadline from which on an asset can hardly be saved: at least, and at most. Such assets come last."""
SHARE = 0.06
"""The share of starts that each class has for which avatars left nothing for `PATIENCE`: a little more than the 5 % that are promised."""
PATIENCE = 120.0
"""Seconds for which avatars may take all starts."""
COUNTED = 100_000
"""Waiting assets that are counted. A longer backlog is taken for endless."""
ENDLESS = 10.0 * 365 * 86_400
AT_FIRST = 50.0
"""Uploads a second that are assumed before any are measured."""
MARGIN = 2.0
"""How much longer the backlog is taken to last than it would at the present rate, since new assets come meanwhile."""
LEAST = 60.0


def horizon(waiting: int, rate: float) -> float:
    """Seconds within which an asset's deadline counts more than its class. `waiting`: assets, `COUNTED` at most; `rate`: uploads a second of this
    process. Others upload too, so the backlog ends earlier; that costs nothing but the order of the classes."""
    if waiting >= COUNTED:
        return ENDLESS
    return LEAST + MARGIN * waiting / max(rate, 0.001)


def soon(latency: float) -> float:
    """Seconds before its deadline from which on an asset can hardly be saved, where an upload takes `latency` seconds from its claim to its end.

    Under a backlog that is too long, the next deadline is always near. If it was nearer than an upload takes, every upload would come too late."""
    return min(max(SOON, 1.5 * latency), SOON_MOST)


@dataclass(slots=True)
class Ageing:
    """Of one process. It remembers since when its claims have been full of avatars and of what readers wait for."""

    _since: float | None = None
    _credit: float = 0.0

    def share(self, room: int, now: float) -> int:
        """How many assets of each other class the next claim of `room` takes before avatars."""
        if self._since is None or now - self._since < PATIENCE:
            return 0
        self._credit = min(self._credit + room * SHARE, max(room * SHARE, 1.0) + 1)
        return int(self._credit)

    def claimed(self, classes: list[int], room: int, share: int, now: float) -> None:
        """What the claim gave. Once avatars leave room again, the others need no share."""
        self._credit = max(self._credit - share, 0.0)
        others = sum(1 for one in classes if one > 0)
        if len(classes) < room or others > 3 * share:
            self._since = None
        elif self._since is None:
            self._since = now


@dataclass(slots=True)
class Rate:
    """Uploads a second, over about the last ten seconds in which there were any, and the seconds that one takes."""

    per_second: float = AT_FIRST
    latency: float = 0.0
    _count: int = 0
    _since: float | None = None

    def done(self, count: int, seconds: float, now: float) -> None:
        """So many ended, that took `seconds` on average."""
        self.latency += min(0.02 * count, 0.5) * (seconds - self.latency)
        if self._since is None:
            self._since = now
        self._count += count
        span = now - self._since
        if span >= 5.0:
            self.per_second += 0.5 * (self._count / span - self.per_second)
            self._count, self._since = 0, now

    def idle(self) -> None:
        """Nothing waits, so the rate says nothing of what could be done."""
        self._count, self._since = 0, None
