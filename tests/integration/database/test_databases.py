"""The tests' own databases: one that was used is as a fresh copy, or it is used no more."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.conftest import Servers
from tests.databases import Databases

RELATIONS = """
SELECT quote_ident(relname), relkind::text, pg_stat_get_tuples_inserted(oid), pg_stat_get_tuples_updated(oid), pg_stat_get_dead_tuples(oid)
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S') ORDER BY 1
"""
WHICH = "SELECT oid FROM pg_database WHERE datname = current_database()"


@pytest.fixture
def databases(servers: Servers, template: str) -> Iterator[Databases]:
    """Their own, so that the first one is a copy."""
    databases = Databases(servers.postgres, template)
    yield databases
    databases.close()


@contextmanager
def used(databases: Databases, name: str) -> Iterator[psycopg.Connection]:
    with databases.database(name) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def everything(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Each table and sequence, what is counted of it, and its rows."""
    return [
        (*found, connection.execute(f"SELECT t::text FROM (SELECT * FROM {found[0]}) t").fetchall())
        for found in connection.execute(RELATIONS).fetchall()
    ]


def test_what_was_written_is_taken_back(databases: Databases) -> None:
    with used(databases, "first") as connection:
        fresh, which = everything(connection), connection.execute(WHICH).fetchone()
        assert len(fresh) > 90
    with used(databases, "second") as connection:
        # All that the template brought is gone, each sequence took a step, and rows came, stayed and went.
        connection.execute("DELETE FROM webhook_position; UPDATE schema_compatibility SET oldest = '0001'")
        for name, kind, *_ in fresh:
            if kind == "S":
                connection.execute("SELECT nextval(%s)", (name,))
        connection.execute(
            "INSERT INTO audit_log (actor, action, target, detail) SELECT 'a', 'b', 'c', '{}' FROM generate_series(1, 99)"
        )
        connection.execute(
            "BEGIN; INSERT INTO alert (key, severity, cause, impact, automatic, action) VALUES ('', 'info', '', '', '', '')"
        )
        connection.execute("ROLLBACK; UPDATE audit_log SET actor = 'd'")
    with used(databases, "third") as connection:
        assert everything(connection) == fresh
        assert connection.execute(WHICH).fetchone() == which


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE more ()",
        "CREATE SCHEMA more",
        "BEGIN; ALTER TABLE alert ADD COLUMN more integer; ROLLBACK",
        "ANALYZE audit_log",
        "VACUUM alert",
        "ALTER DATABASE {name} SET work_mem = '1MB'",
        "REVOKE CONNECT ON DATABASE {name} FROM beat_process",
        "GRANT SELECT ON alert TO PUBLIC",
        "COMMENT ON TABLE alert IS 'more'",
        "SELECT lo_create(0)",
    ],
)
def test_what_cannot_be_taken_back_ends_the_database(databases: Databases, change: str) -> None:
    with used(databases, "first") as connection:
        which = connection.execute(WHICH).fetchone()
        connection.execute(change.format(name="first"))
    with used(databases, "second") as connection:
        assert connection.execute(WHICH).fetchone() != which


def test_nothing_of_an_earlier_test_comes_back(databases: Databases) -> None:
    with databases.database("first") as url:
        left = psycopg.connect(url)
        which = left.execute(WHICH).fetchone()
    with used(databases, "second") as connection:
        assert connection.execute(WHICH).fetchone() == which
        with pytest.raises(psycopg.OperationalError):
            left.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(url)
    left.close()
