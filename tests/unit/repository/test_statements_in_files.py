"""Statements stand in `.sql` files beside their modules, with their contracts and the types of their rows."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("beat_actors", "actors", "api", "scheduler")
LATER = (
    "beat_actors/chaos",
    "beat_actors/database/migrations",
)
"""Folders that are not held to it yet, and the migrations, which keep theirs."""
COMPOSED = {
    "beat_actors/assets/preparing.py": "a platform's declarations",
    "beat_actors/assets/upkeep/forgetting.py": "a platform's declarations",
    "beat_actors/assets/refetch.py": "a platform's declarations",
    "beat_actors/cli/operators/here/scraping.py": "what is read of the logs",
    "beat_actors/data/changes.py": "who reads, and from where",
    "beat_actors/data/listing.py": "a platform's declarations, and who reads",
    "beat_actors/data/reading.py": "a platform's declarations, and who reads",
    "beat_actors/data/refreshing.py": "a platform's declarations, and who reads",
    "beat_actors/database/migrate.py": "names, and what no schema knows yet",
    "beat_actors/database/roles.py": "names and passwords of roles",
    "beat_actors/database/vacuum.py": "names of tables",
    "beat_actors/events/changes.py": "a platform's declarations",
    "beat_actors/events/reading.py": "who reads",
    "beat_actors/holds/remembering.py": "a platform's declarations",
    "beat_actors/parsers/diff.py": "what is read of the logs",
    "beat_actors/pipeline/entities.py": "a platform's declarations",
    "beat_actors/pipeline/late.py": "a platform's declarations",
    "beat_actors/privacy/pages.py": "tables of the catalogue, and a platform's declarations",
    "beat_actors/privacy/payload_pages.py": "tables of the catalogue",
    "beat_actors/privacy/retention.py": "a platform's declarations",
    "beat_actors/privacy/rules.py": "conditions of statements",
    "beat_actors/privacy/subjects.py": "a platform's declarations",
    "beat_actors/requests/intake.py": "a platform's declarations",
    "beat_actors/requests/renames.py": "a platform's declarations",
    "beat_actors/restoring/as_of.py": "a platform's declarations",
    "beat_actors/restoring/blast.py": "a platform's declarations",
    "beat_actors/restoring/checking.py": "a platform's declarations",
    "beat_actors/restoring/keeping.py": "a platform's declarations",
    "beat_actors/restoring/reading.py": "a platform's declarations",
    "beat_actors/restoring/selection.py": "a platform's declarations",
    "beat_actors/restoring/statements.py": "a platform's declarations",
}
"""Modules that put a statement together when they run, and of what."""
BEGINS = re.compile(
    r"\s*(SELECT|INSERT INTO|UPDATE \S+ (\w+ )?SET|DELETE FROM|WITH (RECURSIVE )?\w+ (\([\w, ]+\) )?AS|LOCK TABLE|SET LOCAL|SET statement_timeout"
    r"|VACUUM|TRUNCATE|CREATE (ROLE|DATABASE|TABLE)|ALTER (ROLE|DATABASE|SCHEMA)|GRANT \w+ ON|REVOKE \w+ ON)\s"
)


def texts(tree: ast.Module) -> Iterator[ast.Constant]:
    """The strings of a module that are no docstrings."""
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node


def statements(source: str) -> list[int]:
    """The lines of the strings that begin as a statement does."""
    return sorted(node.lineno for node in texts(ast.parse(source)) if BEGINS.match(str(node.value)))


def test_no_statement_stands_in_a_module() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): statements(path.read_text())
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    found = {name: lines for name, lines in found.items() if lines and not name.startswith(LATER)}
    assert {name: lines for name, lines in found.items() if name not in COMPOSED} == {}
    assert COMPOSED.keys() - found.keys() == set(), "these compose no statement any more"


def test_statements_are_found_in_texts_of_each_kind() -> None:
    source = '''
"""SELECT in a docstring."""
ONE = "SELECT id FROM lane"
TWO = f"""
WITH a AS (SELECT 1) SELECT {ONE}
"""
THREE = "UPDATE lane SET priority = 1"
WORDS = ("SELECT", "Update the lane", "with a lane")
'''
    assert statements(source) == [3, 4, 7]


BOUND = re.compile(r"(?:\b\w+\.)?\b(\w+)\s*<=?\s*clock_timestamp\(\)")
BEHIND_A_BOUND = {
    "beat_actors/assets/claims.sql claim deadline": "a value of a row that was claimed",
    "beat_actors/watch/requests.sql waiting created_at": "of the first row of each lane",
    "beat_actors/webhooks/deliveries.sql claim next_at": "of a row that was found by its id",
    "beat_actors/webhooks/endpoints.sql count_test began": "of a row that was found by its key",
}


def test_what_is_due_is_a_bound_of_an_index() -> None:
    """`clock_timestamp()` changes from row to row, so that PostgreSQL compares it with each row of an index, also if none is due.
    `(SELECT clock_timestamp())` is one value, and the index is read up to it."""
    found = list[str]()
    for path in sorted((ROOT / "beat_actors").rglob("*.sql")):
        for statement in re.split(r"^-- name: ", path.read_text(), flags=re.MULTILINE)[1:]:
            name, *lines = statement.splitlines()
            text = "\n".join(line for line in lines if not line.lstrip().startswith("--"))
            for column in {one[1] for one in BOUND.finditer(text)}:
                where = f"{path.relative_to(ROOT)} {name} {column}"
                if where not in BEHIND_A_BOUND and re.search(rf"ORDER BY [^()]*\b{column}\b", text):
                    found.append(where)
    assert found == []
