"""Providers that fail, or whose answers cannot be read, for all or for single owners."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from beat_actors.alerts import SOURCE_RULE, Alert
from beat_actors.database import Database, Statements
from beat_actors.platforms.registry import platforms
from beat_actors.watch.rule import listed, number

COUNTED = 10_000
"""Fetches that are counted of those that wait for a source."""


class OpenBreakers(NamedTuple):
    """A source's operations whose breakers are open. `opened_by`: the calls that opened them, where they are known. `waiting`: fetches that no
    other source can serve."""

    platform: str
    source: str
    operations: list[str]
    opened_by: list[dict[str, Any]]
    waiting: int


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
    return [
        _alert(
            row,
            SOURCE_RULE,
            cause=f"{row.source} is failing: {_failures(row)}",
            automatic="Beat sends it no calls but one probe after each pause (30 s to 5 min), and closes the breaker when a probe succeeds",
            action=f"recovery is automatic; `beat sources {row.source}` shows the breakers; check the provider's status page",
        )
        for row in await _open(database, "upstream")
    ]


async def unreadable(database: Database) -> list[Alert]:
    """Providers whose answers their parsers cannot read: either side may have changed."""
    return [
        _alert(
            row,
            "parser",
            cause=f"Beat cannot parse the answers of {row.source}: {_failures(row)}",
            automatic="Beat keeps the payloads in quarantine and blames no credential; one probe after each pause (30 s to 5 min) tries again",
            action="`beat quarantine` lists the payloads, `beat quarantine show ID --payload` shows one to compare with the parser",
        )
        for row in await _open(database, "parser")
    ]


async def _open(database: Database, kind: str) -> Sequence[OpenBreakers]:
    async with database.statements() as alone:
        return await alone.rows(OPEN_BREAKERS, {"kind": kind, "most": COUNTED})


def _alert(row: OpenBreakers, rule: str, *, cause: str, automatic: str, action: str) -> Alert:
    chains = platforms()[row.platform].chains if row.platform in platforms() else {}
    only = [operation for operation in row.operations if chains.get(operation) == (row.source,)]
    return Alert(
        key=f"{rule}:{row.source}",
        severity="critical" if only else "warning",
        cause=cause,
        impact=_impact(row, only),
        automatic=automatic,
        action=action,
        source=row.source,
    )


def _impact(row: OpenBreakers, only: Sequence[str]) -> str:
    if only:
        wait = f"{'more than ' if row.waiting >= COUNTED else ''}{number(row.waiting, 'call')} waiting"
        return f"{listed(only)} of {row.platform} {'has' if len(only) == 1 else 'have'} no other source ({wait}); reads return the last known data, marked as stale"
    return f"{row.platform} continues with the other sources of {listed(row.operations)}"


def _failures(row: OpenBreakers) -> str:
    """How many calls failed and how, where the breakers keep it, and of which operations."""
    operations = listed(row.operations)
    if not row.opened_by:
        return operations
    codes = Counter[str]()
    for one in row.opened_by:
        codes.update(dict(one["codes"]))
    calls, failures = (sum(one[name] for one in row.opened_by) for name in ("calls", "failures"))
    said = listed([_code(code) for code, _ in codes.most_common()])
    return f"{failures:,} of {calls:,} calls failed within a minute{f' ({said})' if said else ''}, of {operations}"


def _code(code: str) -> str:
    return f"HTTP {code}" if code.isdecimal() and len(code) == 3 else code


async def owners_out(database: Database) -> list[Alert]:
    """Single owners whose calls fail or cannot be read, while their source answers others."""
    async with database.statements() as alone:
        rows = await alone.rows(OWNERS)
    return [
        Alert(
            key=f"owners:{row.source}",
            severity="warning",
            cause=f"calls to {row.source} fail, or their answers cannot be parsed, for {number(row.owners, 'owner')}: {listed(row.some)}",
            impact=f"requests for {'this owner' if row.owners == 1 else 'these owners'} of {row.platform} wait; other owners are not affected",
            automatic="Beat sends one probe for each owner after each pause (30 s to 5 min), and resumes when a probe succeeds",
            action=f"`beat sources {row.source}` names the owners; check their store or account at the provider",
            source=row.source,
        )
        for row in rows
    ]
