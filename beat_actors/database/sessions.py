"""Whether PostgreSQL's sessions reach a process as they are, or through a pooler that shares them."""

import asyncio
import contextlib
from typing import Any

import psycopg

from beat_actors.database.sql import Statements

DEADLINE = 2.0
"""Seconds within which PostgreSQL says which session answers."""
SESSION = Statements(__file__)("session", int)


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
