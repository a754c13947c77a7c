"""`beat scrape`: ask, wait, show."""

import asyncio
import time
from typing import Annotated

from cyclopts import Parameter

from beat_actors.cli.session import FAILED, TIMED_OUT, Session, err, run, show_json, show_rows
from beat_actors.errors import NotFound
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.requests import intake, queries
from beat_actors.requests.intake import NewRequest, Priority
from beat_actors.requests.queries import RequestView

DONE = ("COMPLETE", "FAILED", "CANCELLED")


def scrape(
    platform: str,
    handles: list[str],
    /,
    *,
    flow: str = "refresh_profile_by_handle",
    posts: int | None = None,
    priority: str = "customer",
    timeout: float = 60.0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Refresh profiles, wait for them, and show what is known.

    Exits with 1 if one of them failed, and with 5 if one was not done in time (it goes on; `beat why ID` tells).

    Parameters
    ----------
    platform
        instagram
    handles
        The profiles' handles.
    posts
        How many recent posts are wanted beside each profile; the flow's default if not given.
    priority
        customer, standard or batch.
    timeout
        Seconds to wait.
    """
    return run(lambda session: _scrape(session, platform, handles, flow, posts, priority, timeout, json))


async def _scrape(
    session: Session,
    platform: str,
    handles: list[str],
    flow: str,
    posts: int | None,
    priority: str,
    timeout: float,
    json: bool,
) -> int:
    extra = {} if posts is None else {"posts": posts}
    wanted = [NewRequest(platform, flow, {"handle": handle, **extra}, Priority.named(priority)) for handle in handles]
    started = time.monotonic()
    accepted = await intake.accept(session.engine.database, wanted)
    await session.mailbox.ring(platform)
    ids = [one.id for one in accepted]
    views = await _wait(session, ids, started + timeout)
    rows, documents = [], []
    async with session.engine.database.transaction() as transaction:
        for handle, view in zip(handles, views, strict=True):
            try:
                profile = await queries.get_profile(transaction, platform_named(platform), handle, posts=posts or 12)
            except NotFound:
                profile = None
            documents.append({"request": view, "profile": profile})
            error = ((view.data or {}).get("error") or {}).get("message")
            took = (view.scraped_at - view.created_at).total_seconds() * 1000 if view.scraped_at else None
            metrics = profile.metrics if profile else {}
            rows.append(
                (
                    handle,
                    view.status,
                    error or metrics.get("followers"),
                    len(profile.posts) if profile else None,
                    (view.data or {}).get("source"),
                    None if took is None else f"{took:.0f}",
                    view.id,
                )
            )
    if json:
        show_json(documents)
    else:
        show_rows(
            ("handle", "status", "followers", "posts", "source", "ms", "request"), rows, empty="nothing was asked for"
        )
    unfinished = [view.id for view in views if view.status not in DONE]
    for request_id in unfinished:
        err.print(f"beat: request {request_id} is not done after {timeout:g} s; it goes on. See: beat why {request_id}")
    if unfinished:
        return TIMED_OUT
    return FAILED if any(view.status != "COMPLETE" for view in views) else 0


async def _wait(session: Session, ids: list[int], deadline: float) -> list[RequestView]:
    pause = 0.02
    while True:
        async with session.engine.database.transaction() as transaction:
            views = [await queries.get_request(transaction, request_id) for request_id in ids]
        if all(view.status in DONE for view in views) or time.monotonic() > deadline:
            return views
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.5)
