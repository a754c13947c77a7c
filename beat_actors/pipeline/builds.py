"""Which parser of which version of Beat read an answer, as a small number that every row can have."""

from collections.abc import Collection, Mapping
from functools import cache
from importlib.metadata import version
from typing import NamedTuple

from beat_actors.database import Statements, Transaction, arrays


class Build(NamedTuple):
    """A parser as it is in a version of Beat."""

    software: str
    platform: str
    source: str
    operation: str
    parser_version: int


class Known(NamedTuple):
    """The number of a build. `nth`: its place among those that were asked for, from 1 on."""

    nth: int
    id: int


SQL = Statements(__file__)
FIND = SQL("find", Known)
ADD = SQL("add")


@cache
def software(deploy: str | None) -> str:
    """The version of Beat that this process runs, with the name of its deploy."""
    return version("beat-actors") + ("" if deploy is None else f"+{deploy}")


async def ids_of(transaction: Transaction, builds: Collection[Build]) -> Mapping[Build, int]:
    """The number of each build. A process asks once for each; of a new one, until its row is committed."""
    unknown = sorted({build for build in builds if build not in transaction.ids})
    if not unknown:
        return {build: transaction.ids[build] for build in builds}
    values = arrays(unknown, "software", "platforms", "sources", "operations", "versions")
    found = {unknown[row.nth - 1]: row.id for row in await transaction.rows(FIND, values)}
    # Only what this transaction has not inserted itself is known to be committed.
    transaction.ids.update(found.items())
    if len(found) < len(unknown):
        await transaction.run(ADD, values)
        found = {unknown[row.nth - 1]: row.id for row in await transaction.rows(FIND, values)}
    return {build: found[build] if build in found else transaction.ids[build] for build in builds}
