"""A vacuum by hand, as the owner of the tables."""

import psycopg
from psycopg import sql

from beat_actors.database.engine import Database
from beat_actors.database.upkeep import tables
from beat_actors.errors import UnknownName


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
