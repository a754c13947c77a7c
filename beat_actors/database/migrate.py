"""Bring a database to the newest schema. Safe to run from many processes at once: an advisory lock lets one work."""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple, cast

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.rows import args_row
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from beat_actors.database import roles
from beat_actors.database.urls import DRIVER, connect_args
from beat_actors.errors import BadInput, StorageUnavailable

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_222_326_001
LOCK_TIMEOUT = "2s"
"""What a migration waits for a lock at a time: what asks for the table meanwhile waits behind it, and processes wait no longer."""
AGAIN_AFTER = 1.0
"""Seconds between two tries of a migration that got no lock."""


class Blocker(NamedTuple):
    """A session that holds what the migration waits for. `seconds`: since its transaction began."""

    pid: int
    role: str
    name: str
    seconds: int | None
    query: str


BLOCKERS = """
SELECT b.pid, coalesce(a.usename, '') AS role, coalesce(a.application_name, '') AS name,
       extract(epoch FROM clock_timestamp() - a.xact_start)::integer AS seconds, coalesce(left(a.query, 200), '') AS query
FROM unnest(pg_blocking_pids(%s)) AS b(pid) LEFT JOIN pg_stat_activity a ON a.pid = b.pid ORDER BY b.pid LIMIT 5
"""


GROUP = "beat.migrations"
"""The entry points of packages that hold the migrations of platforms of other distributions."""
PLUGIN = re.compile(r"[a-z][a-z0-9_]{0,29}")


def _config(plugin: str | None = None, place: Path | None = None) -> Config:
    """Of Beat's own migrations, or of those of a plug-in in `place`. Each plug-in has a table of its own for its revision."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    if plugin is not None and place is not None:
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", str(place))
        config.attributes["version_table"] = f"alembic_version_{plugin}"
    return config


def plugins() -> dict[str, Path]:
    """Where the migrations of platforms of other distributions are, by the name of the entry point. Raises `BadInput` for a name that is none."""
    found = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        if not PLUGIN.fullmatch(entry.name):
            raise BadInput(
                f"the entry point {GROUP}:{entry.name} has no name that a table could have: small letters, digits and _",
                field="name",
            )
        found[entry.name] = Path(str(entry.load().__file__)).parent
    return found


def head() -> str | None:
    """The newest revision that this code knows."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def current(connection: Connection) -> str | None:
    """The revision that the database is at; `None` for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(
    url: str,
    process_url: str | None = None,
    *,
    revision: str = "head",
    statement_timeout: float = 5.0,
    timeout: float = 300.0,
    waits: Callable[[str], None] = lambda _sentence: None,
) -> str | None:
    """Migrate the database at `url` (the owner's, straight, not through a pooler) and return its revision.

    The role of `process_url` is given what processes need, where it is not the owner itself. Sets `statement_timeout` (seconds) and its companions as the database's defaults, which also hold behind a pooler, where `SET`
    would leak. A migration that gets no lock within `LOCK_TIMEOUT` lets go and tries again, for `timeout` seconds; `waits` gets for
    whom it waits. Raises `StorageUnavailable` after that.
    """
    engine = create_engine(DRIVER, connect_args=connect_args(url), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("SET lock_timeout = 0"))
            connection.commit()
            with _telling(url, connection, waits):
                connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
                connection.execute(
                    text("SELECT set_config('lock_timeout', :timeout, false)"), {"timeout": LOCK_TIMEOUT}
                )
                connection.commit()
                _run(connection, _config(), revision, time.monotonic() + timeout)
                for plugin, place in plugins().items() if revision == "head" else ():
                    _run(connection, _config(plugin, place), "head", time.monotonic() + timeout)
            try:
                _database_defaults(connection, statement_timeout)
                process = roles.user_of(process_url) if process_url else ""
                if process not in ("", roles.user_of(url)):
                    roles.grant(cast("psycopg.Connection[Any]", connection.connection.driver_connection), process)
                    connection.commit()
                return current(connection)
            finally:
                with contextlib.suppress(Exception):
                    connection.rollback()
                connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
                connection.commit()
    finally:
        engine.dispose()


def _run(connection: Connection, config: Config, revision: str, until: float) -> None:
    """Every migration up to `revision`, each in a transaction of its own; one that gets no lock is begun again."""
    config.attributes["connection"] = connection
    while True:
        try:
            command.upgrade(config, revision)
            connection.commit()
            return
        except OperationalError as error:
            connection.rollback()
            if not isinstance(error.orig, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
                raise
            if time.monotonic() >= until:
                raise StorageUnavailable(
                    "a migration got no lock of a table that it changes, and was given up; end the transactions that it waits for "
                    "(`beat db connections`) and run `beat migrate` again"
                ) from error
            time.sleep(AGAIN_AFTER)


@contextlib.contextmanager
def _telling(url: str, connection: Connection, waits: Callable[[str], None]) -> Iterator[None]:
    """Tell, while the block runs, for which sessions its connection waits; each time that they change."""
    raw = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    done = threading.Event()
    watcher = threading.Thread(target=_report, args=(url, raw.info.backend_pid, done, waits), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _report(url: str, pid: int, done: threading.Event, waits: Callable[[str], None]) -> None:
    shown: set[int] = set()
    with (
        contextlib.suppress(psycopg.Error),
        psycopg.connect(url, autocommit=True, row_factory=args_row(Blocker)) as watching,
    ):
        while not done.wait(0.5):
            for row in watching.execute(BLOCKERS, (pid,)).fetchall():
                if row.pid not in shown:
                    shown.add(row.pid)
                    since = "" if row.seconds is None else f", whose transaction began {row.seconds} s ago"
                    waits(
                        f"the migration waits for session {row.pid} ({row.role} {row.name}){since}: {row.query}".rstrip(
                            ": "
                        )
                    )


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
