"""What has ended long ago is forgotten: requests with their fetches, events, resolved alerts and quarantine, credentials' histories.

Partitioned logs go by the day (`sweeps.partitions`). These tables hold rows that live as long as they must, so each is walked in the order
of its ids, a batch at a time, until the rows are too young to have ended long ago.
"""

import time

import psycopg
import structlog

from beat_actors.database import Database, Transaction
from beat_actors.requests.sweeps import Swept

log = structlog.get_logger(__name__)

BATCH, SMALLEST = 2000, 50
BUSY_FOR = 20.0
"""Seconds of one run; the next one goes on where it stopped."""
TOO_MUCH = (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
"""What a batch comes to that was too large for a database with much to do."""
# When a row came, and when what it is about ended.
TABLES = {
    "scrape_request_log": ("created_at", "status IN ('COMPLETE', 'FAILED', 'CANCELLED') AND scraped_at"),
    "outbox_event": ("occurred_at", "occurred_at"),
    "alert": ("opened_at", "resolved_at"),
    "quarantine": ("at", "resolved_at"),
    "credential_event": ("at", "at"),
}
# Parameters: the last id of the batch before, rows of a batch, days, the leader's epoch. One row: the last id that was read (NULL: none),
# how many were read, whether the last one came long ago, and how many are gone. What has not ended is passed over; the condition is asked
# again of a row that is locked, since it may have been retried meanwhile.
FORGET = """
WITH age AS (
    SELECT clock_timestamp() - make_interval(days => %(days)s) AS ended
), batch AS (
    SELECT id, {came} < (SELECT ended FROM age) AS old FROM {table} WHERE id > %(after)s ORDER BY id LIMIT %(batch)s
), gone AS (
    DELETE FROM {table} WHERE id = ANY(ARRAY(SELECT id FROM batch WHERE old)) AND {ended} < (SELECT ended FROM age)
      AND beat_leads(%(epoch)s) RETURNING id
)
SELECT max(id) AS last, count(*) AS read, coalesce((array_agg(old ORDER BY id DESC))[1], false) AS old,
       (SELECT count(*) FROM gone) AS gone FROM batch
"""


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
        came, ended = TABLES[table]
        values = {"after": self._after[table], "batch": self._batch, "days": days, "epoch": epoch}
        try:
            row = await alone.row(FORGET.format(table=table, came=came, ended=ended), values)
        except TOO_MUCH:
            if self._batch <= SMALLEST:
                raise
            self._batch = max(self._batch // 4, SMALLEST)
            log.warning("retention_batch_smaller", table=table, batch=self._batch)
            return 0, False
        assert row is not None
        done = row.read < self._batch or not row.old
        self._after[table] = 0 if done else row.last
        self._batch = min(self._batch * 2, self._most)
        return int(row.gone), done
