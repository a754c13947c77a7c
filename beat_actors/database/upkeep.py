"""PostgreSQL as it is used: the tables, how much of each is dead, a vacuum by hand; and who has its connections."""

import asyncio
import contextlib
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from beat_actors.database.engine import Database
from beat_actors.database.sql import Statements
from beat_actors.errors import UnknownName

DEADLINE = 2.0
"""Seconds within which PostgreSQL says which session answers."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table. `live`, `dead`: rows, as PostgreSQL last counted them. `dead_share`: dead rows of all rows. `vacuums`: how often it was vacuumed.
    `settings`: the storage parameters of the table."""

    name: str
    bytes: int
    live: int
    dead: int
    dead_share: float
    vacuumed_at: datetime | None
    vacuums: int
    settings: str


class Clients(msgspec.Struct, frozen=True, kw_only=True):
    """Connections with the same application name. `active`: those that run a statement. `in_transaction`: those that are idle in a transaction.
    `longest`: seconds of the oldest transaction. The process login sees these three only for its own sessions, unless it may read all statistics."""

    name: str
    connections: int
    active: int
    in_transaction: int
    longest: float


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """The connections of PostgreSQL by client. `most`: the limit of the server."""

    clients: list[Clients]
    used: int
    most: int


SQL = Statements(__file__)
TABLES = SQL("tables", Table)
CONNECTIONS = SQL("connections", Clients)
ROOM, SESSION = SQL("room", int), SQL("session", int)


async def connections(database: Database) -> Connections:
    """Of all databases on the server, since they share it."""
    async with database.statements() as alone:
        clients = await alone.rows(CONNECTIONS)
        most = await alone.only(ROOM)
    return Connections(clients=clients, used=sum(each.connections for each in clients), most=most)


async def shares_sessions(url: str) -> bool:
    """Whether something on the way gives out PostgreSQL's sessions by the transaction: whether a client is answered by another one where the
    one that it had is taken. Raises `psycopg.Error` where nobody answers."""
    async with contextlib.AsyncExitStack() as life:
        connections = []
        for _ in range(3):
            connections.append(await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=2))
            life.push_async_callback(connections[-1].close)
        one, *others = connections
        before = await _session(one)
        try:
            async with asyncio.timeout(DEADLINE):
                for other in others:  # a pooler gives them what lies idle, and that is what the first one had
                    await other.execute("BEGIN")
                    await _session(other)
                return await _session(one) != before
        except TimeoutError:
            return True  # it waits for a session that the others hold


async def _session(connection: psycopg.AsyncConnection[Any]) -> int:
    row = await (await connection.execute(SESSION.sent)).fetchone()
    assert row is not None
    return int(row[0])


async def tables(database: Database) -> list[Table]:
    """Every table, the one with the most dead rows first."""
    async with database.statements() as alone:
        return await alone.rows(TABLES)


async def vacuum(database: Database, name: str | None = None) -> list[str]:
    """VACUUM (ANALYZE) one table, or all that have dead rows, one after the other; their names. It locks out no reader and no writer,
    and takes as long as it takes. Raises `UnknownName` where there is no such table."""
    known = await tables(database)
    if name is not None and name not in {table.name for table in known}:
        raise UnknownName(f"there is no table {name!r}; `beat db` lists them", field="table")
    wanted = [table.name for table in known if table.name == name or (name is None and table.dead)]
    # A session of its own, past any pooler: what is set in it is nobody else's. Only the owner of a table may vacuum it.
    async with await psycopg.AsyncConnection.connect(database.settings.owner_url, autocommit=True) as connection:
        await connection.execute("SET statement_timeout = 0")
        for each in wanted:
            await connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(each)))
    return wanted
