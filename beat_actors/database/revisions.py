"""The revisions of the schema that this code knows, by the names of their files. `migrate` asks alembic, which loads all migrations for that."""

from functools import cache
from pathlib import Path

VERSIONS = Path(__file__).parent / "migrations" / "versions"


@cache
def newest() -> str:
    """The newest revision that this code knows."""
    return max(path.name.partition("_")[0] for path in VERSIONS.glob("[0-9]*.py"))


def works_with(revision: str | None, oldest: str | None) -> bool:
    """Whether this code works with a database at `revision` whose schema the code of `oldest` still works with: one that is as new as the
    code, or newer and not contracted since."""
    return revision is not None and (oldest or revision) <= newest() <= revision
