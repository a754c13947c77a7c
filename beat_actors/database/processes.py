"""What the processes that live report of themselves: statements, pool, and how long work waited until it was claimed. `reporting` writes it."""

from datetime import datetime
from typing import NamedTuple

import msgspec

from beat_actors.database.engine import Database
from beat_actors.database.metrics import Outage
from beat_actors.database.sql import Statements

SEEN_WITHIN = 30
"""Seconds since its last report for which a process is said to live. One whose statements take longer still reports, only later."""


class Code(NamedTuple):
    """The code that a process runs: Beat's version, the newest revision of the schema that it knows, and its platforms (`None`: it has to
    do with none)."""

    version: str
    revision: str
    platforms: tuple[str, ...] | None


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process and its last minute. Times in seconds.

    `pool_used` of `pool_most` connections were taken when it reported; `pool_exhausted` times, none came free in time. `claims`: fetches that
    its stages took up; `claim_p50`, `claim_p99`: how long those had waited since they were handed over. `troubles`: what this process alone
    cannot do, has lost or has found, and a sentence on each. `vault_keys`: the vault's keys that it holds, each with a fingerprint; `None` where it holds none. `outages`: when the
    database did not answer it, within the last hour. `restarts`: workers of the same parent that ended unexpectedly within the last hour.
    """

    name: str
    host: str
    pid: int
    started_at: datetime
    seen_at: datetime
    statements: int
    statement_p99: float
    pool_used: int
    pool_most: int
    pool_exhausted: int
    claims: int
    claim_p50: float
    claim_p99: float
    troubles: dict[str, str] = {}
    vault_keys: list[str] | None = None
    outages: list[Outage] = []
    restarts: int = 0
    version: str | None = None
    revision: str | None = None
    platforms: list[str] | None = None

    @property
    def code(self) -> Code | None:
        """`None` where it does not say."""
        if self.version is None or self.revision is None:
            return None
        return Code(self.version, self.revision, None if self.platforms is None else tuple(self.platforms))


SQL = Statements(__file__)
LIVING = SQL("living", Process)


async def processes(database: Database) -> list[Process]:
    """All that live."""
    async with database.statements() as alone:
        rows = await alone.rows(LIVING, {"seconds": SEEN_WITHIN})
    return [msgspec.structs.replace(row, outages=msgspec.convert(row.outages, list[Outage])) for row in rows]
