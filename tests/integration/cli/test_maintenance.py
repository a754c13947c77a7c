"""The database on the command line: who works with it, and how that goes."""

import asyncio
import os
import socket

from beat_actors.database import Database
from beat_actors.database.reporting import Reporter
from beat_actors.settings import Settings
from tests.integration.cli.conftest import Beat


def test_processes_say_how_they_fare(beat: Beat, settings: Settings) -> None:
    assert beat("db", "processes").rows == []

    async def a_worker() -> None:
        database = Database(settings, name="worker")
        async with database.statements() as alone:
            await alone.rows("SELECT pg_sleep(0.05)")
        database.metrics.claims.note(0.25)
        await Reporter(database, name="worker").report()
        await database.close()

    asyncio.run(a_worker())
    (row,) = beat("db", "processes").rows
    # Its own statement, and the report's look at the database's clock.
    assert (row[0], row[1], row[3], row[5:]) == (
        "worker", f"{socket.gethostname()}:{os.getpid()}", "2", ["0 of 12", "0", "1", "250.0", "250.0", ""],
    )  # fmt: skip
    assert float(row[4]) >= 50
    (one,) = beat("db", "processes", "--json").json
    assert (one["name"], one["statements"], one["claims"], one["claim_p50"]) == ("worker", 2, 1, 0.25)
