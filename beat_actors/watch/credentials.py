"""Credentials that are unavailable, or about to be."""

from datetime import datetime
from typing import NamedTuple

from beat_actors.alerts import Alert
from beat_actors.credentials.alerts import troubles
from beat_actors.database import Database, Statements
from beat_actors.moments import moment


class Out(NamedTuple):
    """A source with `of` credentials, of which `gone` are unavailable and `dead` are dead. `back_at`: when the first one is retried."""

    platform: str
    source: str
    of: int
    gone: int
    dead: int
    back_at: datetime | None


OUT = Statements(__file__)("out", Out)


async def credentials_in_trouble(database: Database) -> list[Alert]:
    """Credentials that expire soon, tokens that were not refreshed, and secrets that were edited by hand."""
    async with database.statements() as alone:
        return await troubles(alone)


async def credentials_out(database: Database) -> list[Alert]:
    """Sources with more than half of their credentials unavailable."""
    async with database.statements() as alone:
        rows = await alone.rows(OUT)
    return [_alert(row) for row in rows]


def _alert(row: Out) -> Alert:
    every = row.gone == row.of
    which = f"all {row.of}" if every else f"{row.gone} of {row.of}"
    dead = "none dead" if not row.dead else f"{row.dead} dead"
    return Alert(
        key=f"credentials:{row.source}",
        severity="critical" if every else "warning",
        cause=f"{which} credentials of {row.source} are unavailable: cooling down, disabled or dead ({dead})",
        impact=f"{row.source} takes no calls: its work goes to other sources, or waits where there is none"
        if every
        else f"{row.source} has less than half of its capacity",
        automatic=f"Beat retries the first credential at {moment(row.back_at)} with one probe call"
        if row.back_at is not None
        else "none: no credential becomes available without manual action",
        action=f"`beat credentials list {row.source}` shows why; add one: `beat credentials add {row.source}`",
        source=row.source,
        over_at=row.back_at,
    )
