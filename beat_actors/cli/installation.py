"""`beat migrate` and `beat settings`."""

import re

from beat_actors.cli.output import Flag, say, show_json, show_rows, tell
from beat_actors.cli.session import database_settings_in_force, quiet_logs
from beat_actors.settings import Settings, table

DOCUMENT = """# Settings

Beat reads these environment variables once, when a process starts. If a value is invalid, the process refuses to start and names the
variable. `beat up` sets the variables for its local stack and stores them in `.beat/env`. `beat settings --markdown` generates this page.

{table}

Only the command line reads `BEAT_ROOT` (the data root of the local stack; default `.beat`) and `BEAT_DEBUG` (if set, errors show their
traceback, as with `--debug`). `BEAT_FAILPOINTS` breaks processes on purpose. It needs `BEAT_ENVIRONMENT=rehearsal` and the extra `rehearsal`
of the package. Otherwise a process with this variable refuses to start ([reliability.md](reliability.md))."""


LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")
"""A link in Markdown, as descriptions of settings have it for their page."""


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
    others = " and ".join(sorted(migrations.plugins()))
    say(f"the database is at revision {revision}{f', and has the tables of {others}' if others else ''}")


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
        [
            (name, "" if default is None else str(default), LINK.sub(r"docs/\1", told or ""))
            for name, default, told in rows
        ],
        prose=("default", "meaning"),
    )
