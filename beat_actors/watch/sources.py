"""Providers that fail, or whose answers cannot be read, for all or for single owners."""

from collections.abc import Sequence
from typing import NamedTuple

from beat_actors.alerts import SOURCE_RULE, Alert
from beat_actors.database import Database, Statements
from beat_actors.platforms.registry import platforms
from beat_actors.watch.rule import listed


class OpenBreakers(NamedTuple):
    """A source's operations whose breakers are open."""

    platform: str
    source: str
    operations: list[str]


class OwnersOut(NamedTuple):
    """How many owners of a source have open breakers, and some of them."""

    platform: str
    source: str
    owners: int
    some: list[str]


SQL = Statements(__file__)
OPEN_BREAKERS = SQL("open_breakers", OpenBreakers)
OWNERS = SQL("owners", OwnersOut)


async def sources_down(database: Database) -> list[Alert]:
    """Providers that fail: one alert for each, whatever the number of its operations."""
    return await _of_open_breakers(
        database,
        "upstream",
        SOURCE_RULE,
        cause="{source} is failing: {operations}",
        automatic="its calls go to the next source of each chain; one probe after each rest (30 s to 5 min) finds out when it is back",
        action="recovery is automatic; `beat sources` shows the breakers; read the provider's status page",
    )


async def unreadable(database: Database) -> list[Alert]:
    """Providers whose answers their parsers cannot read: either side may have changed."""
    return await _of_open_breakers(
        database,
        "parser",
        "parser",
        cause="answers of {source} cannot be parsed: {operations}",
        automatic="the answers are kept in quarantine, the next sources are asked, no credential is blamed; a probe tries again",
        action="`beat quarantine` lists the payloads, `beat quarantine show ID --payload` shows one to compare with the parser",
    )


async def _of_open_breakers(
    database: Database, kind: str, rule: str, *, cause: str, automatic: str, action: str
) -> list[Alert]:
    """An alert of this rule for each source that has open breakers of this kind."""
    async with database.statements() as alone:
        rows = await alone.rows(OPEN_BREAKERS, {"kind": kind})
    return [
        Alert(
            key=f"{rule}:{row.source}",
            severity="critical" if _alone(row.platform, row.source, row.operations) else "warning",
            cause=cause.format(source=row.source, operations=listed(row.operations)),
            impact=_impact(row.platform, row.source, row.operations),
            automatic=automatic,
            action=action,
            source=row.source,
        )
        for row in rows
    ]


async def owners_out(database: Database) -> list[Alert]:
    """Single owners whose calls fail or cannot be read, while their source answers others."""
    async with database.statements() as alone:
        rows = await alone.rows(OWNERS)
    return [
        Alert(
            key=f"owners:{row.source}",
            severity="warning",
            cause=f"calls for {row.owners} {'owner' if row.owners == 1 else 'owners'} of {row.source} fail or cannot be read: {listed(row.some)}",
            impact=f"what is asked of them on {row.platform} waits; other owners are served",
            automatic="one probe for each owner after each rest (30 s to 5 min) finds out when its calls go well again",
            action=f"`beat sources {row.source}` names the owners; check their store or account at the provider",
            source=row.source,
        )
        for row in rows
    ]


def _alone(platform: str, source: str, operations: Sequence[str]) -> bool:
    """Whether some of these operations have no other source."""
    chains = platforms()[platform].chains if platform in platforms() else {}
    return any(chains.get(operation) == (source,) for operation in operations)


def _impact(platform: str, source: str, operations: Sequence[str]) -> str:
    chains = platforms()[platform].chains if platform in platforms() else {}
    only = [operation for operation in operations if chains.get(operation) == (source,)]
    if only:
        return (
            f"{listed(only)} of {platform} have no other source: they wait, and the last known data is served as stale"
        )
    return f"{platform} goes on with the other sources of {listed(operations)}"
