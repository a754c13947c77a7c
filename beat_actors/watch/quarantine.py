"""Quarantined payloads, messages and records, and calls that were refused with unknown reasons."""

from typing import NamedTuple

from beat_actors.alerts import Alert
from beat_actors.database import Database, Statements
from beat_actors.quarantine import REPLAYABLE

QUARANTINE_SETS, QUARANTINE_COUNTED = 500, 1000
"""Groups (kind, platform, source, operation) that are read, and rows of each that are counted."""
SINGLE = 5
"""Payloads within the hour from which on they are no single ones any more."""
SETTLED = 5
"""Seconds after the first one at which single payloads are told. If all answers of a source are unreadable, its parser's breaker is open by then, and
the alert of the breaker explains this one."""


class Told(NamedTuple):
    """How many entries of one kind and place stand in quarantine, and an error of theirs."""

    kind: str
    platform: str
    source: str
    operation: str
    of: int
    error: str | None


TOLD = Statements(__file__)("told", Told)


async def quarantined(database: Database) -> list[Alert]:
    """Unresolved entries: every poison record or message, and payloads that no parser could read within the hour. Also numbers of calls that were
    refused within the hour with a reason that no rule knows."""
    async with database.statements() as alone:
        rows = await alone.rows(
            TOLD, {"sets": QUARANTINE_SETS, "most": QUARANTINE_COUNTED, "few": SINGLE, "settled": SETTLED}
        )
    return [
        Alert(
            key=f"quarantine:{row.kind}:{row.source}:{row.operation}",
            severity="warning",
            cause=f"{row.source} refused {row.of:,} calls of {row.operation} within an hour with an unknown reason, last code: {row.error or 'none'}",
            impact="these calls went to the next source; where there was none, their requests failed with the code refused",
            automatic="Beat asks each source at most twice for the same fetch, and blames no credential",
            action="`beat requests --error refused` lists the requests that failed, `beat why ID` shows the code of each call; "
            "then add a rule to the source's error table",
            source=row.source,
        )
        if row.kind == "refused"
        else Alert(
            key=f"quarantine:{row.kind}:{row.source}:{row.operation}",
            severity=_severity(row),
            cause=f"{row.of:,}{' or more' if row.of == QUARANTINE_COUNTED else ''} {row.kind} in quarantine ({row.platform} {row.source} {row.operation}): {(row.error or '')[:200]}",
            impact="their requests continued with other sources, or failed with this reason; the rest of each batch was not affected",
            automatic="Beat keeps each with its payload, so that it can be parsed again without a call",
            action=_action(row),
            source=None if row.source == "-" else row.source,
            platform=None if row.platform == "-" else row.platform,
        )
        for row in rows
    ]


def _severity(row: Told) -> str:
    if row.kind == "poison":
        return "critical"
    return "info" if row.kind == "malformed" and row.of < SINGLE else "warning"


def _action(row: Told) -> str:
    """The commands that show the entries of this row, and those that end them."""
    where = "".join(
        f" --{name} {value}" for name, value in (("source", row.source), ("operation", row.operation)) if value != "-"
    )
    look = "`beat quarantine` lists the entries, `beat quarantine show ID --payload` shows one with its payload"
    if row.kind in REPLAYABLE:
        return f"{look}; once the parser is fixed: `beat quarantine replay {row.kind}{where} --reason …`"
    return f"{look}; once the cause is fixed: `beat quarantine resolve {row.kind}{where} --reason …`"
