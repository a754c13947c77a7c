"""Whether PostgreSQL keeps what it has committed. Processes ask before they start, and `beat doctor` says the same."""

import asyncio
from typing import NamedTuple

import psycopg

from beat_actors.database.sessions import shares_sessions
from beat_actors.database.sql import Statements
from beat_actors.errors import BadSettings
from beat_actors.settings import Settings


class Setting(NamedTuple):
    """A setting of PostgreSQL."""

    name: str
    value: str


UNSAFE = Statements(__file__)("unsafe", Setting)
PER_SESSION = "synchronous_commit"
ACTION = (
    "Turn them on (for synchronous_commit: ALTER DATABASE ... SET synchronous_commit = on, and look for settings of roles in "
    "pg_db_role_setting)"
)


async def unsafe(url: str) -> list[str]:
    """The settings by which what Beat commits may be lost, each as `name = value`.

    Beat's sessions turn `synchronous_commit` on. That is certain only where each connection has a session of PostgreSQL to itself: a pooler in
    transaction mode may run a transaction in a session that never heard of it. Raises `psycopg.Error` where nobody answers.
    """
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=2) as connection,
        connection.cursor(row_factory=UNSAFE.rows) as cursor,
    ):
        found: dict[str, str] = dict(await (await cursor.execute(UNSAFE.sent)).fetchall())
    if PER_SESSION in found and not await shares_sessions(url):
        del found[PER_SESSION]
    return [f"{name} = {value}" for name, value in found.items()]


def refuse_unsafe(settings: Settings) -> None:
    """Raises `BadSettings` where a crash of PostgreSQL, its host or a fail-over may lose what Beat commits, outside a rehearsal and without
    BEAT_DATABASE_MAY_LOSE_COMMITS. A server that does not answer within 2 s is not judged: processes start without it and wait. Not to be
    called where an event loop runs."""
    if settings.environment == "rehearsal" or settings.database_may_lose_commits:
        return
    try:
        found = asyncio.run(unsafe(str(settings.database_url)))
    except psycopg.Error:
        return
    if found:
        raise BadSettings(
            f"PostgreSQL runs with {', '.join(found)}: accepted requests may be lost when PostgreSQL or its host crashes, or another server "
            f"takes over. {ACTION}, or set BEAT_DATABASE_MAY_LOSE_COMMITS=true where that loss is acceptable"
        )
