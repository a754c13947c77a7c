"""PostgreSQL as it is used: the tables, how much of each is dead, a vacuum by hand; and who has its connections."""

import asyncio
import contextlib
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from beat_actors.database.engine import Database
from beat_actors.errors import BadInput

# Partitions are vacuumed one by one, so they are told one by one.
TABLES = """
SELECT s.relname AS name, pg_total_relation_size(s.relid) AS bytes, s.n_live_tup AS live, s.n_dead_tup AS dead,
       (s.n_dead_tup / greatest(s.n_live_tup + s.n_dead_tup, 1)::float8) AS dead_share,
       greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed_at, (s.vacuum_count + s.autovacuum_count)::integer AS vacuums,
       coalesce(array_to_string(c.reloptions, ', '), '') AS settings
FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
WHERE s.schemaname = 'public' ORDER BY s.n_dead_tup DESC, bytes DESC, name
"""

# Of other roles' sessions PostgreSQL tells a plain role who they are, and not what they do: no kind, no state.
# What a session of ours is called says which kind of process it is of; a pooler's are called as their last client was.
CONNECTIONS = """
SELECT coalesce(nullif(application_name, ''), '(no name)') AS name, count(*)::integer AS connections,
       count(*) FILTER (WHERE state = 'active')::integer AS active,
       count(*) FILTER (WHERE starts_with(state, 'idle in transaction'))::integer AS in_transaction,
       coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 AS longest
FROM pg_stat_activity WHERE usesysid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend' GROUP BY 1 ORDER BY 2 DESC, 1
"""
PATIENCE = 2.0
"""Seconds within which PostgreSQL says which session answers."""
ROOM = "SELECT current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer"


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """`live`, `dead`: rows, as PostgreSQL last counted; `dead_share`: of all. `settings`: what the table has of its own."""

    name: str
    bytes: int
    live: int
    dead: int
    dead_share: float
    vacuumed_at: datetime | None
    vacuums: int
    settings: str


class Clients(msgspec.Struct, frozen=True, kw_only=True):
    """Connections by what they are called. `active`: with a statement. `in_transaction`: between two of them. `longest`: seconds of the
    oldest transaction. The last three are known of the process login's own sessions, unless it may read all statistics."""

    name: str
    connections: int
    active: int
    in_transaction: int
    longest: float


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """Who has PostgreSQL's connections, of `most` that there can be."""

    clients: list[Clients]
    used: int
    most: int


async def connections(database: Database) -> Connections:
    """Of all databases on the server, since they share it."""
    async with database.statements() as alone:
        clients = [Clients(**row._asdict()) for row in await alone.rows(CONNECTIONS)]
        most = int(await alone.value(ROOM))
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
            async with asyncio.timeout(PATIENCE):
                for other in others:  # a pooler gives them what lies idle, and that is what the first one had
                    await other.execute("BEGIN")
                    await _session(other)
                return await _session(one) != before
        except TimeoutError:
            return True  # it waits for a session that the others hold


async def _session(connection: psycopg.AsyncConnection[Any]) -> int:
    row = await (await connection.execute("SELECT pg_backend_pid()")).fetchone()
    assert row is not None
    return int(row[0])


async def tables(database: Database) -> list[Table]:
    """Every table, the one with the most dead rows first."""
    async with database.statements() as alone:
        return [Table(**row._asdict()) for row in await alone.rows(TABLES)]


async def vacuum(database: Database, name: str | None = None) -> list[str]:
    """VACUUM (ANALYZE) one table, or all that have dead rows, one after the other; their names. It locks out no reader and no writer,
    and takes as long as it takes. Raises `BadInput` where there is no such table."""
    known = await tables(database)
    if name is not None and name not in {table.name for table in known}:
        raise BadInput(f"there is no table {name!r}; `beat db` lists them", field="table")
    wanted = [table.name for table in known if table.name == name or (name is None and table.dead)]
    # A session of its own, past any pooler: what is set in it is nobody else's. Only the owner of a table may vacuum it.
    async with await psycopg.AsyncConnection.connect(database.settings.owner_url, autocommit=True) as connection:
        await connection.execute("SET statement_timeout = 0")
        for each in wanted:
            await connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(each)))
    return wanted
