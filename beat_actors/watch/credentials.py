"""Credentials that are out, or about to be."""

from datetime import UTC, datetime
from typing import NamedTuple

from beat_actors.alerts import Alert
from beat_actors.credentials.alerts import troubles
from beat_actors.database import Database, Statements


class Out(NamedTuple):
    """A source `of` whose credentials many are `gone`, some of them `dead`. `back_at`: when the first comes back by itself."""

    platform: str
    source: str
    of: int
    gone: int
    dead: int
    back_at: datetime | None


OUT = Statements(__file__)("out", Out)


async def credentials_in_trouble(database: Database) -> list[Alert]:
    """What time alone brings about: an end that comes near, a token that nobody refreshed, an edit by hand."""
    async with database.statements() as alone:
        return await troubles(alone)


async def credentials_out(database: Database) -> list[Alert]:
    """Sources of whose credentials more than half are out."""
    async with database.statements() as alone:
        rows = await alone.rows(OUT)
    return [
        Alert(
            key=f"credentials:{row.source}",
            severity="critical" if row.gone == row.of else "warning",
            cause=_unavailable(row),
            impact=f"calls go to other sources or wait for {row.source}" if row.gone == row.of else f"{row.source} has less than half of its capacity",
            automatic=f"the first is retried at {row.back_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC with one probe call"
            if row.back_at is not None
            else "none: these credentials need a person",
            action=f"`beat credentials list {row.source}` shows why; add one: `beat credentials add {row.source}`",
            source=row.source,
        )
        for row in rows
    ]  # fmt: skip


def _unavailable(row: Out) -> str:
    dead = f"{row.dead} dead" if row.dead else "none dead"
    if row.gone == row.of:
        return f"all {row.of} credentials of {row.source} are unavailable ({dead})"
    return f"{row.gone} of {row.of} credentials of {row.source} are unavailable ({dead})"
