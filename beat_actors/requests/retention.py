"""What has ended long ago is forgotten: requests with their fetches, events, resolved alerts and quarantine, credentials' histories.

Partitioned logs go by the day (`sweeps.partitions`). These tables hold rows that live as long as they must, so what is old is looked for at
their beginning, a few thousand rows at a time.
"""

from beat_actors.database import Database
from beat_actors.requests.sweeps import Swept

BATCH = 2000
# Rows come in the order of their ids. What has not ended is passed over, and the condition is asked again once the row is locked: it may have
# been retried meanwhile.
TABLES = {
    "scrape_request_log": "status IN ('COMPLETE', 'FAILED', 'CANCELLED') AND scraped_at",
    "outbox_event": "occurred_at",
    "alert": "resolved_at",
    "quarantine": "resolved_at",
    "credential_event": "at",
}
FORGET = """
DELETE FROM {table} WHERE id = ANY(ARRAY(SELECT id FROM {table} ORDER BY id LIMIT %(batch)s))
  AND {ended} < clock_timestamp() - make_interval(days => %(days)s) AND beat_leads(%(epoch)s)
"""


async def forget(database: Database, epoch: int | None = None) -> Swept:
    """Delete up to `BATCH` rows of each table that ended more than `BEAT_REQUEST_DAYS` ago."""
    known = {"batch": BATCH, "days": database.settings.request_days, "epoch": epoch}
    gone = 0
    async with database.statements() as alone:
        for table, ended in TABLES.items():
            gone += await alone.run(FORGET.format(table=table, ended=ended), known)
    return Swept(count=gone)
