"""What takes part in the comparison, and what one run of it is.

One scrape is the same for everyone: one GET of a profile with its 12 latest posts (27 kB of JSON), a validated parse, the upsert of the
account and of the posts, an audit row of the call, a snapshot row of the account and of each post, one event row, and the state row set
to COMPLETE. What was written is counted after each run.

What is timed: from the start of the first upstream call to the last state row that became COMPLETE. The work is offered before the workers
start (state rows for all, messages for those that have a queue), so neither their start nor the intake counts.
"""

from dataclasses import asdict, dataclass
from typing import Protocol

from beat_actors.simulator.population import Population

POSTS = 12


class RunFailed(Exception):
    """A run did not end, or did something else than its work; it has no figures. Contenders may raise it."""


class WrongCounts(RunFailed):
    """A run did not write what it had to."""


@dataclass(frozen=True)
class World:
    """What a run works on: an empty database with the contender's schema, an empty Valkey, and the upstream.

    `{upstream_url}/lama/a2/user?username={handle}` answers for each of `handles`; it is also a root for BEAT_SIMULATOR_URL.
    """

    database_url: str
    redis_url: str
    upstream_url: str

    def handles(self, count: int) -> list[str]:
        """The work of one run; everybody gets the same."""
        return [handle(number) for number in range(count)]


@dataclass(frozen=True)
class Written:
    """Rows in the database after a run. `states`: those that are COMPLETE."""

    states: int
    accounts: int
    posts: int
    audits: int
    account_snapshots: int
    post_snapshots: int
    events: int


@dataclass(frozen=True)
class Result:
    """One run. `started`, `ended`: seconds since the epoch, as the rows have them."""

    started: float
    ended: float
    written: Written


class Contender(Protocol):
    """Whoever takes part. The processes that do the work are children of the one that calls `run`, and have ended when it returns."""

    name: str
    count: int
    """Scrapes in one run, so that it takes some seconds."""
    schema: str
    """Contenders of the same schema share a template database, which `create_schema` fills."""

    def create_schema(self, database_url: str) -> None: ...

    def run(self, world: World, count: int) -> Result: ...


def handle(number: int) -> str:
    return Population(number + 1).handle(number)


def check(written: Written, count: int) -> None:
    """Raises `WrongCounts` with what is missing or too much. Nobody wins by skipping."""
    expected = Written(count, count, POSTS * count, count, count, POSTS * count, count)
    wrong = [
        f"{name}: {found} instead of {asdict(expected)[name]}"
        for name, found in asdict(written).items()
        if found != asdict(expected)[name]
    ]
    if wrong:
        raise WrongCounts(", ".join(wrong))
