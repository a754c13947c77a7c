"""`beat scrape`: ask, wait, show."""

from typing import Annotated

import msgspec
from cyclopts import Parameter

from beat_actors.cli.given import expanded
from beat_actors.cli.names import AnyFlow, PlatformName
from beat_actors.cli.operators import ask, scraping
from beat_actors.cli.operators.scraping import Scraped, Wanted
from beat_actors.cli.output import FAILED, TABLE, TIMED_OUT, Shape, reason_of, show_list, tell
from beat_actors.platforms.interface import Flow, Platform
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.requests.states import ENDED, Priority


def scrape(
    platform: PlatformName,
    /,
    *handles: Annotated[str, Parameter(required=True)],
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
        How many recent posts are wanted beside each profile. The default is that of the flow: 12 for most platforms, 0 for youtube.
    priority
        customer, standard or batch.
    timeout
        Seconds to wait.
    """
    declared = platform_named(platform)
    urgency = Priority.named(priority)
    extra = {} if posts is None else {"posts": posts}
    wanted = []
    for handle in expanded(handles):
        chosen = declared.flow(flow) if flow else flow_for(declared, handle)
        wanted.append(Wanted(platform, chosen.name, handle, {_subject(chosen): handle, **extra}, urgency))
    scraped = ask(scraping.There, lambda beat: beat.scrape(wanted, timeout))
    if shape.json or shape.json_lines:
        show_list(
            [{"request": s.request, "profile": s.profile, "posts": s.posts} for s in scraped], (), lambda _: (), shape
        )
    else:
        columns = ("handle", "status", "followers", "posts", "source", "ms", "request")
        show_list(scraped, columns, _row, shape)
    for one in scraped:
        if one.request.status not in ENDED:
            tell(f"{one.subject}: still running after {timeout:g} s. Details: `beat why {one.request.id}`")
        elif _reason(one):
            tell(f"{one.subject}: {_reason(one)}")
    if any(one.request.status not in ENDED for one in scraped):
        return TIMED_OUT
    return FAILED if any(one.request.status != "COMPLETE" for one in scraped) else 0


def _reason(one: Scraped) -> str:
    data = one.request.data or {}
    return reason_of(data.get("error") or data.get("partial") or {})


def _row(one: Scraped) -> tuple[object, ...]:
    request = one.request
    took = None
    if request.scraped_at is not None:
        took = round((request.scraped_at - request.created_at).total_seconds() * 1000)
    followers = (one.profile or {}).get("metrics", {}).get("followers")
    posts = len(one.posts) if one.profile else None
    source = (one.profile or {}).get("source") or (request.data or {}).get("source")
    return one.subject, request.status, followers, posts, source, took, request.id


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
