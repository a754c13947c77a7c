"""The two roles of a database: the owner migrates the schema, the login of the processes only reads and writes rows.

`provide` makes both as a superuser; `grant` gives the process login its privileges, as the owner, after each migration.
"""

from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import scalar_row

from beat_actors.database.sql import Statements
from beat_actors.errors import BadInput

LIMITED: LiteralString = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
"""The attributes of both roles. None of the predefined roles, as pg_read_server_files, is granted to them."""
SQL = Statements(__file__)
HAS_DATABASE, HAS_ROLE = SQL("has_database", bool), SQL("has_role", bool)
PREDEFINED = SQL("predefined", str)
FOREIGN, GRANTS = SQL("foreign", str), SQL("grants", str)
CLOSE_SCHEMA = SQL("close_schema")


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
        if admin.execute(HAS_DATABASE.sent, {"name": database}).fetchone() == (False,):
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
        if not cursor.execute(HAS_ROLE.sent, {"name": role}).fetchone():
            raise BadInput(
                f"there is no role {role!r}, as which processes would connect; `beat db roles` makes it",
                field="process_url",
            )
        cursor.execute(CLOSE_SCHEMA.sent)
        for statement in cursor.execute(GRANTS.sent, {"role": role}).fetchall():
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
    known = admin.execute(HAS_ROLE.sent, {"name": name}).fetchone() == (True,)
    admin.execute(
        sql.SQL("{} ROLE {} WITH {} PASSWORD {}").format(
            sql.SQL("ALTER" if known else "CREATE"), sql.Identifier(name), sql.SQL(LIMITED), sql.Literal(verifier)
        )
    )
    for (group,) in admin.execute(PREDEFINED.sent, {"name": name}).fetchall():
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
        for statement in cursor.execute(FOREIGN.sent, {"owner": owner}).fetchall():
            cursor.execute(statement)
