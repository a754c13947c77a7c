"""How many uploads a process begins, where an operator limits their rate. Pure: it reads no clock."""

BURST = 0.1
"""Seconds of the rate that may be used at once. It is short, so that uploads take the CPU evenly."""


class Starts:
    """`per_second`: uploads of this process that may begin; None: any number."""

    def __init__(self, per_second: float | None) -> None:
        self._rate = per_second
        self._most = max(1.0, (per_second or 0.0) * BURST)
        self._left = self._most
        self._at: float | None = None

    def room(self, free: int, now: float) -> int:
        """How many of `free` uploads may begin. 0 where so few may that a claim is not worth its cost: ask again soon."""
        if self._rate is None:
            return free
        if self._at is not None:
            self._left = min(self._left + (now - self._at) * self._rate, self._most)
        self._at = now
        return min(free, int(self._left)) if self._left >= min(free, max(1.0, self._most / 2)) else 0

    def began(self, count: int) -> None:
        self._left -= count
