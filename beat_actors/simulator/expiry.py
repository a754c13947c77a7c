"""The clock of the simulated hosts of pictures: when the URLs of today expire, and which have."""

import time
from collections.abc import Callable

DAY = 86_400


class MediaClock:
    """`life`: seconds for which a media URL is good; 0 = some five days, with one end for all URLs of a day. `ahead`: seconds that this clock was
    put on, so that URLs from before expire. `stands`: URLs keep the end that they had at the beginning.
    """

    def __init__(self, clock: Callable[[], float] = time.time, *, life: float = 0.0, stands: bool = False) -> None:
        self.life = life
        self.ahead = 0.0
        self._clock = clock
        self._began = clock() if stands else None

    def now(self) -> float:
        return self._clock() + self.ahead

    def expiry(self) -> int:
        """Epoch seconds at which a URL of this moment expires. It moves in steps, so that URLs stay equal for a while."""
        now = int(self.now() if self._began is None else self._began + self.ahead)
        if not self.life:
            return (now // DAY + 5) * DAY
        step = max(int(self.life) // 8, 1)
        return now // step * step + step + int(self.life)
