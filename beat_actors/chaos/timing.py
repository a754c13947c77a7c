"""How long faults last. A pause is longer than the budget to recover, so that recovery cannot be the end of the pause."""

from dataclasses import dataclass

from beat_actors.assets.claims import LEASE as UPLOAD_LEASE
from beat_actors.assets.storing import LONGEST_PAUSE
from beat_actors.events.relay import LEASE_SECONDS


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `lease`: of a stage. `pause`: of a frozen process. `outage`: of a store that is down. `lock`: of a table that is
    locked. `storm`: in which every credential is refused. `window`: over which requests arrive. `deadline`: for the drain.
    """

    lease: float
    pause: float
    outage: float
    lock: float
    storm: float
    window: float
    deadline: float

    @property
    def process_budget(self) -> float:
        """To recover from a process that is killed or frozen."""
        return self.lease + 5.0

    @property
    def publisher_budget(self) -> float:
        """To recover from a publisher that is killed or frozen. Its lease is the relay's, not that of a stage."""
        return LEASE_SECONDS + 5.0

    @property
    def publisher_pause(self) -> float:
        """Of a frozen publisher: longer than another one needs to take over."""
        return self.publisher_budget + 1.0

    @property
    def upload_budget(self) -> float:
        """To recover from a process that uploads pictures and is killed or frozen. Uploads have a lease of their own."""
        return UPLOAD_LEASE + 10.0

    @property
    def bucket_budget(self) -> float:
        """To recover from a bucket that was away: its own start, and the longest pause between two looks at it."""
        return LONGEST_PAUSE + 15.0

    @property
    def store_budget(self) -> float:
        """To recover from a store that was away, once it is back."""
        return 10.0


FULL = Timing(lease=5.0, pause=16.0, outage=30.0, lock=10.0, storm=60.0, window=3.0, deadline=240.0)
BRIEF = Timing(lease=4.0, pause=12.0, outage=4.0, lock=6.0, storm=6.0, window=2.0, deadline=180.0)
