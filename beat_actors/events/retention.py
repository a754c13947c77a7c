"""Deletes old events: each day older than BEAT_LOG_DAYS, once all sinks and webhooks have received its events, and the places of these events."""

import time
from datetime import datetime

from beat_actors.database import Database, Statements
from beat_actors.events.log import SEQUENCED, sequence
from beat_actors.requests.sweeps import DROP
from beat_actors.requests.swept import Swept

BATCH = 10_000
"""Places, minutes or replays that one statement deletes."""
BUSY_FOR = 20.0
"""Seconds of one run; the next one goes on where it stopped."""
SQL = Statements(__file__)
NEEDED = SQL("needed", datetime)
DAYS = SQL("days", int)
FORGET_PLACES = SQL("forget_places")
FORGET_MINUTES = SQL("forget_minutes")
FORGET_REPLAYS = SQL("forget_replays")


async def forget(database: Database, epoch: int | None = None) -> Swept:
    """Drop the days that are no longer needed, then delete their places. The result counts both. Raises `StorageUnavailable`.

    First gives pending events their places, because an installation may run neither a publisher nor a deliverer.
    """
    until, settings, count = time.monotonic() + BUSY_FOR, database.settings, 0
    async with database.statements() as alone:
        while time.monotonic() < until and (await sequence(alone)).moved == SEQUENCED:
            pass
        needed = await alone.value(NEEDED)
        days = await alone.only(DAYS, {"days": settings.log_days, "needed": needed})
        count += await alone.value(DROP, {"parent": "event", "days": days, "epoch": epoch}) or 0
        for statement, kept in (
            (FORGET_PLACES, days),
            (FORGET_MINUTES, days),
            (FORGET_REPLAYS, settings.request_days),
        ):
            gone = BATCH
            while gone == BATCH and time.monotonic() < until:
                gone = await alone.run(statement, {"days": kept, "limit": BATCH, "epoch": epoch})
                count += gone
    return Swept(count=count)
