"""`beat db`: PostgreSQL as Beat uses it."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from beat_actors.cli.operators import ask, database
from beat_actors.cli.output import TABLE, Shape, say, show_list
from beat_actors.errors import BadInput, StorageUnavailable
from beat_actors.logins import said

if TYPE_CHECKING:
    from beat_actors.cli.session import Session

db = App(name="db", help="The database's tables: size, dead rows, last vacuum; vacuum by hand.")


@db.default
def list_tables(*, every: Annotated[bool, Parameter(name="--all", negative="")] = False, shape: Shape = TABLE) -> None:
    """List the tables that hold rows, the one with the most dead rows first.

    Parameters
    ----------
    every
        Empty tables and partitions, too.
    """
    found = ask(database.There, lambda beat: beat.tables())
    show_list(
        [one for one in found if every or one.live or one.dead],
        ("table", "MB", "rows", "dead", "dead share", "vacuumed", "vacuums"),
        lambda one: (
            one.name, round(one.bytes / 1e6, 1), one.live, one.dead, f"{one.dead_share:.0%}", one.vacuumed_at, one.vacuums,
        ),
        shape,
        spare=("vacuums", "MB"),
    )  # fmt: skip


@db.command
def connections(*, shape: Shape = TABLE) -> None:
    """List who has PostgreSQL's connections, and how many there can be."""
    found = ask(database.There, lambda beat: beat.connections())
    show_list(
        found.clients,
        ("client", "connections", "active", "in transaction", "longest (s)"),
        lambda c: (c.name, c.connections, c.active, c.in_transaction, round(c.longest, 1)),
        shape,
    )
    if shape == TABLE:
        say(f"{found.used} of {found.most} connections are taken")


@db.command(name="processes")
def list_processes(*, shape: Shape = TABLE) -> None:
    """List the processes of Beat with their last minute: statements, connection pool, queue latency, and what each cannot do."""
    show_list(
        ask(database.There, lambda beat: beat.processes()),
        ("process", "where", "up since", "statements", "p99 (ms)", "pool", "timeouts", "claims", "latency p50 (ms)", "latency p99 (ms)", "cannot"),
        lambda one: (
            one.name, f"{one.host}:{one.pid}", one.started_at, one.statements,
            _ms(one.statement_p99), f"{one.pool_used} of {one.pool_most}", one.pool_exhausted, one.claims,
            _ms(one.claim_p50) if one.claims else "", _ms(one.claim_p99) if one.claims else "", ", ".join(one.troubles),
        ),
        shape,
        prose=("cannot",),
        spare=("up since", "latency p50 (ms)", "timeouts", "statements"),
        empty="no process has reported within half a minute",
    )  # fmt: skip


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


@db.command
def vacuum(table: str | None = None, /) -> None:
    """Vacuum and analyze a table, or every table that has dead rows. Locks nobody out; autovacuum does the same, only later.

    Parameters
    ----------
    table
        As `beat db` shows it.
    """

    from beat_actors.cli.session import run  # the tables' owner alone may vacuum, so this goes past the API
    from beat_actors.database.vacuum import vacuum as vacuum_

    async def work(session: "Session") -> list[str]:
        return await vacuum_(session.database, table)

    done = run(work)
    say(f"vacuumed: {', '.join(done)}" if done else "no table has dead rows")


@db.command(name="roles")
def provide_roles() -> None:
    """Make the role that owns the schema, the login of the processes and the database, where they are missing, and set their passwords.

    Who they are and what their passwords are is read from BEAT_DATABASE_OWNER_URL and BEAT_DATABASE_URL; BEAT_DATABASE_ADMIN_URL is the
    superuser's that makes them. A database that the superuser had migrated is given to the owner. Safe to repeat; then `beat migrate`.
    """
    import psycopg

    from beat_actors.cli.session import database_settings_in_force
    from beat_actors.database import roles

    in_force = database_settings_in_force()
    if in_force.database_admin_url is None or in_force.database_owner_url is None:
        raise BadInput(
            "set BEAT_DATABASE_ADMIN_URL and BEAT_DATABASE_OWNER_URL; docs/security.md says to what", field="url"
        )
    owner_url, process_url = in_force.owner_url, str(in_force.database_url)
    try:
        roles.provide(str(in_force.database_admin_url), owner_url=owner_url, process_url=process_url)
    except psycopg.Error as error:
        raise StorageUnavailable(f"PostgreSQL did not make the roles: {said(error)}") from error
    say(f"{roles.user_of(owner_url)} owns the schema, and processes connect as {roles.user_of(process_url)}")
