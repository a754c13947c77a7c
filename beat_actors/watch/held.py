"""Held records that nobody but a person can decide."""

from datetime import datetime
from typing import NamedTuple

from beat_actors.alerts import Alert
from beat_actors.database import Database, Statements
from beat_actors.holds.canaries import is_canary
from beat_actors.moments import moment


class Waiting(NamedTuple):
    """How many held records of a source and operation wait for a person, since when, and the first of them."""

    platform: str
    source: str
    operation: str
    of: int
    since: datetime
    first: int


class Distrusted(NamedTuple):
    """A source whose answers to an operation are wrong, or may be. `held`: records of it that are not decided."""

    platform: str
    source: str
    operation: str
    parser_version: int
    since: datetime | None
    why: str
    held: int


SQL = Statements(__file__)
WAITING, DISTRUSTED = SQL("waiting", Waiting), SQL("distrusted", Distrusted)


async def distrusted(database: Database) -> list[Alert]:
    """Sources that answer, and answer wrongly."""
    async with database.statements() as alone:
        rows = await alone.rows(DISTRUSTED)
    return [_alert(row) for row in rows]


def _alert(row: Distrusted) -> Alert:
    if is_canary(row.platform, row.source, row.operation, row.parser_version):
        return _of_canary(row)
    return _of_breaker(row) if row.since is not None else _unclear(row)


def _of_canary(row: Distrusted) -> Alert:
    """A next parser that has stopped itself."""
    said = f"`beat sources trust {row.source} --operation {row.operation} --parser-version {row.parser_version} --reason …`"
    since = "" if row.since is None else f" since {moment(row.since)}"
    return Alert(
        key=f"data:{row.source}:{row.operation}:next",
        severity="warning",
        cause=f"the next parser of {row.source} {row.operation} (version {row.parser_version}) is stopped{since}: {row.why}",
        impact="the deployed parser reads all answers again; what the next one wrote before stays until it is restored",
        automatic="nothing more is read by this version, in any process, until a person says so",
        action=f"`beat blast --since TIME --parser {row.parser_version} --source {row.source}` lists what it wrote, and `beat restore --since TIME --parser {row.parser_version} --source {row.source} --reason …` undoes that; remove it from BEAT_PARSER_CANARY, or let it go on: {said}",
        source=row.source,
    )


def _of_breaker(row: Distrusted) -> Alert:
    return Alert(
        key=f"data:{row.source}:{row.operation}",
        severity="critical",
        cause=f"the answers of {row.source} to {row.operation} (parser version {row.parser_version}) are wrong: {row.why}",
        impact=f"the known values of {row.platform} are served; the other sources are asked, and where there is none, requests wait",
        automatic="one call in 50 still goes to the source; it is used again when 19 of the last 20 such answers are plausible",
        action=f"look at `beat held` and at the parser; a new parser version is used at once, and `beat sources resume {row.source} --operation {row.operation} --reason …` trusts the source again",
        source=row.source,
    )


def _unclear(row: Distrusted) -> Alert:
    return Alert(
        key=f"data:{row.source}:{row.operation}",
        severity="critical",
        cause=f"more than 10 % of the answers of {row.source} to {row.operation} are out of range, and the other sources confirm some of them and refute others",
        impact=f"{row.held:,} records of {row.platform} are held, and the values that were known before are served",
        automatic="Beat asks about no more of them by itself",
        action=f"`beat held` shows both values of each; decide them, then `beat sources resume {row.source} --operation {row.operation} --reason …`",
        source=row.source,
    )


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
