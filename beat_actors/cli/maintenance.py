"""`beat migrate`, `beat settings`, `beat db` and `beat stuck`."""

from typing import Annotated

import psycopg
from cyclopts import App, Parameter

from beat_actors.cli.operators import ask, database, watching
from beat_actors.cli.output import TABLE, Flag, Shape, say, show_json, show_list, show_rows, tell
from beat_actors.cli.session import Session, database_settings_in_force, quiet_logs, run
from beat_actors.database import upkeep
from beat_actors.errors import BadInput, StorageUnavailable
from beat_actors.logins import said
from beat_actors.settings import Settings, table

DOCUMENT = """# Settings

Beat reads these environment variables once, when a process starts. If a value is invalid, the process refuses to start and names the
variable. `beat up` sets the variables for its local stack and stores them in `.beat/env`. `beat settings --markdown` generates this page.

{table}

Only the command line reads `BEAT_ROOT` (the data root of the local stack; default `.beat`) and `BEAT_DEBUG` (if set, errors show their
traceback, as with `--debug`). `BEAT_FAILPOINTS` breaks processes on purpose. It needs `BEAT_ENVIRONMENT=rehearsal` and the extra `rehearsal`
of the package. Otherwise a process with this variable refuses to start ([reliability.md](reliability.md))."""

db = App(name="db", help="The database's tables: size, dead rows, last vacuum; vacuum by hand.")


def stuck(*, minutes: float = 10.0, requeue: Flag = False, reason: str | None = None, shape: Shape = TABLE) -> None:
    """List long-running requests and what blocks each. Changes nothing by itself.

    Parameters
    ----------
    minutes
        From which age on a request is listed.
    requeue
        Reclaim work that a worker has held for that long: another worker continues, and the first one can write nothing any more. Workers that
        died are found within seconds without it.
    reason
        Kept in the audit log.
    """
    seconds = minutes * 60
    if requeue:
        if not reason:
            raise BadInput("say why with --reason; it is kept in the audit log", field="reason")
        taken = ask(watching.Here, watching.There, lambda beat: beat.reclaim(seconds, reason=reason))
        say(
            f"{taken.fetches:,} fetches of {len(taken.requests):,} requests were taken from their workers; others continue them within seconds"
        )
        return
    show_list(
        ask(watching.Here, watching.There, lambda beat: beat.stuck(seconds)),
        ("request", "platform", "flow", "started", "held", "for", "between stages", "waiting"),
        lambda one: (
            one.id, one.platform, one.flow, one.picked_at, one.held, _minutes(one.held_for), one.unheld, one.waiting,
        ),
        shape,
        empty=f"no request has been running for more than {minutes:g} min",
    )  # fmt: skip


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 60:.0f} min"


@db.default
def list_tables(*, every: Annotated[bool, Parameter(name="--all", negative="")] = False, shape: Shape = TABLE) -> None:
    """List the tables that hold rows, the one with the most dead rows first.

    Parameters
    ----------
    every
        Empty tables and partitions, too.
    """
    found = ask(database.Here, database.There, lambda beat: beat.tables())
    show_list(
        [one for one in found if every or one.live or one.dead],
        ("table", "MB", "rows", "dead", "dead share", "vacuumed", "vacuums"),
        lambda one: (
            one.name, round(one.bytes / 1e6, 1), one.live, one.dead, f"{one.dead_share:.0%}", one.vacuumed_at, one.vacuums,
        ),
        shape,
    )  # fmt: skip


@db.command
def connections(*, shape: Shape = TABLE) -> None:
    """List who has PostgreSQL's connections, and how many there can be."""
    found = ask(database.Here, database.There, lambda beat: beat.connections())
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
        ask(database.Here, database.There, lambda beat: beat.processes()),
        ("process", "where", "up since", "statements", "p99 (ms)", "pool", "timeouts", "claims", "latency p50 (ms)", "latency p99 (ms)", "cannot"),
        lambda one: (
            one.name, f"{one.host}:{one.pid}", one.started_at, one.statements,
            _ms(one.statement_p99), f"{one.pool_used} of {one.pool_most}", one.pool_exhausted, one.claims,
            _ms(one.claim_p50) if one.claims else "", _ms(one.claim_p99) if one.claims else "", ", ".join(one.troubles),
        ),
        shape,
        prose=("cannot",),
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

    async def work(session: Session) -> list[str]:
        return await upkeep.vacuum(session.database, table)

    done = run(work)
    say(f"vacuumed: {', '.join(done)}" if done else "no table has dead rows")


@db.command(name="roles")
def provide_roles() -> None:
    """Make the role that owns the schema, the login of the processes and the database, where they are missing, and set their passwords.

    Who they are and what their passwords are is read from BEAT_DATABASE_OWNER_URL and BEAT_DATABASE_URL; BEAT_DATABASE_ADMIN_URL is the
    superuser's that makes them. A database that the superuser had migrated is given to the owner. Safe to repeat; then `beat migrate`.
    """
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


def migrate() -> None:
    """Bring the database to the newest schema. Safe to run at any time, by many at once.

    Runs as the role of BEAT_DATABASE_OWNER_URL, and gives the role of BEAT_DATABASE_URL what processes need.
    """
    from beat_actors.database import migrate as migrations  # loads alembic, which no other command needs

    in_force = database_settings_in_force()
    quiet_logs()
    revision = migrations.upgrade(
        in_force.owner_url,
        str(in_force.database_url),
        statement_timeout=in_force.database_statement_timeout,
        waits=tell,
    )
    say(f"the database is at revision {revision}")


def settings(
    *,
    markdown: Flag = False,
    json: Flag = False,
) -> None:
    """Print every BEAT_* variable with its default and meaning; no value that is set, so that no secret is shown.

    Parameters
    ----------
    markdown
        As the page docs/settings.md.
    """
    if markdown:
        print(DOCUMENT.format(table=table()))
        return
    rows = [
        (f"BEAT_{name.upper()}", "required" if info.is_required() else info.default, info.description)
        for name, info in Settings.model_fields.items()
    ]
    if json:
        show_json([{"variable": row[0], "default": row[1], "meaning": row[2]} for row in rows])
        return
    show_rows(
        ("variable", "default", "meaning"),
        [(name, "" if default is None else str(default), told) for name, default, told in rows],
        prose=("default", "meaning"),
    )
