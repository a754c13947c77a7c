"""What new migrations do to a database that is in use: `python -m tests.migration_sql` gives squawk the SQL of each.

squawk finds statements that hold up processes, as an index that is not built concurrently, or that the release before cannot live with.
Its rules are in .squawk.toml. No database is needed: the SQL is what `upgrade` would send.
"""

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import Script, ScriptDirectory

from beat_actors.database.migrate import LOCK_TIMEOUT, MIGRATIONS

ROOT = Path(__file__).parents[1]
BASE = "0031"
"""The last migration that is not looked at. Those up to it are older than the check, and databases have run them: they stay as they are."""


def after(base: str, folder: Path = MIGRATIONS) -> Iterator[Script]:
    """The revisions behind `base`, oldest first."""
    scripts = ScriptDirectory(str(folder))
    return reversed([*scripts.iterate_revisions("head", base)])


def upgrade_sql(script: Script) -> str:
    """The SQL of the revision's `upgrade`, with its transactions, as `beat migrate` runs it."""
    written = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": written, "transactional_ddl": True}
    )
    with Operations.context(context), context.begin_transaction():
        script.module.upgrade()
    return f"SET lock_timeout = '{LOCK_TIMEOUT}';\n{written.getvalue()}"


def findings(name: str, sql: str) -> str:
    """What squawk says about `sql`, which it calls `name`; empty where it finds nothing."""
    squawk = shutil.which("squawk", path=str(Path(sys.executable).parent))
    if squawk is None:
        raise SystemExit("squawk is not installed in this environment: run `make install`")
    done = subprocess.run(
        [squawk, "--config", str(ROOT / ".squawk.toml"), "--reporter", "gcc", "--stdin-filepath", name],
        input=sql,
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{done.stdout}{done.stderr}" if done.returncode else ""


def main(folder: Path = MIGRATIONS, base: str = BASE) -> int:
    scripts = list(after(base, folder))
    said = "".join(findings(f"{Path(script.path).stem}.sql", upgrade_sql(script)) for script in scripts)
    print(f"migrations: squawk read {len(scripts)}, those after {base}")
    print(said, file=sys.stderr, end="")
    return bool(said)


if __name__ == "__main__":
    sys.exit(main())
