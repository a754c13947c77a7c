"""Bring a database to the newest schema. Safe to run from many processes at once: an advisory lock lets one work."""

import contextlib
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from beat_actors.database.urls import driver_url

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_222_326_001


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def head() -> str | None:
    """The newest revision that this code knows."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def current(connection: Connection) -> str | None:
    """The revision that the database is at; `None` for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(url: str, *, revision: str = "head", statement_timeout: float = 5.0) -> str | None:
    """Migrate the database at `url` (straight, not through a pooler) and return its revision.

    Sets `statement_timeout` (seconds) and its companions as the database's defaults, which also hold behind a pooler, where `SET`
    would leak.
    """
    engine = create_engine(driver_url(url), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("SET lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
            connection.commit()
            try:
                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
                connection.commit()
                _database_defaults(connection, statement_timeout)
                return current(connection)
            finally:
                with contextlib.suppress(Exception):
                    connection.rollback()
                connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
                connection.commit()
    finally:
        engine.dispose()


def _database_defaults(connection: Connection, statement_timeout: float) -> None:
    defaults = {
        "statement_timeout": f"{int(statement_timeout * 1000)}ms",
        # Who asks for a lock that a migration holds is told so while its client still listens.
        "lock_timeout": "2s",
        # A worker that froze in a turn holds the platform's lock: nobody could lease until it is let go.
        "idle_in_transaction_session_timeout": "5s",
        "timezone": "UTC",
    }
    for name, value in defaults.items():
        statement = connection.scalar(
            text(
                "SELECT format('ALTER DATABASE %I SET %I = %L', current_database(), CAST(:name AS text), CAST(:value AS text))"
            ),
            {"name": name, "value": value},
        )
        connection.execute(text(str(statement)))
    connection.commit()
