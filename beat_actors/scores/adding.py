"""What a process has counted goes to the table: one statement a minute, and none while nothing happens."""

import time
from dataclasses import dataclass, field

from beat_actors.database import Database, Statements, jsonb
from beat_actors.requests.swept import Swept
from beat_actors.scores.tally import TALLY, Tally

EVERY = 60.0
"""Seconds between two additions."""
KEPT = 371
"""Days: 53 weeks."""
SQL = Statements(__file__)
ADD, FORGET = SQL("add"), SQL("forget")


@dataclass(slots=True)
class Adding:
    """Adds this process's counts, `EVERY` seconds at most."""

    tally: Tally = field(default_factory=lambda: TALLY)
    _last: float = field(default_factory=time.monotonic)

    async def due(self, database: Database) -> None:
        """Add them if it is time. Raises `StorageUnavailable`, and counts them for the next time."""
        if self.tally and time.monotonic() - self._last >= EVERY:
            await self.now(database)

    async def now(self, database: Database) -> None:
        """Add them. Raises as `due`."""
        self._last = time.monotonic()
        rows = self.tally.take()
        if not rows:
            return
        try:
            async with database.statements() as alone:
                await alone.run(ADD, {"rows": jsonb(rows)})
        except BaseException:
            self.tally.put_back(rows)
            raise


async def forget(database: Database, epoch: int | None = None) -> Swept:
    """Forget weeks that are older than a year."""
    async with database.statements() as alone:
        return Swept(count=await alone.run(FORGET, {"days": KEPT, "epoch": epoch}))
