"""Sources as operators see and steer them: how many credentials can be used, which breakers are open, and how they open and close them."""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from beat_actors import audit
from beat_actors.broker.lanes import look_again
from beat_actors.broker.store import between_turns
from beat_actors.database import Database, Statement, Statements, Transaction
from beat_actors.errors import BadInput
from beat_actors.platforms.registry import platforms, source_named
from beat_actors.text import check_text

LONGEST = 7 * 86_400
"""Seconds for which a breaker may be held open by hand: longer is to take the source's credentials out."""
SQL = Statements(__file__)


class BreakerView(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker that is not closed. `kind`: upstream (calls fail), parser (answers cannot be read) or data (answers are
    wrong). `owner`: the owner whose calls it stops; empty
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
    return await _turn(database, OPEN, "open", source, operation, actor, reason, seconds=seconds)


async def close_breaker(
    database: Database, source: str, operation: str | None, *, actor: str, reason: str
) -> list[str]:
    """Ask a source again at once, as if nothing had been. The operations. Raises `BadInput`."""
    return await _turn(database, CLOSE, "close", source, operation, actor, reason)


async def _turn(
    database: Database,
    sql: Statement[None],
    verb: str,
    source: str,
    operation: str | None,
    actor: str,
    reason: str,
    **more: Any,
) -> list[str]:
    check_text(reason, "reason", longest=1000)
    if not reason.strip():
        raise BadInput("say why; it is kept in the audit log", field="reason")
    platform, declared = source_named(source)
    if operation is not None and operation not in declared.endpoints:
        raise BadInput(f"{source} has the operations {', '.join(sorted(declared.endpoints))}", field="operation")
    operations = sorted(declared.endpoints) if operation is None else [operation]
    values = {"platform": platform, "source": source, "operations": operations, **more}

    async def change(transaction: Transaction) -> None:
        await transaction.run(sql, values)
        await look_again(transaction, platform)
        detail = {"operations": operations, "reason": reason, **more}
        await audit.record(transaction, actor=actor, action=f"breaker.{verb}", target=f"source/{source}", detail=detail)

    await between_turns(database, platform, change)
    return operations


def _breaker(row: BreakerRow) -> BreakerView:
    fields = row._asdict()
    return BreakerView(**{name: fields[name] for name in BreakerView.__struct_fields__})
