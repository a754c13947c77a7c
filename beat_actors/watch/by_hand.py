"""What a person stopped and may have forgotten: paused flows, sources to which nothing is sent, and such whose answers are not used."""

from datetime import datetime
from typing import NamedTuple

from beat_actors.alerts import Alert
from beat_actors.database import Database, Statements
from beat_actors.holds.canaries import is_canary
from beat_actors.moments import moment
from beat_actors.watch.rule import listed

FORGOTTEN = 3600
"""Seconds after which it is told."""


class PausedFlow(NamedTuple):
    """A flow that is paused, and since when."""

    platform: str
    flow: str
    since: datetime


class OpenedSource(NamedTuple):
    """A source with operations whose breakers a person opened; `until`: when the first of them sends a probe."""

    platform: str
    source: str
    operations: list[str]
    since: datetime
    until: datetime


class Distrusted(NamedTuple):
    """An operation of a source whose data breaker a person opened; `versions`: of its parser."""

    platform: str
    source: str
    operation: str
    versions: list[int]
    since: datetime


SQL = Statements(__file__)
FLOWS = SQL("flows", PausedFlow)
SOURCES = SQL("sources", OpenedSource)
DISTRUSTED = SQL("distrusted", Distrusted)


async def stopped_by_hand(database: Database) -> list[Alert]:
    """Flows, sources and data that a person stopped more than an hour ago."""
    async with database.statements() as alone:
        flows = await alone.rows(FLOWS, {"seconds": FORGOTTEN})
        sources = await alone.rows(SOURCES, {"seconds": FORGOTTEN})
        distrusted = await alone.rows(DISTRUSTED, {"seconds": FORGOTTEN})
    return [
        *(
            Alert(
                key=f"hand:flow:{row.platform}:{row.flow}",
                severity="warning",
                cause=f"the flow {row.flow} of {row.platform} was paused by a person at {moment(row.since)} and is still paused",
                impact="its requests are accepted and wait; other flows are not affected",
                automatic="none: a paused flow stays paused",
                action=f"`beat flows resume {row.flow} --platform {row.platform} --reason …`; `beat audit flow/{row.platform}/{row.flow}` shows who paused it",
                platform=row.platform,
            )
            for row in flows
        ),
        *(
            Alert(
                key=f"hand:source:{row.source}",
                severity="warning",
                cause=f"a person stopped the calls to {row.source} at {moment(row.since)}: {listed(row.operations)}",
                impact=f"{row.platform} uses the other sources; where there is none, requests wait",
                automatic=f"one probe at {moment(row.until)} resumes the calls if it succeeds",
                action=f"`beat sources resume {row.source} --reason …` resumes them now; `beat audit source/{row.source}` shows who stopped them",
                source=row.source,
                over_at=row.until,
            )
            for row in sources
        ),
        *(_of_data(row) for row in distrusted),
    ]


def _of_data(row: Distrusted) -> Alert:
    versions = ", ".join(str(version) for version in row.versions)
    reads_nothing = all(is_canary(row.platform, row.source, row.operation, version) for version in row.versions)
    return Alert(
        key=f"hand:data:{row.source}:{row.operation}",
        severity="warning",
        cause=f"a person opened the data breaker of {row.source} {row.operation} (parser version {versions}) at {moment(row.since)}",
        impact="the deployed parser reads all answers, and the next one none"
        if reads_nothing
        else f"{row.platform} uses the other sources; where there is none, requests wait",
        automatic="none: it stays open until somebody closes it; another version of the parser is used at once",
        action=f"`beat sources trust {row.source} --operation {row.operation} --reason …` uses the answers again; `beat audit source/{row.source}` shows who opened it",
        source=row.source,
    )
