"""`beat scrape`: ask, wait, show."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from beat_actors.cli import operators
from beat_actors.cli.given import expanded
from beat_actors.cli.names import AnyFlow, PlatformName
from beat_actors.cli.operators import ask
from beat_actors.cli.output import FAILED, TABLE, TIMED_OUT, Shape, reason_of, show_list, tell
from beat_actors.cli.session import Session
from beat_actors.client import REQUESTS, Client, NotThere, Problem
from beat_actors.database import Statement, Statements, Transaction
from beat_actors.errors import BadInput
from beat_actors.pipeline.entities import logged
from beat_actors.platforms.interface import Flow, Platform
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.requests import intake, queries
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.queries import RequestView
from beat_actors.requests.states import Priority

DONE = frozenset({"COMPLETE", "FAILED", "CANCELLED"})
FIRST_LOOK, LAST_LOOK = 0.03, 0.5

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
    "cli/scrape.profiles",
    "",
    f"SELECT request_id, dimensions, metrics, source FROM {logged('profile_log', BROUGHT)} l ORDER BY observed_at",  # noqa: S608
    Profile,
)
POSTS = Statement(
    "cli/scrape.posts",
    "",
    f"SELECT request_id, post_id, dimensions, metrics, source FROM {logged('post_log', BROUGHT)} l ORDER BY observed_at",  # noqa: S608
    Post,
)


@dataclass(frozen=True, slots=True)
class Scraped:
    """A request's end, or how far it is, with what it brought."""

    subject: str
    request: RequestView
    profile: dict[str, Any] | None
    posts: list[dict[str, Any]]

    @property
    def reason(self) -> str:
        data = self.request.data or {}
        return reason_of(data.get("error") or data.get("partial") or {})

    def row(self) -> tuple[object, ...]:
        request = self.request
        took = None
        if request.scraped_at is not None:
            took = round((request.scraped_at - request.created_at).total_seconds() * 1000)
        followers = (self.profile or {}).get("metrics", {}).get("followers")
        posts = len(self.posts) if self.profile else None
        source = (self.profile or {}).get("source") or (request.data or {}).get("source")
        return self.subject, request.status, followers, posts, source, took, request.id


def scrape(
    platform: PlatformName,
    handles: list[str],
    /,
    *,
    flow: AnyFlow = None,
    posts: int | None = None,
    priority: str = "customer",
    timeout: float = 60.0,
    shape: Shape = TABLE,
) -> int:
    """Refresh profiles now, wait for them, and show the results.

    Exits with 1 if one of them failed, and with 5 if one has not ended in time (it continues; `beat why ID` explains).

    Parameters
    ----------
    platform
        instagram, or any other; an unknown one is answered with those that exist.
    handles
        Handles of the profiles, or other names that the flow takes; `-` reads them from standard input, `@FILE` from a file, one a line.
    flow
        The flow to run. Without it, the first flow for profiles that takes a name of this shape.
    posts
        How many recent posts are wanted beside each profile; the flow's own number (12) if not given.
    priority
        customer, standard or batch.
    timeout
        Seconds to wait.
    """
    declared = platform_named(platform)
    urgency = Priority.named(priority)
    extra = {} if posts is None else {"posts": posts}
    subjects = expanded(handles)
    wanted = []
    for handle in subjects:
        chosen = declared.flow(flow) if flow else flow_for(declared, handle)
        wanted.append(NewRequest(platform, chosen.name, {_subject(chosen): handle, **extra}, urgency))
    scraped = ask(Here, There, lambda beat: beat.scrape(subjects, wanted, timeout))
    if shape.json or shape.json_lines:
        show_list(
            [{"request": s.request, "profile": s.profile, "posts": s.posts} for s in scraped], (), lambda _: (), shape
        )
    else:
        columns = ("handle", "status", "followers", "posts", "source", "ms", "request")
        show_list(scraped, columns, Scraped.row, shape)
    for one in scraped:
        if one.request.status not in DONE:
            tell(f"{one.subject}: still running after {timeout:g} s. Details: `beat why {one.request.id}`")
        elif one.reason:
            tell(f"{one.subject}: {one.reason}")
    if any(one.request.status not in DONE for one in scraped):
        return TIMED_OUT
    return FAILED if any(one.request.status != "COMPLETE" for one in scraped) else 0


class Here(operators.Here):
    async def scrape(self, subjects: Sequence[str], wanted: Sequence[NewRequest], timeout: float) -> list[Scraped]:
        return await _scrape(self.session, subjects, wanted, timeout)


class There(operators.There):
    async def scrape(self, subjects: Sequence[str], wanted: Sequence[NewRequest], timeout: float) -> list[Scraped]:
        return await _scrape_there(self.client, subjects, wanted, timeout)


async def _scrape_there(
    client: Client, subjects: Sequence[str], wanted: Sequence[NewRequest], timeout: float
) -> list[Scraped]:
    """What came is read from what is known now: the profile of that name, and as many of its newest posts as were wanted."""
    deadline = time.monotonic() + timeout
    outcomes = await client.submit_many(
        [
            {"platform": one.platform, "flow": one.flow, "params": one.params, "priority": one.priority.name.lower()}
            for one in wanted
        ]
    )
    found = []
    for subject, one, outcome in zip(subjects, wanted, outcomes, strict=True):
        if isinstance(outcome, Problem):
            raise BadInput(outcome.detail, field=outcome.field)
        await client.wait(outcome.id, max(0.0, deadline - time.monotonic()))
        request = await client.fetch(f"{REQUESTS}/{outcome.id}", RequestView)
        profile, posts = None, list[dict[str, Any]]()
        if request.status == "COMPLETE":
            with contextlib.suppress(NotThere):
                thing = await client.get("profiles", one.platform, subject, posts=one.params.get("posts", 12))
                profile = {"dimensions": thing.dimensions, "metrics": thing.metrics, "source": thing.freshness.source}
                posts = thing.lists.get("posts", [])
        found.append(Scraped(subject, request, profile, posts))
    return found


def flow_for(platform: Platform, name: str) -> Flow:
    """The flow for a name: of those that do the same as the platform's first flow, the first that takes a name of this shape."""
    first, *_ = platform.flows.values()
    alike = [flow for flow in platform.flows.values() if _stem(flow) == _stem(first)]
    return next((flow for flow in alike if _takes(flow, name)), first)


def _stem(flow: Flow) -> str:
    return flow.name.partition("_by_")[0]


def _takes(flow: Flow, name: str) -> bool:
    try:
        msgspec.convert({_subject(flow): name}, flow.params)
    except msgspec.ValidationError:
        return False
    return True


def _subject(flow: Flow) -> str:
    """The name of the flow's first parameter, which is whom it is about."""
    return msgspec.structs.fields(flow.params)[0].name


async def _scrape(
    session: Session, subjects: Sequence[str], wanted: Sequence[NewRequest], timeout: float
) -> list[Scraped]:
    if session.settings.simulator_url is not None:
        tell("simulated data: the provider simulator answers, not the providers")
    deadline = time.monotonic() + timeout
    accepted = await intake.accept(session.database, wanted)
    await session.wake(wanted[0].platform)
    ids = [one.id for one in accepted]
    await _wait(session, ids, deadline)
    async with session.database.transaction() as transaction:
        return await _result(transaction, subjects, ids)


async def _wait(session: Session, ids: list[int], deadline: float) -> None:
    pause = FIRST_LOOK
    while True:
        async with session.database.transaction() as transaction:
            statuses = set(await transaction.rows(STATUSES, {"ids": ids}))
        if statuses <= DONE or time.monotonic() >= deadline:
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
