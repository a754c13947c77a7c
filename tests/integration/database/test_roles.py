"""Two roles: the owner migrates, and the login of the processes reads and writes rows, and nothing else."""

import datetime
import uuid
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from beat_actors.database import migrate, roles
from beat_actors.errors import BadInput
from tests.conftest import Servers

Connection = psycopg.Connection[Any]


@pytest.fixture
def process(process_url: str) -> Iterator[Connection]:
    with psycopg.connect(process_url, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(
    "statement",
    [
        "COPY lane FROM PROGRAM 'id'",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "COPY lane FROM '/etc/passwd'",
        "COPY (SELECT 1) TO '/tmp/beat'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_ls_dir('/')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT * FROM pg_authid",
        "CREATE TABLE mine ()",
        "CREATE TEMP TABLE mine ()",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE EXTENSION pg_trgm",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "CREATE TRIGGER mine BEFORE INSERT ON lane FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE TABLE trace_log_20300101 PARTITION OF trace_log FOR VALUES FROM ('2030-01-01') TO ('2030-01-02')",
        "ALTER TABLE lane ADD COLUMN mine text",
        "ALTER TABLE lane DISABLE TRIGGER ALL",
        "ALTER ROLE beat_process SUPERUSER",
        "ALTER SYSTEM SET archive_command = 'id'",
        "ALTER FUNCTION beat_make_partition(text, date) SET search_path = mine",
        "DROP TABLE lane",
        "DROP FUNCTION beat_urge",
        "TRUNCATE lane",
        "UPDATE audit_log SET actor = 'somebody else'",
        "DELETE FROM audit_log",
        "DELETE FROM alembic_version",
        "SET ROLE beat_owner",
        "SET SESSION AUTHORIZATION beat",
        "SELECT pg_reload_conf()",
    ],
)
def test_the_process_login_may_not(process: Connection, statement: LiteralString) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        process.execute(statement)


def test_the_process_login_reaches_every_table_sequence_and_function(process: Connection) -> None:
    """Also those to come: the next table of the owner is reached without another grant."""
    refused = process.execute("""
        SELECT c.oid::regclass::text, r.name FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) r (name)
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT has_table_privilege(c.oid, r.name) ORDER BY 1, 2
    """).fetchall()
    assert refused == [
        ("alembic_version", "DELETE"), ("alembic_version", "INSERT"), ("alembic_version", "UPDATE"),
        ("audit_log", "DELETE"), ("audit_log", "UPDATE"),
            ("schema_compatibility", "DELETE"), ("schema_compatibility", "INSERT"), ("schema_compatibility", "UPDATE"),
        ("tombstone_key", "DELETE"), ("tombstone_key", "INSERT"), ("tombstone_key", "UPDATE"),
    ]  # fmt: skip
    others = process.execute("""
        SELECT seqrelid::regclass::text FROM pg_sequence WHERE NOT has_sequence_privilege(seqrelid, 'USAGE')
        UNION ALL SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            AND NOT has_function_privilege(oid, 'EXECUTE')
    """).fetchall()
    assert others == []


def test_what_a_later_migration_makes_is_reached_too(process: Connection, servers: Servers, database_url: str) -> None:
    with psycopg.connect(servers.owner_url(database_url), autocommit=True) as owner:
        owner.execute("CREATE TABLE later (id bigserial PRIMARY KEY, said text)")
        owner.execute("CREATE FUNCTION beat_later() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
    process.execute("INSERT INTO later (said) VALUES ('x')")
    process.execute("UPDATE later SET said = 'y'")
    assert process.execute("DELETE FROM later RETURNING said, beat_later()").fetchall() == [("y", 1)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        process.execute("DROP TABLE later")


def test_nobody_else_calls_the_functions_or_connects(servers: Servers, template: str) -> None:
    """Of the embedded server's own database, which `beat up` uses."""
    with psycopg.connect(servers.postgres.url, autocommit=True) as admin:
        name = f"stranger_{uuid.uuid4().hex[:8]}"
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(name)))
        try:
            stranger = servers.postgres.url.replace(f"//beat:{servers.postgres.password}", f"//{name}:x")
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(stranger)
            may = "SELECT has_function_privilege(%s, 'beat_make_partition(text, date)', 'EXECUTE')"
            with psycopg.connect(servers.postgres.url_of(template)) as copied:
                assert copied.execute(may, (name,)).fetchone() == (False,)
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_a_role_for_reports_reads_and_does_nothing_else(servers: Servers, database_url: str) -> None:
    """With the three grants that docs/security.md names."""
    name = f"reports_{uuid.uuid4().hex[:8]}"
    role = sql.Identifier(name)
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(role))
        try:
            database = sql.Identifier(str(admin.info.dbname))
            admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, role))
            admin.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role))
            admin.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(role))
            reports = database_url.replace(f"//beat:{servers.postgres.password}", f"//{name}:x")
            with psycopg.connect(reports, autocommit=True) as reader:
                assert reader.execute("SELECT count(*) FROM scrape_request_log").fetchone() == (0,)
                for statement in ("DELETE FROM lane", "SELECT beat_make_partition('trace_log', current_date)"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        reader.execute(statement)
        finally:
            admin.execute(sql.SQL("DROP OWNED BY {}").format(role))
            admin.execute(sql.SQL("DROP ROLE {}").format(role))


def test_the_process_login_makes_and_drops_partitions_of_known_tables_alone(process: Connection) -> None:
    made = process.execute("SELECT beat_make_partition('trace_log', current_date + 30)").fetchone()
    assert made == (True,)
    process.execute("INSERT INTO trace_log (at, platform, source, operation, credential_id, method, url, outcome) "
                    "VALUES (now() + interval '30 days', 'a', 'b', 'c', 1, '', '', 'ok')")  # fmt: skip
    owners = process.execute("SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relname ~ '^trace_log'")
    assert owners.fetchall() == [("beat_owner",)]
    for parent in ("lane", "audit_log", "trace_log; DROP TABLE lane", "pg_catalog.pg_class", ""):
        with pytest.raises(psycopg.errors.RaiseException, match="is not partitioned by day"):
            process.execute("SELECT beat_make_partition(%s, current_date)", (parent,))
        with pytest.raises(psycopg.errors.RaiseException, match="is not partitioned by day"):
            process.execute("SELECT beat_drop_partitions(%s, 1)", (parent,))
    for day in (datetime.date(9000, 1, 1), datetime.date(1970, 1, 1)):
        with pytest.raises(psycopg.errors.RaiseException, match="no partition of trace_log"):
            process.execute("SELECT beat_make_partition('trace_log', %s)", (day,))
    for days in (0, -30, None):
        with pytest.raises(psycopg.errors.RaiseException, match="at least the last day is kept"):
            process.execute("SELECT beat_drop_partitions('trace_log', %s)", (days,))


def test_a_search_path_of_the_caller_s_own_does_not_lead_the_owner(process: Connection, database_url: str) -> None:
    """A function of the owner that looked for its tables where the caller says would do to others what the caller may not."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA trap; GRANT ALL ON SCHEMA trap TO beat_process")
    process.execute("CREATE FUNCTION trap.beat_partitioned() RETURNS SETOF text LANGUAGE sql AS 'SELECT ''lane'''")
    process.execute("SET search_path = trap, public, pg_catalog")
    assert process.execute("SELECT * FROM beat_partitioned()").fetchall() == [("lane",)]
    with pytest.raises(psycopg.errors.RaiseException, match="is not partitioned by day"):
        process.execute("SELECT public.beat_make_partition('lane', current_date)")


def test_a_database_that_the_superuser_had_migrated_is_taken_over(servers: Servers) -> None:
    name = f"old_{uuid.uuid4().hex[:10]}"
    url = servers.postgres.url_of(name)
    owner, process = servers.owner_url(url), servers.process_url(url)
    admin_url = servers.postgres.url_of("postgres")
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        migrate.upgrade(url)
        with psycopg.connect(url, autocommit=True) as before:
            before.execute(
                "INSERT INTO lane (platform, flow, operation, priority, sources) VALUES ('a', 'b', 'c', 1, '{d}')"
            )
            before.execute("CREATE TYPE mood AS ENUM ('ok'); CREATE VIEW lanes AS SELECT * FROM lane")
        for _ in range(2):
            roles.provide(admin_url, owner_url=owner, process_url=process)
            assert migrate.upgrade(owner, process) == migrate.head()
        with psycopg.connect(process, autocommit=True) as connection:
            assert connection.execute("SELECT platform FROM lane").fetchall() == [("a",)]
            connection.execute("SELECT beat_make_partition('trace_log', current_date + 9)")
            foreign = connection.execute("""
                SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relowner <> 'beat_owner'::regrole
                UNION ALL SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
                    AND proowner <> 'beat_owner'::regrole
                UNION ALL SELECT oid::regtype::text FROM pg_type WHERE typnamespace = 'public'::regnamespace
                    AND typowner <> 'beat_owner'::regrole
            """)
            assert foreign.fetchall() == []
    finally:
        with psycopg.connect(admin_url, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_rights_that_a_role_had_before_are_taken_from_it(servers: Servers) -> None:
    admin_url = servers.postgres.url_of("postgres")
    provide = {"owner_url": servers.postgres.owner_url, "process_url": servers.postgres.process_url}
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("ALTER ROLE beat_process CREATEDB CREATEROLE REPLICATION")
        admin.execute("GRANT pg_read_server_files, pg_execute_server_program TO beat_process")
        roles.provide(admin_url, **provide)
        kept = admin.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = 'beat_process'"
        ).fetchone()
        assert kept == (False,) * 5
        assert admin.execute(
            "SELECT count(*) FROM pg_auth_members WHERE member = 'beat_process'::regrole"
        ).fetchone() == (0,)


def test_a_login_that_was_not_made_is_named(servers: Servers, database_url: str) -> None:
    with pytest.raises(BadInput, match="there is no role 'nobody'"):
        migrate.upgrade(
            servers.owner_url(database_url), servers.process_url(database_url).replace("beat_process", "nobody")
        )


def test_roles_that_are_one_and_the_same_are_refused(servers: Servers) -> None:
    urls = servers.postgres.url_of("postgres"), servers.postgres.owner_url, servers.postgres.process_url
    for owner, process in ((urls[1], urls[1]), (urls[0], urls[2]), (urls[1], urls[0])):
        with pytest.raises(BadInput, match="three different roles"):
            roles.provide(urls[0], owner_url=owner, process_url=process)
    with pytest.raises(BadInput, match="name a user and a password"):
        roles.provide(urls[0], owner_url="postgresql://127.0.0.1/beat", process_url=urls[2])
