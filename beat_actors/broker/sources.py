"""Sources as operators see and steer them: how many credentials can be used, which breakers are open, and how they open and close them."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from beat_actors import audit
from beat_actors.broker.changes import between_turns, look_again
from beat_actors.database import Database, Statements, Transaction
from beat_actors.errors import BadInput
from beat_actors.platforms.registry import platforms, source_named
from beat_actors.text import check_text

LONGEST = 7 * 86_400
"""Seconds for which a breaker may be held open by hand: longer is to take the source's credentials out."""
SQL = Statements(__file__)


class BreakerView(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker that is not closed. `kind`: upstream (calls fail), parser (answers cannot be read) or data (answers are
    wrong). `parser_version`: of which one the data are wrong. `owner`: the owner whose calls it stops; empty
    for all calls. `by_hand`: an operator opened it."""

    operation: str
    kind: str
    state: str
    calls: int
    failures: int
    owner: str
    trips: int
    open_until: datetime | None
    probing: bool
    by_hand: bool
    parser_version: int | None = None


class BreakerRow(NamedTuple):
    platform: str
    source: str
    operation: str
    kind: str
    owner: str
    calls: int
    failures: int
    trips: int
    open_until: datetime | None
    probing: bool
    by_hand: bool
    parser_version: int | None
    state: str


class Usable(NamedTuple):
    """Of how many credentials of the source how many can be used, and how many are dead."""

    source: str
    of: int
    usable: int
    dead: int


class InFlight(NamedTuple):
    source: str
    calls: int


BREAKERS = SQL("breakers", BreakerRow)
CREDENTIALS = SQL("credentials", Usable)
IN_FLIGHT = SQL("in_flight", InFlight)
OPEN = SQL("open")
CLOSE = SQL("close")
IS_KNOWN, DISTRUST, TRUST = SQL("is_known", bool), SQL("distrust"), SQL("trust")


class SourceView(msgspec.Struct, frozen=True, kw_only=True):
    """A source (a provider). `usable`: how many of its `credentials` can be used now. `in_flight`: calls without an outcome yet. `breakers`: those
    that are not closed."""

    platform: str
    source: str
    operations: list[str]
    credentials: int
    usable: int
    dead: int
    in_flight: int
    breakers: list[BreakerView]


async def overview(database: Database, source: str | None = None) -> list[SourceView]:
    """Every source that is registered, or one. Raises `BadInput` for one that is not."""
    wanted = {source_named(source)[1].name} if source else None
    async with database.transaction() as transaction:
        breakers = await transaction.rows(BREAKERS, {"source": source})
        credentials = {row.source: row for row in await transaction.rows(CREDENTIALS)}
        in_flight = {row.source: row.calls for row in await transaction.rows(IN_FLIGHT)}
    views = []
    for platform in platforms().values():
        for name, declared in sorted(platform.sources.items()):
            if wanted is not None and name not in wanted:
                continue
            counted = credentials.get(name)
            views.append(
                SourceView(
                    platform=platform.name,
                    source=name,
                    operations=sorted(declared.endpoints),
                    credentials=counted.of if counted else 0,
                    usable=counted.usable if counted else 0,
                    dead=counted.dead if counted else 0,
                    in_flight=in_flight.get(name, 0),
                    breakers=[_breaker(row) for row in breakers if row.source == name],
                )
            )
    return views


async def open_breaker(
    database: Database, source: str, operation: str | None, *, seconds: float, actor: str, reason: str
) -> list[str]:
    """Send nothing more to a source, or to one of its operations, for so long; calls in flight end. The operations.

    Its work goes to the next source of the chain, and waits where there is none. Raises `BadInput`.
    """
    if not 1 <= seconds <= LONGEST:
        raise BadInput(f"a breaker is held open for 1 to {LONGEST} seconds", field="seconds")
    turned = _Turned("breaker.open", source, operation, actor, reason)

    async def change(transaction: Transaction, values: dict[str, Any]) -> None:
        await transaction.run(OPEN, values | {"seconds": seconds})

    return await turned.by(database, change, seconds=seconds)


async def close_breaker(
    database: Database, source: str, operation: str | None, *, actor: str, reason: str
) -> list[str]:
    """Ask a source again at once, as if nothing had been. The operations. A next parser that was stopped stays stopped: see `close_data_breaker`. Raises
    `BadInput`."""
    turned = _Turned("breaker.close", source, operation, actor, reason)

    async def change(transaction: Transaction, values: dict[str, Any]) -> None:
        endpoints = turned.declared.endpoints
        following = [found.version if (found := endpoints[one].next_parser) else None for one in values["operations"]]
        await transaction.run(CLOSE, values | {"following": following})

    return await turned.by(database, change)


async def open_data_breaker(
    database: Database, source: str, operation: str | None, *, parser_version: int | None, actor: str, reason: str
) -> list[str]:
    """Use the answers of a source, or of one of its operations, no more: they are wrong, and the rules do not see it. The operations.

    It lasts until somebody closes the breaker, or another version of the parser is used. `parser_version`: the default is the one of this
    process. Raises `BadInput`.
    """
    turned = _Turned("data_breaker.open", source, operation, actor, reason)
    _check_version(parser_version, operation)

    async def change(transaction: Transaction, values: dict[str, Any]) -> None:
        endpoints = [turned.declared.endpoints[one] for one in values["operations"]]
        versions = [endpoint.version for endpoint in endpoints]
        following = [endpoint.next_parser.version for endpoint in endpoints if endpoint.next_parser is not None]
        if parser_version is not None and [parser_version] == following:
            versions = following
        elif parser_version is not None and [parser_version] != versions:
            known = {**values, "operation": operation, "version": parser_version}
            if not await transaction.only(IS_KNOWN, known):
                raise BadInput(
                    f"no answer was read by version {parser_version} of the parser of {source} {operation}; this process has version {versions[0]}",
                    field="parser_version",
                )
            versions = [parser_version]
        await transaction.run(DISTRUST, values | {"versions": versions})

    return await turned.by(database, change, parser_version=parser_version)


async def close_data_breaker(
    database: Database, source: str, operation: str | None, *, parser_version: int | None, actor: str, reason: str
) -> list[str]:
    """Close the data breakers of a source, or of one of its operations, so that its answers are used again. Breakers that Beat opened are closed too.

    `parser_version`: only those of this version; the default is all versions. Returns the operations. Raises `BadInput`.
    """
    turned = _Turned("data_breaker.close", source, operation, actor, reason)
    _check_version(parser_version, operation)

    async def change(transaction: Transaction, values: dict[str, Any]) -> None:
        await transaction.run(TRUST, values | {"version": parser_version})

    return await turned.by(database, change, parser_version=parser_version)


def _check_version(version: int | None, operation: str | None) -> None:
    if version is None:
        return
    if operation is None:
        raise BadInput("a version is one of an operation's parser; name the operation too", field="operation")
    if not 0 <= version < 2**31:
        raise BadInput("parser_version is as `beat quarantine` or `beat held` shows it", field="parser_version")


class _Turned:
    """What an operator does to the breakers of a source, or of one of its operations. Raises `BadInput`."""

    def __init__(self, action: str, source: str, operation: str | None, actor: str, reason: str) -> None:
        check_text(reason, "reason", longest=1000)
        if not reason.strip():
            raise BadInput("say why; it is kept in the audit log", field="reason")
        self.platform, self.declared = source_named(source)
        if operation is not None and operation not in self.declared.endpoints:
            known = ", ".join(sorted(self.declared.endpoints))
            raise BadInput(f"{source} has the operations {known}", field="operation")
        self.operations = sorted(self.declared.endpoints) if operation is None else [operation]
        self.action, self.source, self.actor, self.reason = action, source, actor, reason

    async def by(
        self, database: Database, change: Callable[[Transaction, dict[str, Any]], Awaitable[None]], **more: Any
    ) -> list[str]:
        """Between two turns of the platform, and with an entry in the audit log of which `more` is a part. The operations."""
        values = {"platform": self.platform, "source": self.source, "operations": self.operations}

        async def once(transaction: Transaction) -> None:
            await change(transaction, values)
            await look_again(transaction, self.platform)
            detail = {"operations": self.operations, "reason": self.reason, **more}
            target = f"source/{self.source}"
            await audit.record(transaction, actor=self.actor, action=self.action, target=target, detail=detail)

        await between_turns(database, self.platform, once)
        return self.operations


def _breaker(row: BreakerRow) -> BreakerView:
    fields = row._asdict()
    return BreakerView(**{name: fields[name] for name in BreakerView.__struct_fields__})
