"""What the log of events says of requests: how each ended, and its whole life in order."""

from collections.abc import Iterable
from typing import Any

from beat_actors.database import Database
from beat_actors.events.log import SEQUENCED, sequence

OF_REQUESTS = "starts_with(type, 'beat.scrape_request.')"
"""The condition on rows of `event` that are about a request."""
ENDS = "type IN ('beat.scrape_request.complete', 'beat.scrape_request.failed', 'beat.scrape_request.cancelled')"
"""The condition on rows of `event` that say how a request ended."""
LIVES = f"SELECT subject, version, type FROM event WHERE {OF_REQUESTS} ORDER BY id"
"""The rows for `lives`."""

DONE = ["accepted", "processing", "complete"]
"""The life of a request whose work was done without a wait."""


def lives(rows: Iterable[Any]) -> dict[int, list[str]]:
    """The life of each request: what happened to it, in order. Versions have to count from 1 without a gap, in the order of the ids."""
    found: dict[int, list[str]] = {}
    for subject, version, type_ in rows:
        life = found.setdefault(int(subject.removeprefix("scrape_request/")), [])
        life.append(type_.rpartition(".")[2])
        assert version == len(life), (subject, version, life)
    return found


async def sequence_all(database: Database) -> int:
    """Give places until nothing is pending; the last place of the log."""
    async with database.statements() as alone:
        while True:
            moved, last = await sequence(alone)
            if moved < SEQUENCED:
                return last
