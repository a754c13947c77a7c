"""Which next parsers may read answers. One whose data breaker is open reads nothing more in any process, until a person trusts it again.

A process looks again before it reads answers of an operation with a canary, where its last look is older than `LOOKED_AT_EVERY`: one statement for all
of its canaries, however many answers there are. A process that cannot look reads with the deployed parsers.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import psycopg

from beat_actors.database import Database, Statements, Transaction, arrays, clock
from beat_actors.errors import StorageUnavailable
from beat_actors.logger import get_logger
from beat_actors.platforms.interface import NextParser
from beat_actors.platforms.registry import platforms

log = get_logger(__name__)
LOOKED_AT_EVERY = 5.0
SQL = Statements(__file__)


class Next(NamedTuple):
    """A next parser that is declared."""

    platform: str
    source: str
    operation: str
    version: int


class Stopped(NamedTuple):
    """A next parser that reads nothing more. `by_hand`: a person stopped it."""

    source: str
    operation: str
    since: datetime
    why: str
    by_hand: bool


STOPPED = SQL("stopped", Stopped)


def next_parsers() -> list[Next]:
    """All that this process knows."""
    return [
        Next(name, source.name, operation, endpoint.next_parser.version)
        for name, platform in platforms().items()
        for source in platform.sources.values()
        for operation, endpoint in source.endpoints.items()
        if endpoint.next_parser is not None
    ]


async def stopped_of(transaction: Transaction, parsers: Sequence[Next]) -> list[Stopped]:
    """Those of these parsers that read nothing more."""
    if not parsers:
        return []
    return await transaction.rows(STOPPED, arrays(parsers, "platforms", "sources", "operations", "versions"))


def next_parser(platform: str, source: str, operation: str) -> NextParser | None:
    """The next parser of an operation of a source, where this process knows one."""
    declared = platforms().get(platform)
    found = None if declared is None else declared.sources.get(source)
    endpoint = None if found is None else found.endpoints.get(operation)
    return None if endpoint is None else endpoint.next_parser


def is_canary(platform: str, source: str, operation: str, version: int) -> bool:
    """Whether a parser version is that of the next parser."""
    found = next_parser(platform, source, operation)
    return found is not None and found.version == version


class Canaries:
    """What a process knows of its canaries. `stopped`: those that read nothing, as SOURCE/OPERATION; None before the first look, and where it failed."""

    def __init__(self) -> None:
        self.stopped: frozenset[str] | None = None
        self._looked_at: float | None = None
        self._looking = asyncio.Lock()

    async def shares(self, database: Database, operations: Iterable[str]) -> Mapping[str, float]:
        """The shares of answers of these operations (SOURCE/OPERATION) that next parsers read now."""
        declared = database.settings.parser_canary
        wanted = declared.keys() & set(operations) if declared else set[str]()
        if not wanted:
            return {}
        async with self._looking:
            if self._looked_at is None or self._looked_at < clock.elapsed() - LOOKED_AT_EVERY:
                await self._look(database, declared)
        stopped = self.stopped
        return {} if stopped is None else {name: declared[name] for name in wanted - stopped}

    async def _look(self, database: Database, declared: Collection[str]) -> None:
        self._looked_at = clock.elapsed()
        before, self.stopped = self.stopped, None
        wanted = [one for one in next_parsers() if f"{one.source}/{one.operation}" in declared]
        try:
            async with database.statements() as alone:
                found = await stopped_of(alone, wanted)
        except (StorageUnavailable, psycopg.Error) as error:
            log.warning("canaries_not_known", error=str(error))
            return
        self.stopped = frozenset(f"{row.source}/{row.operation}" for row in found)
        for name in sorted(self.stopped - (before or frozenset())):
            log.warning("next_parser_stopped", parser=name)
