"""What a fault has at hand while it strikes, and what it leaves for the checker."""

import asyncio
import time
from dataclasses import dataclass, field
from random import Random

from beat_actors.chaos.load import Load
from beat_actors.chaos.rig import Rig
from beat_actors.chaos.timing import Timing
from beat_actors.chaos.waiting import until
from beat_actors.failpoints.armed import Fired

GRACE = 1.0


@dataclass(slots=True)
class Scene:
    """`failed`: requests that are to fail. `extra_calls`: answers that the fault makes useless. `healed_at`: when it was over, in
    epoch seconds; `None` while it lasts.
    """

    rig: Rig
    seed: int
    dice: Random
    load: Load
    failed: int = 0
    extra_calls: int = 0
    healed_at: float | None = None
    quiet_at: float = 0.0
    """Before then, something that was frozen may still wake up."""
    extra: dict[str, object] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    """What took longer than it may."""
    skipped: str = ""
    severed: bool = False
    """Connections to the providers were broken on their way: a call may not have arrived, and an answer may have been lost."""

    @property
    def timing(self) -> Timing:
        return self.rig.timing

    def heal(self) -> None:
        self.healed_at = time.time()

    async def pause(self, least: float, most: float) -> None:
        """Wait, by the dice."""
        await asyncio.sleep(self.dice.uniform(least, most))

    async def fired(self, count: int) -> list[Fired]:
        """Wait until so many failpoints fired. Raises `ChaosError` where they are never reached: nothing was rehearsed then."""
        await until(
            lambda: len(self.hits()) >= count,
            within=self.timing.patience,
            what=f"of {count} failpoints not all were reached",
        )
        return self.hits()

    def hits(self) -> list[Fired]:
        """What struck. What was armed to raise only leads work another way."""
        return [hit for hit in self.rig.book.hits() if hit.fired and not hit.armed.endswith("=raise")]

    def ended(self) -> int:
        (row,) = self.rig.rows(
            "SELECT count(*) AS n FROM scrape_request_log WHERE status IN ('COMPLETE', 'FAILED', 'CANCELLED')"
        )
        return int(row.n)

    def complain(self, broken: bool, what: str) -> None:
        if broken:
            self.complaints.append(what)
