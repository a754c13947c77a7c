"""Held records that nobody but a person can decide."""

from datetime import datetime
from typing import NamedTuple

from beat_actors.alerts import Alert
from beat_actors.database import Database, Statements
from beat_actors.moments import moment


class Waiting(NamedTuple):
    """How many held records of a source and operation wait for a person, since when, and the first of them."""

    platform: str
    source: str
    operation: str
    of: int
    since: datetime
    first: int


WAITING = Statements(__file__)("waiting", Waiting)


async def waiting_for_a_person(database: Database) -> list[Alert]:
    """Records that no independent source has confirmed or refuted within a day."""
    async with database.statements() as alone:
        rows = await alone.rows(WAITING)
    return [
        Alert(
            key=f"held:{row.source}:{row.operation}",
            severity="warning",
            cause=f"{row.of:,} records of {row.source} ({row.operation}) are held since {moment(row.since)}, and no other source confirms or refutes them",
            impact=f"the values that were known before are served for these {row.platform} entities; all others are not affected",
            automatic="Beat asked the other sources at once, and again after 1, 6 and 24 hours; a source that takes its value back ends the hold",
            action=f"`beat held` lists them, `beat held show {row.first}` shows both values; then `beat held accept ID --reason …` or `beat held reject ID --reason …`",
            source=row.source,
        )
        for row in rows
    ]
