"""Limits of a day on what is fetched for assets: which classes may start now.

The less urgent classes stop first, so that what is left of the day's limit goes to profile pictures and to readers. What is in flight when a limit is
reached is finished: all processes together fetch at most that, and what they start within `LOOKS_EVERY` seconds, beyond it.
"""

import time
from dataclasses import dataclass, field
from typing import NamedTuple

from beat_actors.assets.classes import AssetClass
from beat_actors.database import Database, Statements
from beat_actors.settings import Settings

LOOKS_EVERY = 5.0
"""Seconds for which a process goes by what it has read of today's use."""
UP_TO = {AssetClass.OTHER: 0.8, AssetClass.STORY: 0.9, AssetClass.THUMBNAIL: 0.9, AssetClass.AVATAR: 0.97}
"""The share of a limit up to which a class starts. What readers wait for starts up to the limit itself."""


class Used(NamedTuple):
    """Requests to origins today, and bytes from there."""

    requests: int
    fetched: int


class Allowed(NamedTuple):
    """`classes`: those that may start without a reader. `readers`: whether what readers wait for may start."""

    classes: tuple[int, ...]
    readers: bool


ALL = Allowed(tuple(int(one) for one in AssetClass), readers=True)
USED = Statements(__file__)("used", Used)


def share_used(used: Used, requests: int | None, fetched: int | None) -> float:
    """How much of the limits is used: the larger of both shares; 0 without a limit."""
    shares = [used.requests / requests] if requests is not None else []
    return max([*shares, *([used.fetched / fetched] if fetched is not None else [])], default=0.0)


def allowed(share: float) -> Allowed:
    """What may start when so much of the limits is used. Pure."""
    return Allowed(tuple(int(one) for one in AssetClass if share < UP_TO[one]), readers=share < 1.0)


def limited(settings: Settings) -> bool:
    return settings.asset_daily_requests is not None or settings.asset_daily_bytes is not None


async def share(database: Database) -> float:
    """How much of the limits of today is used."""
    async with database.statements() as alone:
        used = await alone.only(USED)
    return share_used(used, database.settings.asset_daily_requests, database.settings.asset_daily_bytes)


@dataclass(slots=True)
class Caps:
    """What may start, for one process. Without limits nothing is read."""

    database: Database
    _read_at: float | None = field(default=None)
    _allowed: Allowed = field(default=ALL)

    async def allowed(self) -> Allowed:
        """What may start now, as was read within the last `LOOKS_EVERY` seconds. Raises `StorageUnavailable`."""
        if not limited(self.database.settings):
            return ALL
        now = time.monotonic()
        if self._read_at is None or now - self._read_at >= LOOKS_EVERY:
            self._allowed, self._read_at = allowed(await share(self.database)), now
        return self._allowed
