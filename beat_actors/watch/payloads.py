"""Raw payloads that should be in the bucket, and are not."""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from beat_actors.alerts import Alert
from beat_actors.database import Database, Statements
from beat_actors.payloads.archive import archives

SOON = 2
"""Days before raw payloads reach their age from which on this is critical."""


class LeftOver(NamedTuple):
    """A past day that is still in PostgreSQL. `said`: the sweep's last error. `needed`: whether one of its payloads is still to be read."""

    day: date
    bytes: int
    said: str | None
    needed: bool


LEFT_OVER = Statements(__file__)("left_over", LeftOver)


async def unarchived(database: Database) -> list[Alert]:
    """Days that PostgreSQL keeps for longer than `BEAT_RAW_PAYLOAD_DATABASE_DAYS`, six hours after they should be gone."""
    settings = database.settings
    if not archives(settings):
        return []
    async with database.statements() as alone:
        rows = await alone.rows(LEFT_OVER, {"days": settings.raw_payload_database_days})
    if not rows:
        return []
    oldest, size = rows[0], sum(row.bytes for row in rows)
    ends = oldest.day + timedelta(days=settings.raw_payload_days + 1)
    soon = ends - timedelta(days=SOON) <= datetime.now(UTC).date()
    why = (
        "fetches still wait to be read from them"
        if oldest.needed
        else f"the sweep archive last said: {oldest.said or 'nothing'}"
    )
    return [
        Alert(
            key="payloads:unarchived",
            severity="critical" if soon else "warning",
            cause=f"raw payloads of {len(rows)} days, from {oldest.day} on, have not left PostgreSQL for the bucket; {why}",
            impact=f"they take {size / 1e9:.1f} GB of PostgreSQL; those of {oldest.day} are forgotten on {ends} (BEAT_RAW_PAYLOAD_DAYS), "
            "as they would be in the bucket",
            automatic="it is tried again each minute, and PostgreSQL drops no day before all of it is in the bucket",
            action="`beat doctor` says what the bucket lacks; see that PostgreSQL has room until then",
        )
    ]
