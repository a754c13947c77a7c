"""PostgreSQL as it is used: the tables, how much of each is dead, and who has its connections."""

from datetime import datetime

import msgspec

from beat_actors.database.engine import Database
from beat_actors.database.sql import Statements


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
ROOM = SQL("room", int)


async def connections(database: Database) -> Connections:
    """Of all databases on the server, since they share it."""
    async with database.statements() as alone:
        clients = await alone.rows(CONNECTIONS)
        most = await alone.only(ROOM)
    return Connections(clients=clients, used=sum(each.connections for each in clients), most=most)


async def tables(database: Database) -> list[Table]:
    """Every table, the one with the most dead rows first."""
    async with database.statements() as alone:
        return await alone.rows(TABLES)
