"""`beat migrate`, `beat settings`, `beat db` and `beat stuck`."""

from datetime import UTC
from typing import Annotated

import psycopg
from cyclopts import App, Parameter

from beat_actors.cli.output import say, show_json, show_rows, tell
from beat_actors.cli.session import Session, database_settings_in_force, quiet_logs, run, who
from beat_actors.database import migrate as migrations
from beat_actors.database import roles, upkeep
from beat_actors.database.upkeep import Connections, Table
from beat_actors.database.vitals import Vitals, processes
from beat_actors.errors import BadInput, StorageUnavailable
from beat_actors.logins import said
from beat_actors.requests import stuck as stuck_requests
from beat_actors.requests.stuck import Stuck, Taken
from beat_actors.settings import Settings, table

DOCUMENT = """# Settings

Beat reads these environment variables, once, when a process starts; a wrong value stops the start with a sentence that names the
variable. `beat up` sets them for the stack that it runs and leaves them in `.beat/env`. This page is printed by
`beat settings --markdown`.

{table}

The command line alone also reads `BEAT_ROOT` (the data root of the local stack, `.beat` unless set) and `BEAT_DEBUG` (not empty: errors
show their traceback, as with `--debug`). `BEAT_FAILPOINTS` breaks the process on purpose. It needs `BEAT_ENVIRONMENT=rehearsal` and the
extra `rehearsal` of the package; elsewhere it stops the start (docs/reliability.md)."""

db = App(name="db", help="The database's tables: size, dead rows, last vacuum; vacuum by hand.")


def stuck(
    *,
    minutes: float = 10.0,
    requeue: Annotated[bool, Parameter(negative="")] = False,
    reason: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """List the requests that were begun so long ago and have not ended, and say what holds each up. Changes nothing by itself.

    Parameters
    ----------
    minutes
        What long is.
    requeue
        Take away what a worker has held for that long: if it lives it writes nothing any more, and another one goes on. Workers that
        died are found within seconds without it.
    reason
        Why; it goes to the audit log.
    """
    if requeue and not reason:
        raise BadInput("say why with --reason; it goes to the audit log", field="reason")
    seconds = minutes * 60

    async def take(session: Session) -> Taken:
        return await stuck_requests.requeue(session.engine.database, seconds=seconds, actor=who(), reason=reason or "")

    async def look(session: Session) -> list[Stuck]:
        return await stuck_requests.stuck(session.engine.database, seconds=seconds)

    if requeue:
        taken = run(take)
        say(
            f"{taken.fetches} fetches of {len(taken.requests)} requests were taken from their holders; others go on with them within seconds"
        )
        return
    found = run(look)
    if json:
        show_json(found)
        return
    show_rows(
        ("request", "platform", "flow", "begun", "held", "for", "between stages", "waiting"),
        [
            (
                one.id,
                one.platform,
                one.flow,
                f"{one.seconds / 60:.0f} min ago",
                one.held,
                _minutes(one.held_for),
                one.unheld,
                one.waiting,
            )
            for one in found
        ],
        empty=f"nothing takes longer than {minutes:g} min",
    )


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 60:.0f} min"


@db.default
def list_tables(*, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """List the tables, the one with the most dead rows first."""

    async def work(session: Session) -> list[Table]:
        return await upkeep.tables(session.engine.database)

    found = run(work)
    if json:
        show_json(found)
        return
    show_rows(
        ("table", "MB", "rows", "dead", "share", "vacuumed (UTC)", "vacuums"),
        [
            (
                one.name, round(one.bytes / 1e6, 1), one.live, one.dead, f"{one.dead_share:.0%}",
                "" if one.vacuumed_at is None else f"{one.vacuumed_at.astimezone(UTC):%m-%d %H:%M:%S}", one.vacuums,
            )
            for one in found
        ],
    )  # fmt: skip


@db.command
def connections(*, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Say who has PostgreSQL's connections, and how many there can be."""

    async def work(session: Session) -> Connections:
        return await upkeep.connections(session.engine.database)

    found = run(work)
    if json:
        show_json(found)
        return
    show_rows(
        ("who", "connections", "active", "in transaction", "longest (s)"),
        [(c.name, c.connections, c.active, c.in_transaction, round(c.longest, 1)) for c in found.clients],
    )
    say(f"{found.used} of {found.most} are taken")


@db.command(name="processes")
def list_processes(*, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Say how each process of Beat fared in the last minute: its statements, its pool, how long work waited until it took it up, and what it cannot do."""

    async def work(session: Session) -> list[Vitals]:
        return await processes(session.engine.database)

    found = run(work)
    if json:
        show_json(found)
        return
    show_rows(
        ("process", "where", "up since (UTC)", "statements", "p99 (ms)", "pool", "in vain", "claims", "waited p50 (ms)", "p99 (ms)", "cannot"),
        [
            (
                one.name, f"{one.host}:{one.pid}", f"{one.started_at.astimezone(UTC):%m-%d %H:%M:%S}", one.statements,
                _ms(one.statement_p99), f"{one.pool_used} of {one.pool_most}", one.pool_exhausted, one.claims,
                _ms(one.claim_p50) if one.claims else "", _ms(one.claim_p99) if one.claims else "", ", ".join(one.troubles),
            )
            for one in found
        ],
        empty="no process has reported within half a minute",
    )  # fmt: skip


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


@db.command
def vacuum(table: str | None = None, /) -> None:
    """Vacuum and analyze a table, or every one that has dead rows. Locks nobody out; autovacuum does it by itself, only later.

    Parameters
    ----------
    table
        As `beat db` shows it.
    """

    async def work(session: Session) -> list[str]:
        return await upkeep.vacuum(session.engine.database, table)

    done = run(work)
    say(f"vacuumed: {', '.join(done)}" if done else "no table has dead rows")


@db.command(name="roles")
def provide_roles() -> None:
    """Make the role that owns the schema, the login of the processes and the database, where they are missing, and set their passwords.

    Who they are and what their passwords are is read from BEAT_DATABASE_OWNER_URL and BEAT_DATABASE_URL; BEAT_DATABASE_ADMIN_URL is the
    superuser's that makes them. A database that the superuser had migrated is given to the owner. Safe to repeat; then `beat migrate`.
    """
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
    markdown: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
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
    show_rows(("variable", "default", "meaning"), [(name, str(default or ""), told) for name, default, told in rows])
