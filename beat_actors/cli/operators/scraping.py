"""Requests that a person waits for, with what they brought."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beat_actors.cli import operators
from beat_actors.errors import BadInput
from beat_actors.requests.states import Priority
from beat_actors.requests.views import RequestView


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request that is to be made. `subject`: the name that the person typed, which is one of the `params`."""

    platform: str
    flow: str
    subject: str
    params: Mapping[str, Any]
    priority: Priority


@dataclass(frozen=True, slots=True)
class Scraped:
    """A request's end, or how far it is, with what it brought."""

    subject: str
    request: RequestView
    profile: dict[str, Any] | None
    posts: list[dict[str, Any]]


class There(operators.There):
    async def scrape(self, wanted: Sequence[Wanted], timeout: float) -> list[Scraped]:
        """What came is read from what is known now: the profile of that name, and as many of its newest posts as were wanted."""
        from beat_actors.client import REQUESTS, NotThere, Problem  # loads aiohttp, which only this way needs

        deadline = time.monotonic() + timeout
        outcomes = await self.client.submit_many(
            [
                {
                    "platform": one.platform,
                    "flow": one.flow,
                    "params": one.params,
                    "priority": one.priority.name.lower(),
                }
                for one in wanted
            ]
        )
        found = []
        for one, outcome in zip(wanted, outcomes, strict=True):
            if isinstance(outcome, Problem):
                raise BadInput(outcome.detail, field=outcome.field)
            await self.client.wait(outcome.id, max(0.0, deadline - time.monotonic()))
            request = await self.client.fetch(f"{REQUESTS}/{outcome.id}", RequestView)
            profile, posts = None, list[dict[str, Any]]()
            if request.status == "COMPLETE":
                with contextlib.suppress(NotThere):
                    thing = await self.client.get(
                        "profiles", one.platform, one.subject, posts=one.params.get("posts", 12)
                    )
                    profile = {
                        "dimensions": thing.dimensions,
                        "metrics": thing.metrics,
                        "source": thing.freshness.source,
                    }
                    posts = thing.lists.get("posts", [])
            found.append(Scraped(one.subject, request, profile, posts))
        return found
