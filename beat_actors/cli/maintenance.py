"""`beat migrate` and `beat settings`."""

from typing import Annotated

from cyclopts import Parameter

from beat_actors.cli.output import say, show_json, show_rows
from beat_actors.cli.session import quiet_logs, settings_in_force
from beat_actors.database import migrate as migrations
from beat_actors.settings import Settings, table

DOCUMENT = """# Settings

Beat reads these environment variables, once, when a process starts; a wrong value stops the start with a sentence that names the
variable. `beat up` sets them for the stack that it runs and leaves them in `.beat/env`. This page is printed by
`beat settings --markdown`.

{table}

The command line alone also reads `BEAT_ROOT` (the data root of the local stack, `.beat` unless set) and `BEAT_DEBUG` (not empty: errors
show their traceback, as with `--debug`). `BEAT_FAILPOINTS` breaks the process on purpose, and is for rehearsals alone:
docs/reliability.md."""


def migrate() -> None:
    """Bring the database to the newest schema. Safe to run at any time, by many at once."""
    in_force = settings_in_force()
    quiet_logs()
    revision = migrations.upgrade(in_force.direct_url, statement_timeout=in_force.database_statement_timeout)
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
