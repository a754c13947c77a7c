"""What has ended long ago is forgotten: requests with their fetches, events, resolved alerts and quarantine, held records, credentials' histories.

Partitioned logs go by the day (`sweeps.partitions`). These tables hold rows that live as long as they must, so each is walked in the order
of its ids, a batch at a time, until the rows are too young to have ended long ago.
"""

import time
from typing import NamedTuple

import psycopg

from beat_actors.database import Database, Statements, Transaction
from beat_actors.logger import get_logger
from beat_actors.requests.swept import Swept

log = get_logger(__name__)

BATCH, SMALLEST = 2000, 50
BUSY_FOR = 20.0
"""Seconds of one run; the next one goes on where it stopped."""
TOO_MUCH = (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
"""What a batch comes to that was too large for a database with much to do."""
SQL = Statements(__file__)


class Batch(NamedTuple):
    """What a batch came to: the last id that was read, how many were, whether the last one came long ago, and how many are gone."""

    last: int | None
    read: int
    old: bool
    gone: int


TABLES = {
    table: SQL("forget", Batch, table=table, came=came, ended=ended)
    for table, came, ended in (
        ("scrape_request_log", "created_at", "scraped_at"),
        ("request_batch", "created_at", "ended_at"),
        ("outbox_event", "occurred_at", "occurred_at"),
        ("alert", "opened_at", "resolved_at"),
        ("quarantine", "at", "resolved_at"),
        ("held_record", "held_at", "decided_at"),
        ("credential_event", "at", "at"),
        ("code_start", "at", "at"),
    )
}


class Retention:
    """The walk of one process through `TABLES`; a new one begins at their beginnings."""

    def __init__(self, *, batch: int = BATCH) -> None:
        self._batch = self._most = batch
        self._after = dict.fromkeys(TABLES, 0)

    async def forget(self, database: Database, epoch: int | None = None) -> Swept:
        """Delete what ended more than `BEAT_REQUEST_DAYS` ago, for `BUSY_FOR` seconds at most. Raises `StorageUnavailable`."""
        gone, until = 0, time.monotonic() + BUSY_FOR
        async with database.statements() as alone:
            left = list(TABLES)
            while left and time.monotonic() < until:
                table = left.pop(0)
                removed, done = await self._step(alone, table, database.settings.request_days, epoch)
                gone += removed
                if not done:
                    left.append(table)  # after the others, so that no table keeps the time for itself
        return Swept(count=gone)

    async def _step(self, alone: Transaction, table: str, days: int, epoch: int | None) -> tuple[int, bool]:
        """One batch of a table: how many rows are gone, and whether the walk has come to its end."""
        values = {"after": self._after[table], "batch": self._batch, "days": days, "epoch": epoch}
        try:
            row = await alone.only(TABLES[table], values)
        except TOO_MUCH:
            if self._batch <= SMALLEST:
                raise
            self._batch = max(self._batch // 4, SMALLEST)
            log.warning("retention_batch_smaller", table=table, batch=self._batch)
            return 0, False
        done = row.read < self._batch or not row.old
        self._after[table] = 0 if done else row.last or 0
        self._batch = min(self._batch * 2, self._most)
        return row.gone, done
