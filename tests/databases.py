"""Databases for tests: copies of a template, which are used again once they are as they were copied.

A copy costs 40 ms of CPU; to take back what a test wrote costs less than half of that. A database comes to the next test under another
name, so that nothing that an earlier test left behind finds it. Where it is not certain that all is taken back, the database is dropped:
after any change of the schema, of statistics, of the database's own settings and grants, or with a session that does not end.
"""

import contextlib
import gc
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import psycopg
from psycopg import sql

from beat_actors.local.servers import PostgresServer
from tests.written_events import WrittenEvents

DEFAULTS = """
SELECT split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) setting
WHERE d.datname = %s AND s.setrole = 0
"""
UNLIMITED = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
BRIEFLY = "-c lock_timeout=1s -c statement_timeout=5s"
SPARE, DEADLINE = 4, 5.0
"""How many databases wait to be used again, and the seconds in which a test's sessions have to end."""

# What belongs to a database and stands outside of it.
OUTSIDE = """
SELECT d.datdba, d.datacl::text, d.datallowconn, d.datconnlimit, d.datistemplate,
       (SELECT array_agg((s.setrole, s.setconfig)::text ORDER BY s.setrole) FROM pg_db_role_setting s WHERE s.setdatabase = d.oid),
       EXISTS (SELECT FROM pg_replication_slots r WHERE r.database = d.datname),
       EXISTS (SELECT FROM pg_prepared_xacts x WHERE x.database = d.datname)
FROM pg_database d WHERE d.datname = %s
"""
END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
# The rows of the catalogue that were written since the counters began, also by transactions that were rolled back: 0 as long as nobody
# changed the schema or analysed a table. The tables that were vacuumed, which no counter tells; of those that the template fills,
# autovacuum may have vacuumed the template's. The tables that rows were put into or
# changed in, and the sequences that were looked at. No table is opened, which is most of what a new session would cost.
WRITTEN = """
WITH known AS (
    SELECT oid, quote_ident(relname) AS name, relkind, relnamespace = 'pg_catalog'::regnamespace AS catalogue,
           (relpages, reltuples) <> (0, -1) AND NOT quote_ident(relname) = ANY (%s) AS sized,
           pg_stat_get_tuples_inserted(oid) + pg_stat_get_tuples_updated(oid) + pg_stat_get_tuples_deleted(oid) > 0 AS written
    FROM pg_class
    WHERE relkind IN ('r', 'S') AND NOT relisshared AND relnamespace IN ('pg_catalog'::regnamespace, 'public'::regnamespace)
)
SELECT bool_or(CASE WHEN catalogue THEN written ELSE relkind = 'r' AND sized END),
       coalesce(array_agg(name) FILTER (WHERE relkind = 'r' AND NOT catalogue AND written), '{}'),
       coalesce(array_agg(name) FILTER (WHERE relkind = 'S' AND pg_stat_get_blocks_fetched(oid) > 0), '{}')
FROM known
"""


def copy_database(admin: psycopg.Connection, name: str, template: str) -> None:
    """Copy the template with the settings that a migration gives a database, which `CREATE DATABASE ... TEMPLATE` leaves out.

    Beat's roles have production's limits on time; the superuser, who does what a test does beside Beat, has none.
    """
    admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER beat_owner STRATEGY file_copy")
    for setting, value in admin.execute(DEFAULTS, (template,)).fetchall():
        admin.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
    for setting in UNLIMITED:
        admin.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET {setting} = 0")


def drop_database(admin: psycopg.Connection, name: str) -> None:
    """PostgreSQL waits up to a minute for a connection that was broken off while it was made, and that Python has not closed yet."""
    admin.execute("SET statement_timeout = '1s'")
    try:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    except psycopg.errors.QueryCanceled:
        gc.collect()
        admin.execute("RESET statement_timeout")
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    admin.execute("RESET statement_timeout")


class Databases:
    """The databases of one server. For one thread."""

    def __init__(self, postgres: PostgresServer, template: str) -> None:
        self._postgres = postgres
        self._template = template
        self._spare: list[tuple[str, Any]] = []
        self._session: psycopg.Connection | None = None
        self._events = WrittenEvents()
        self._wrong: list[str] = []

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """A database like the template under this name, owned and reached as the template is; the superuser's URL.

        Raises `AssertionError` at the end for an event in it that is not as its schema says.
        """
        outside = self._give(name)
        try:
            yield self._postgres.url_of(name)
        finally:
            self._take_back(name, outside)
        wrong, self._wrong = self._wrong, []
        assert wrong == [], "an event is not as beat_actors/events/payloads describes it"

    def _admin(self) -> psycopg.Connection:
        """One session for all tests. Where a test ended it, the server may have started anew, and counted nothing of what was written."""
        with contextlib.suppress(psycopg.Error):
            if self._session is not None and self._session.execute("SELECT 1"):
                return self._session
        self._session = psycopg.connect(self._postgres.url_of("postgres"), autocommit=True)
        while self._spare:
            drop_database(self._session, self._spare.pop()[0])
        return self._session

    def close(self) -> None:
        with contextlib.suppress(psycopg.Error):
            for name, _ in self._spare:
                drop_database(self._admin(), name)
        if self._session is not None:
            self._session.close()

    def _give(self, name: str) -> Any:
        admin = self._admin()
        while self._spare:
            spare, outside = self._spare.pop()
            if _end_sessions(admin, spare):
                admin.execute(f"ALTER DATABASE {spare} RENAME TO {name}")
                return outside
            drop_database(admin, spare)
        copy_database(admin, name, self._template)
        admin.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT CONNECT ON DATABASE {name} TO beat_process")
        return _outside(admin, name)

    def _take_back(self, name: str, outside: Any) -> None:
        before, admin = self._session, self._admin()
        if (
            admin is before
            and len(self._spare) < SPARE
            and _outside(admin, name) == outside
            and _end_sessions(admin, name)
        ):
            spare = f"spare_{uuid.uuid4().hex[:12]}"
            with contextlib.suppress(psycopg.Error):
                admin.execute(f"ALTER DATABASE {name} RENAME TO {spare}")
                name = spare
                if self._undo(spare):
                    self._spare.append((spare, outside))
                    return
        else:
            # The server may be gone, or the test may have left the database as nobody can use it.
            url = self._postgres.url_of(name)
            with contextlib.suppress(psycopg.Error), psycopg.connect(url, options=BRIEFLY) as connection:
                self._wrong += self._events.look(connection)
        drop_database(admin, name)

    @cached_property
    def _rows(self) -> dict[str, str]:
        """What the template's tables hold, as an array of rows, by table; only those that hold something."""
        with psycopg.connect(self._postgres.url_of(self._template), autocommit=True) as connection:
            tables = connection.execute(
                "SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND pg_relation_size(oid) > 0"
            ).fetchall()
            return {table: rows for (table,) in tables if (rows := _rows(connection, table)) != "{}"}

    def _undo(self, name: str) -> bool:
        """Take back what was written. False where that cannot be."""
        held = self._rows
        with psycopg.connect(self._postgres.url_of(name), autocommit=True) as connection:
            changed, tables, sequences = connection.execute(WRITTEN, (list(held),)).fetchone() or (True, [], [])
            if changed or any(table.startswith(("event_", "outbox_event")) for table in tables):
                self._wrong += self._events.look(connection)
            if changed:
                return False
            if tables:
                # The truncation of another table may take rows of the template along.
                again = "; ".join(
                    f"INSERT INTO {table} SELECT (unnest({sql.quote(rows)}::{table}[])).* WHERE NOT EXISTS (SELECT FROM {table})"
                    for table, rows in held.items()
                )
                truncate = f"TRUNCATE {', '.join(tables)} CASCADE"
                connection.execute(f"BEGIN; SET LOCAL client_min_messages = warning; {truncate}; {again}; COMMIT")
            restart = f"SELECT setval(seqrelid, seqstart, false) FROM pg_sequence WHERE seqrelid = ANY ({sql.quote(sequences)}::regclass[])"
            connection.execute(f"{restart}; SELECT pg_stat_force_next_flush()")
            # What this has written itself was counted when the statement was over, and then no more.
            connection.execute("SELECT pg_stat_reset()")
            return True


def _outside(admin: psycopg.Connection, name: str) -> Any:
    return admin.execute(OUTSIDE, (name,)).fetchone()


def _end_sessions(admin: psycopg.Connection, name: str) -> bool:
    """End them and wait, as a renaming looks for them ten times a second only. False where one does not end."""
    until = time.monotonic() + DEADLINE
    while admin.execute(END_SESSIONS, (name,)).fetchall():
        if time.monotonic() > until:
            return False
        time.sleep(0.002)
    return True


def _rows(connection: psycopg.Connection, table: str) -> str:
    found = connection.execute(f"SELECT array_agg(t)::text FROM {table} t").fetchone()
    return str(found[0]) if found and found[0] else "{}"
