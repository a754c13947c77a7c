"""How many requests of a tenant may be open at a time. A tenant is an account, or a key without one.

The API asks here before it submits or retries. The command line and the pipeline do not ask.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from beat_actors.database import Database, Statements
from beat_actors.errors import TooManyOpen

INTERVAL = 2.0
"""Seconds that a count is used for."""
MOST = 10_000
"""Tenants above which counts that are too old are dropped."""

SQL = Statements(__file__)
COUNT = SQL("count", int)

Tenant = tuple[str | None, int | None]


@dataclass(slots=True)
class _Known:
    """`accepted`: since the count began. `under_way`: neither committed nor rolled back."""

    count: int = 0
    at: float = float("-inf")
    accepted: int = 0
    under_way: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class OpenRequests:
    """One for each process and event loop.

    A process counts a tenant's open requests in the database at most once in `INTERVAL`, and adds what it accepts after that. A tenant
    can exceed the cap by what other processes accept within `INTERVAL`. A refusal rests on a count that is at most `INTERVAL` old, so
    requests that ended since then make room after that time.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._most = database.settings.open_requests
        self._known: dict[Tenant, _Known] = {}

    @asynccontextmanager
    async def room(self, tenants: Iterable[Tenant]) -> AsyncIterator[None]:
        """Hold room for one request of each of these tenants, which are (account_id, api_key_id), while they are submitted.

        Raises `TooManyOpen` where one tenant has no room, and then nothing may be written; `StorageUnavailable`.
        """
        wanted = Counter((account, None if account is not None else key) for account, key in tenants)
        held: list[tuple[_Known, int]] = []
        done = False
        try:
            for tenant, n in wanted.items():
                held.append((await self._hold(tenant, n), n))
            yield
            done = True
        finally:
            for known, n in held:
                known.under_way -= n
                known.accepted += n if done else 0

    async def _hold(self, tenant: Tenant, n: int) -> _Known:
        if tenant not in self._known and len(self._known) >= MOST:
            old = time.monotonic() - INTERVAL
            self._known = {key: one for key, one in self._known.items() if one.at > old or one.under_way}
        known = self._known.setdefault(tenant, _Known())
        async with known.lock:
            if time.monotonic() - known.at >= INTERVAL:
                await self._count(tenant, known)
        if (count := known.count + known.accepted + known.under_way) + n > self._most:
            raise TooManyOpen(self._most, count, n, seconds=int(INTERVAL))
        known.under_way += n
        return known

    async def _count(self, tenant: Tenant, known: _Known) -> None:
        before, at = known.accepted, time.monotonic()
        values = {"account": tenant[0], "key": tenant[1], "most": self._most + 1}
        async with self._database.statements() as alone:
            known.count = await alone.only(COUNT, values)
        known.at = at
        known.accepted -= before
