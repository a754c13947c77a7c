"""The event `beat.limit.reached`: a limit on on-demand requests has passed a level, told once for each level and window."""

from collections.abc import Sequence
from typing import NamedTuple

from beat_actors.database import Database, Statements, arrays
from beat_actors.quotas.limiter import StackedLimiter
from beat_actors.quotas.overview import LimitView, overview
from beat_actors.requests.swept import Swept

LEVELS = (50, 80, 100)
"""Percent of a limit."""
SHORTEST = 3600
"""Seconds of the shortest window that is told: one that is over within minutes is over before anybody acts."""


class Passed(NamedTuple):
    """A limit, and the level that it has passed."""

    name: str
    percent: int


PUBLISH = Statements(__file__)("publish", Passed)


async def sweep(database: Database, epoch: int | None = None) -> Swept:
    """Look at every limit. Raises `LimitsUnavailable`, `StorageUnavailable`."""
    async with StackedLimiter(database) as limiter:
        views = await overview(limiter)
    return Swept(count=len(await publish(database, views, epoch=epoch)))


async def publish(database: Database, views: Sequence[LimitView], *, epoch: int | None = None) -> list[Passed]:
    """Publish each level that these limits have passed and that was not published in their present window."""
    rows = [
        (one.name, one.platform, one.used, one.calls, one.renews_at, one.window == "calendar", one.seconds)
        for one in views
        if one.used is not None and one.seconds >= SHORTEST and one.used * 100 >= one.calls * LEVELS[0]
    ]
    if not rows:
        return []
    named = arrays(rows, "limits", "platforms", "used", "calls", "resets", "calendar", "seconds")
    async with database.transaction() as transaction:
        return await transaction.rows(PUBLISH, named | {"levels": list(LEVELS), "epoch": epoch})
