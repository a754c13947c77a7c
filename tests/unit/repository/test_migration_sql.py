"""New migrations are read by squawk as the SQL that they send; older ones are not."""

from pathlib import Path

import pytest

from tests.migration_sql import main

REVISION = """
from alembic import op

revision = "{number}"
down_revision = {before}
branch_labels = None
depends_on = None


def upgrade() -> None:
{body}
"""
BLOCKS = '    op.execute("CREATE INDEX log_at ON log (at)")'
CONCURRENTLY = """\
    op.execute("ALTER TABLE log ADD COLUMN at timestamptz")
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS log_at")
        op.execute("CREATE INDEX CONCURRENTLY log_at ON log (at)")"""
ALLOWED = """\
    op.execute('''
    -- The table holds few rows.
    -- squawk-ignore require-concurrent-index-creation
    CREATE INDEX log_at ON log (at)
    ''')"""


def put(folder: Path, number: str, before: str | None, body: str) -> None:
    (folder / "versions").mkdir(exist_ok=True)
    text = REVISION.format(number=number, before=repr(before), body=body)
    (folder / "versions" / f"{number}_log.py").write_text(text)


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    put(tmp_path, "0001", None, BLOCKS)
    return tmp_path


def test_a_new_migration_that_holds_up_writers_is_named_and_an_older_one_is_not(
    migrations: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(migrations, "0002", "0001", BLOCKS)
    assert main(migrations, "0001") == 1
    said = capsys.readouterr().err
    assert "0002_log.sql" in said
    assert "require-concurrent-index-creation" in said
    assert "0001_log.sql" not in said


@pytest.mark.parametrize("body", [CONCURRENTLY, ALLOWED])
def test_what_holds_up_nobody_or_is_allowed_with_a_reason_passes(
    migrations: Path, capsys: pytest.CaptureFixture[str], body: str
) -> None:
    put(migrations, "0002", "0001", body)
    assert main(migrations, "0001") == 0
    assert capsys.readouterr().out == "migrations: squawk read 1, those after 0001\n"


def test_sql_that_cannot_be_parsed_is_named(migrations: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(migrations, "0002", "0001", '    op.execute("ALTER TABEL log ADD at timestamptz")')
    assert main(migrations, "0001") == 1
    assert "syntax" in capsys.readouterr().err
