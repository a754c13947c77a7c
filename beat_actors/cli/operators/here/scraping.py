"""Requests that a person waits for, with what they brought."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from beat_actors.cli.operators import here
from beat_actors.cli.operators.scraping import Scraped, Wanted
from beat_actors.cli.output import tell
from beat_actors.database import Statement, Statements, Transaction
from beat_actors.pipeline.entities import logged
from beat_actors.requests import intake, queries
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.states import ENDED

FIRST_LOOK, LAST_LOOK = 0.03, 0.5
"""Seconds between two looks at requests that run: at first, and at most."""

# What these requests brought, not what is known from other times. The partition key keeps old days out of the search.
BROUGHT = "l.request_id = ANY(%(ids)s) AND l.observed_at >= %(since)s"


class Profile(NamedTuple):
    """An observation of a profile."""

    request_id: int
    dimensions: dict[str, Any]
    metrics: dict[str, Any]
    source: str


class Post(NamedTuple):
    """An observation of a post."""

    request_id: int
    post_id: str
    dimensions: dict[str, Any]
    metrics: dict[str, Any]
    source: str


STATUSES = Statements(__file__)("statuses", str)
PROFILES = Statement(
    "cli/scraping.profiles",
    "",
    f"SELECT request_id, dimensions, metrics, source FROM {logged('profile_log', BROUGHT)} l ORDER BY observed_at",  # noqa: S608
    Profile,
)
POSTS = Statement(
    "cli/scraping.posts",
    "",
    f"SELECT request_id, post_id, dimensions, metrics, source FROM {logged('post_log', BROUGHT)} l ORDER BY observed_at",  # noqa: S608
    Post,
)


class Here(here.Here):
    async def scrape(self, wanted: Sequence[Wanted], timeout: float) -> list[Scraped]:
        session = self.session
        if session.settings.simulator_url is not None:
            tell("simulated data: the provider simulator answers, not the providers")
        deadline = time.monotonic() + timeout
        new = [NewRequest(one.platform, one.flow, dict(one.params), one.priority) for one in wanted]
        ids = [one.id for one in await intake.accept(session.database, new)]
        await session.wake(wanted[0].platform)
        await self._wait(ids, deadline)
        async with session.database.transaction() as transaction:
            return await _result(transaction, [one.subject for one in wanted], ids)

    async def _wait(self, ids: list[int], deadline: float) -> None:
        pause = FIRST_LOOK
        while True:
            async with self.session.database.transaction() as transaction:
                statuses = set(await transaction.rows(STATUSES, {"ids": ids}))
            if statuses <= ENDED or time.monotonic() >= deadline:
                return
            await asyncio.sleep(min(pause, max(deadline - time.monotonic(), 0.0)))
            pause = min(pause * 1.4, LAST_LOOK)


async def _result(transaction: Transaction, subjects: Sequence[str], ids: Sequence[int]) -> list[Scraped]:
    requests = [await queries.get_request(transaction, request_id) for request_id in ids]
    # What joined another request has its results.
    has_them = {request.id: request.joined_to or request.id for request in requests}
    since = min([request.observed_at or request.created_at for request in requests])
    about = {"ids": sorted(set(has_them.values())), "since": since}
    profiles: dict[int, dict[str, Any]] = {}
    for row in await transaction.rows(PROFILES, about):
        profiles[row.request_id] = {"dimensions": row.dimensions, "metrics": row.metrics, "source": row.source}
    # A post that two pages showed counts once.
    posts: dict[int, dict[str, dict[str, Any]]] = {}
    for post in await transaction.rows(POSTS, about):
        found = posts.setdefault(post.request_id, {})
        found[post.post_id] = {"dimensions": post.dimensions, "metrics": post.metrics, "source": post.source}
    return [
        Scraped(
            subject, request, profiles.get(has_them[request.id]), list(posts.get(has_them[request.id], {}).values())
        )
        for subject, request in zip(subjects, requests, strict=True)
    ]
