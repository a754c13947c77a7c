"""Every SQL statement of the documentation runs on the present schema as it stands."""

import re

import psycopg
import pytest

from tests.blocks import PAGES, blocks

SPAN = re.compile(r"`(SELECT [^`]+|DELETE FROM [^`]+|UPDATE [^`]+)`")
STATEMENTS = sorted(
    {block.text for block in blocks("sql")} | {found[1] for path in PAGES for found in SPAN.finditer(path.read_text())}
)


def test_the_documentation_has_statements() -> None:
    assert len(STATEMENTS) >= 2


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_documented_statement_runs(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url) as connection, connection.transaction(force_rollback=True):
        connection.execute(statement.encode())
