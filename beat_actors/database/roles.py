"""The two roles of a database: the owner migrates the schema, the login of the processes only reads and writes rows.

`provide` makes both as a superuser; `grant` gives the process login its privileges, as the owner, after each migration.
"""

from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import scalar_row

from beat_actors.errors import BadInput

LIMITED: LiteralString = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
"""The attributes of both roles. None of the predefined roles, as pg_read_server_files, is granted to them."""

# Only roles of the cluster's own: a superuser may have put either role into a group of the site.
PREDEFINED = """
SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
WHERE r.rolname = %s AND (g.rolname ~ '^pg_' OR g.rolsuper OR g.rolcreatedb OR g.rolcreaterole OR g.rolreplication)
"""

# What stands in the schema and belongs to another role. Sequences of a column, indexes and row types follow their table; what an
# extension brought stays with it.
FOREIGN = """
WITH own AS (SELECT oid FROM pg_roles WHERE rolname = %(owner)s), brought AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e')
SELECT format('ALTER %%s %%s OWNER TO %%I', kind, name, %(owner)s::text) FROM (
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END AS kind,
           c.oid::regclass::text AS name, 'pg_class'::regclass AS class, c.oid AS id, c.relowner AS held
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND c.relkind = 'S'
                      AND d.deptype IN ('a', 'i'))
    UNION ALL
    SELECT 'ROUTINE', p.oid::regprocedure::text, 'pg_proc'::regclass, p.oid, p.proowner
    FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'TYPE', t.oid::regtype::text, 'pg_type'::regclass, t.oid, t.typowner
    FROM pg_type t WHERE t.typnamespace = 'public'::regnamespace AND t.typtype IN ('e', 'd', 'r')
) o
WHERE held <> (SELECT oid FROM own) AND NOT EXISTS (SELECT FROM brought b WHERE b.classid = o.class AND b.objid = o.id)
"""

# Each row is a statement; their order does not matter. Only what the owner owns: an extension's view is not ours to grant.
GRANTS = """
WITH relation AS (
    SELECT oid::regclass::text AS name, relkind = 'S' AS sequence,
           CASE relname WHEN 'alembic_version' THEN 'SELECT' WHEN 'schema_compatibility' THEN 'SELECT' WHEN 'audit_log' THEN 'SELECT, INSERT'
                        ELSE 'SELECT, INSERT, UPDATE, DELETE' END AS rights,
           CASE relname WHEN 'alembic_version' THEN 'INSERT, UPDATE, DELETE' WHEN 'schema_compatibility' THEN 'INSERT, UPDATE, DELETE' WHEN 'audit_log' THEN 'UPDATE, DELETE' END AS withheld
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
      AND relowner = current_user::regrole
), routine AS (
    SELECT oid::regprocedure::text AS name FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND proowner = current_user::regrole
), given (statement) AS (
    SELECT format('GRANT USAGE ON SCHEMA public TO %%I', %(role)s::text)
    UNION ALL SELECT format('REVOKE %%s ON %%s FROM %%I', withheld, name, %(role)s::text) FROM relation WHERE withheld IS NOT NULL
    UNION ALL SELECT format('GRANT %%s ON %%s TO %%I', rights, string_agg(name, ', '), %(role)s::text)
        FROM relation WHERE NOT sequence GROUP BY rights
    UNION ALL SELECT format('GRANT USAGE, SELECT ON SEQUENCE %%s TO %%I', string_agg(name, ', '), %(role)s::text)
        FROM relation WHERE sequence
    UNION ALL SELECT format('REVOKE ALL ON ROUTINE %%s FROM PUBLIC', string_agg(name, ', ')) FROM routine
    UNION ALL SELECT format('GRANT EXECUTE ON ROUTINE %%s TO %%I', string_agg(name, ', '), %(role)s::text) FROM routine
    UNION ALL SELECT format('ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %%I', %(role)s::text)
    UNION ALL SELECT format('ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO %%I', %(role)s::text)
    UNION ALL SELECT format('ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON ROUTINES TO %%I', %(role)s::text)
    UNION ALL SELECT 'ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON ROUTINES FROM PUBLIC'
)
SELECT statement FROM given WHERE statement IS NOT NULL
"""


def provide(admin_url: str, *, owner_url: str, process_url: str) -> None:
    """Make the owner's role, the process login and the database of `owner_url` where they are missing, and set both passwords.

    What stands in the database's schema `public` is given to the owner, so a database that a superuser had migrated is taken over.
    Nobody else may connect afterwards, except superusers and roles to which CONNECT is granted. Safe to repeat.
    `admin_url`: a superuser, in any database of the same server. Raises `BadInput` where a URL names no user or no password, both name
    the same user or one names the superuser, and `psycopg.Error`.
    """
    owner, process = _login(owner_url, "owner"), _login(process_url, "process")
    database = str(conninfo_to_dict(owner_url).get("dbname") or owner[0])
    with psycopg.connect(admin_url, autocommit=True) as admin:
        if len({owner[0], process[0], admin.info.user}) < 3:
            raise BadInput(
                "the superuser, the owner and the process login must be three different roles", field="owner_url"
            )
        for name, password in (owner, process):
            _provide_role(admin, name, password)
        if admin.execute("SELECT FROM pg_database WHERE datname = %s", (database,)).fetchone() is None:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    with psycopg.connect(admin_url, dbname=database, autocommit=True) as admin:
        _hand_over(admin, database, owner[0], process[0])


def grant(connection: psycopg.Connection[Any], role: str) -> None:
    """Give `role` what processes need of all that the connection's own role owns in `public`, now and later: rows of every table, without
    changes of `alembic_version` and with nothing but additions to `audit_log`; sequences; functions, which nobody else may call.

    A migration that replaces a table drops its grants, so this runs after each. Raises `BadInput` where there is no such role, and
    `psycopg.Error`.
    """
    with connection.transaction(), connection.cursor(row_factory=scalar_row) as cursor:
        if cursor.execute("SELECT true FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
            raise BadInput(
                f"there is no role {role!r}, as which processes would connect; `beat db roles` makes it",
                field="process_url",
            )
        # In a database that PostgreSQL 14 or older made, everybody may create tables in this schema.
        cursor.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        for statement in cursor.execute(GRANTS, {"role": role}).fetchall():
            cursor.execute(statement)


def user_of(url: str) -> str:
    """The role that connects by `url`; empty where the URL leaves it to the client."""
    return str(conninfo_to_dict(url).get("user") or "")


def _login(url: str, which: str) -> tuple[str, str]:
    parts = conninfo_to_dict(url)
    if not parts.get("user") or not parts.get("password"):
        raise BadInput(f"the {which}'s URL must name a user and a password", field=f"{which}_url")
    return str(parts["user"]), str(parts["password"])


def _provide_role(admin: psycopg.Connection[Any], name: str, password: str) -> None:
    # Only the verifier travels: a password in a statement would come into a log of statements.
    verifier = admin.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    known = admin.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,)).fetchone() is not None
    admin.execute(
        sql.SQL("{} ROLE {} WITH {} PASSWORD {}").format(
            sql.SQL("ALTER" if known else "CREATE"), sql.Identifier(name), sql.SQL(LIMITED), sql.Literal(verifier)
        )
    )
    for (group,) in admin.execute(PREDEFINED, (name,)).fetchall():
        admin.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(group), sql.Identifier(name)))


def _hand_over(admin: psycopg.Connection[Any], database: str, owner: str, process: str) -> None:
    names = {"database": sql.Identifier(database), "owner": sql.Identifier(owner), "process": sql.Identifier(process)}
    for statement in (
        sql.SQL("ALTER DATABASE {database} OWNER TO {owner}"),
        sql.SQL("REVOKE ALL ON DATABASE {database} FROM PUBLIC"),
        sql.SQL("GRANT CONNECT ON DATABASE {database} TO {process}"),
        sql.SQL("ALTER SCHEMA public OWNER TO {owner}"),
    ):
        admin.execute(statement.format(**names))
    # One statement each: a lock is held for a moment, and what is left after an error is handed over the next time.
    with admin.cursor(row_factory=scalar_row) as cursor:
        for statement in cursor.execute(FOREIGN, {"owner": owner}).fetchall():
            cursor.execute(statement)
