"""Partitions: whatever came into a default one, the coming days are made and the aged ones go."""

import psycopg
import pytest

from beat_actors.alerts import list_alerts
from beat_actors.database import Database
from beat_actors.requests import sweeps
from beat_actors.watch.database import partitions
from beat_actors.watch.rule import Watch

TRACE = """
INSERT INTO trace_log (at, platform, source, operation, credential_id, method, url, outcome)
VALUES (clock_timestamp() + make_interval(days => %s), 'a', 'b', 'c', 1, '', '', 'ok')
"""
OF_TABLE = "SELECT count(*) FROM pg_inherits WHERE inhparent = to_regclass(%s)"


def without_days(connection: psycopg.Connection, parent: str) -> None:
    """As after days without a scheduler."""
    for (name,) in connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(%s)", (parent,)
    ).fetchall():
        if not name.endswith("_default"):
            connection.execute(f"DROP TABLE {name}")


def count(connection: psycopg.Connection, sql: str, *params: object) -> int:
    (found,) = connection.execute(sql, params).fetchone() or (0,)
    return int(found)


async def test_rows_in_a_default_partition_are_moved_to_their_days(database: Database, database_url: str) -> None:
    rule = Watch("partition", partitions)
    await sweeps.partitions(database)  # of tables that a migration has left to it
    with psycopg.connect(database_url, autocommit=True) as connection:
        without_days(connection, "trace_log")
        without_days(connection, "post_log")
        for ahead in (0, 0, 2, -5, -1000):
            connection.execute(TRACE, (ahead,))
        assert await rule.run(database) == 1
        async with database.statements() as alone:
            (said,) = await list_alerts(alone)
        assert said.key == "partition:trace_log"
        assert said.cause.startswith("5 rows of trace_log lie in its default partition")
        assert (await sweeps.partitions(database)).count == 4 + 1 + 4  # the days ahead, and the day of five days ago
        assert count(connection, "SELECT count(*) FROM trace_log_default") == 0
        assert count(connection, "SELECT count(*) FROM trace_log") == 4
        assert count(connection, OF_TABLE, "trace_log") == 6
        connection.execute(TRACE, (1,))
        assert count(connection, "SELECT count(*) FROM trace_log_default") == 0
        assert await rule.run(database) == 1
        assert (await sweeps.partitions(database)).count == 0


async def test_a_partition_that_cannot_be_made_keeps_no_other_from_it(database: Database, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        without_days(connection, "post_log")
        without_days(connection, "trace_log")
        without_days(connection, "profile_log")
        connection.execute(TRACE, (0,))
        connection.execute("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END'")
        connection.execute(
            "CREATE TRIGGER no BEFORE DELETE ON trace_log_default FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        connection.execute(
            "CREATE TABLE raw_payload_20200101 PARTITION OF raw_payload FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')"
        )
        with pytest.raises(psycopg.Error, match="no"):
            await sweeps.partitions(database)
        assert count(connection, OF_TABLE, "trace_log") == 1 + 3
        assert count(connection, OF_TABLE, "post_log") == count(connection, OF_TABLE, "profile_log") == 1 + 4
        assert count(connection, "SELECT count(*) FROM pg_class WHERE relname = 'raw_payload_20200101'") == 0


async def test_a_leader_that_was_replaced_makes_no_partition(database: Database, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        without_days(connection, "trace_log")
        assert (await sweeps.partitions(database, 7)).count == 0
        assert count(connection, OF_TABLE, "trace_log") == 1
