"""The parsers of this checkout with their versions, and the versions that have read what was stored within a day."""

from collections import defaultdict
from datetime import datetime
from typing import NamedTuple

import msgspec

from beat_actors.database import Database, Statements
from beat_actors.holds.canaries import Stopped, next_parsers, stopped_of
from beat_actors.platforms.registry import platforms


class StoredVersion(NamedTuple):
    """How many answers of an operation a parser version has read within a day, and the time of the last one."""

    platform: str
    source: str | None
    operation: str
    version: int | None
    answers: int
    last_at: datetime


class SeenVersion(msgspec.Struct, frozen=True):
    """A parser version, how many answers it has read within a day, and the time of the last one."""

    version: int | None
    answers: int
    last_at: datetime


class ParserVersions(msgspec.Struct, frozen=True):
    """A parser. `version`: in this checkout; None where it has no such parser. `stored`: the versions that have read what was stored. `following`: the
    version of the next parser, if one is declared; `stopped_since`, `stopped_why`: where it reads nothing more."""

    platform: str
    source: str
    operation: str
    version: int | None
    stored: list[SeenVersion]
    following: int | None = None
    stopped_since: datetime | None = None
    stopped_why: str | None = None


SQL = Statements(__file__)
STORED, PATIENT = SQL("stored", StoredVersion), SQL("patient")


async def versions(database: Database) -> list[ParserVersions]:
    """All parsers of this checkout, and those that have read something within a day."""
    async with database.transaction() as transaction:
        await transaction.run(PATIENT)
        found = await transaction.rows(STORED)
        following = {(one.source, one.operation): one.version for one in next_parsers()}
        stopped = {(one.source, one.operation): one for one in await stopped_of(transaction, next_parsers())}
    here: dict[tuple[str, str, str], int | None] = {
        (platform.name, source.name, operation): endpoint.version
        for platform in platforms().values()
        for source in platform.sources.values()
        for operation, endpoint in source.endpoints.items()
    }
    stored: defaultdict[tuple[str, str, str], list[SeenVersion]] = defaultdict(list)
    for row in found:
        stored[row.platform, row.source or "", row.operation].append(SeenVersion(row.version, row.answers, row.last_at))
    return [
        _versions(key, here.get(key), stored[key], following.get(key[1:]), stopped.get(key[1:]))
        for key in sorted({*here, *stored})
    ]


def _versions(
    key: tuple[str, str, str],
    version: int | None,
    stored: list[SeenVersion],
    following: int | None,
    stopped: Stopped | None,
) -> ParserVersions:
    if stopped is None:
        return ParserVersions(*key, version, stored, following)
    why = "a person stopped it" if stopped.by_hand else stopped.why
    return ParserVersions(*key, version, stored, following, stopped.since, why)
