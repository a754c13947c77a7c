"""`beat requests`, `beat why`, `beat watch`, `beat retry` and `beat cancel`."""

import asyncio
import sys
import time
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from beat_actors.cli.given import expanded, number
from beat_actors.cli.ids import AnyFailedRequest, AnyRequest, OpenRequest, UnfinishedRequest
from beat_actors.cli.names import AnyFlow, AnyPlatform, AnyStatus
from beat_actors.cli.operators import ask
from beat_actors.cli.operators.requests import There
from beat_actors.cli.output import (
    FAILED,
    STYLES,
    TABLE,
    TIMED_OUT,
    Flag,
    Shape,
    out,
    printable,
    reason_of,
    say,
    show_fields,
    show_json,
    show_list,
    show_rows,
    tell,
)
from beat_actors.errors import BadInput
from beat_actors.moments import moment
from beat_actors.requests.expected import Expected
from beat_actors.requests.explain import Explanation
from beat_actors.requests.states import ENDED
from beat_actors.requests.views import MAX_RETRIES, Filter, RequestView

EVERY = 0.5
"""Seconds between two looks at a request that is watched."""


def requests(
    request: AnyRequest = None,
    /,
    *,
    platform: AnyPlatform = None,
    flow: AnyFlow = None,
    status: AnyStatus = None,
    account: str | None = None,
    error: str | None = None,
    uncollected: Flag = False,
    limit: int = 20,
    shape: Shape = TABLE,
) -> None:
    """List requests, newest first, or show one.

    Parameters
    ----------
    request
        Show this one alone.
    status
        pending, processing, complete, failed or cancelled.
    error
        The code of the error that failed them, such as no_available_sources.
    uncollected
        Only results that have not been read.
    limit
        How many, at most 200.
    """
    if request is not None:
        wanted_id = number(request, "request")
        _show(ask(There, lambda beat: beat.one(wanted_id)), shape)
        return
    _check_names(platform, flow)
    wanted = Filter(
        platform=platform,
        flow=flow,
        status=status and status.upper(),
        account_id=account,
        error=error,
        uncollected=uncollected,
        limit=limit,
    )
    page = ask(There, lambda beat: beat.page(wanted))
    show_list(
        page.requests,
        ("id", "status", "platform", "flow", "subject", "items", "created", "error"),
        lambda r: (r.id, r.status, r.platform, r.flow, subject_of(r), r.items, r.created_at, _error_of(r).get("code")),
        shape,
        spare=("items", "platform", "created"),
        empty="no request matches",
    )
    if sys.stdout.isatty() and page.requests and shape == TABLE:
        counts = (f"{count:,} {name.lower()}" for name, count in page.counts.items() if count)
        out.print()
        out.print(Text("  ".join(counts), style="dim"))


def retry(
    request: AnyFailedRequest = None,
    /,
    *,
    platform: AnyPlatform = None,
    flow: AnyFlow = None,
    status: AnyStatus = None,
    account: str | None = None,
    error: str | None = None,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    limit: int = MAX_RETRIES,
) -> int:
    """Retry failed requests: one, or the newest that match. Each retry may cost calls of providers.

    Exits with 1 if one of them cannot be retried.

    Parameters
    ----------
    request
        Retry this one alone.
    status
        failed (the default) or cancelled.
    error
        The code of the error that failed them, such as no_available_sources.
    every
        Retry all that failed, of every platform and account.
    limit
        How many, at most 1,000.
    """
    if request is not None:
        wanted_id = number(request, "request")
        ask(There, lambda beat: beat.retry(wanted_id))
        say(f"Queued request {wanted_id} for retry. Follow it: `beat watch {wanted_id}`")
        return 0
    if not every and not any((platform, flow, status, account, error)):
        raise BadInput(
            "nothing was retried: name a request, or filter by --platform, --flow, --status, --account or --error; --all retries all that failed"
        )
    _check_names(platform, flow)
    wanted = Filter(platform=platform, flow=flow, status=(status or "failed").upper(), account_id=account, error=error)
    again, refused, more = ask(There, lambda beat: beat.retry_matching(wanted, limit))
    say(f"Queued {again:,} {'request' if again == 1 else 'requests'} for retry")
    for request_id, why_not in refused:
        tell(f"{request_id}: {why_not}")
    if more:
        tell("more requests match; run the command once more")
    return FAILED if refused else 0


def cancel(*requests: OpenRequest, reason: str) -> int:
    """Cancel requests. Fetches that other requests wait for continue.

    Exits with 1 if one of them does not exist or has ended already.

    Parameters
    ----------
    requests
        Their ids; `-` reads them from standard input, `@FILE` from a file, one a line.
    reason
        Kept in the audit log.
    """
    ids = [number(word, "request") for word in expanded(requests)]
    if not ids:
        raise BadInput("nothing was cancelled: name the requests, such as `beat cancel 17 18 --reason …`")
    ended = ask(There, lambda beat: beat.cancel(ids, reason=reason))
    say(f"{len(ended):,} cancelled")
    for request_id in sorted(set(ids) - set(ended)):
        tell(f"request {request_id} was not found or has already ended")
    return 0 if set(ids) == set(ended) else FAILED


def _expected(found: Expected) -> str:
    if found.at is None:
        return f"When it is complete is not known: {found.unknown or found.basis}."
    earliest = moment(found.earliest or found.at)
    between = f"after {earliest}" if found.latest is None else f"between {earliest} and {moment(found.latest)}"
    return f"Expected to be complete at about {moment(found.at)}, in four cases of five {between}: {found.basis}."


def why(request: UnfinishedRequest, /, *, json: Flag = False) -> None:
    """Explain why a request is not done, and when it can be: each blocker with the time at which it clears, and the calls so far."""
    wanted_id = number(request, "request")
    found = ask(There, lambda beat: beat.why(wanted_id))
    if json:
        show_json(found)
        return
    _say_head(found.request)
    say(printable(found.summary))
    if found.expected is not None:
        say(_expected(found.expected))
    if found.request.trace_id:
        say(f"Its trace is {found.request.trace_id}.")
    blockers: list[tuple[object, ...]] = [
        (fetch.operation, blocker.source or "any", blocker.credential_id, blocker.why, _clears(blocker.until))
        for fetch in found.fetches
        for blocker in fetch.blockers
    ]
    if blockers:
        say("")
        show_rows(("fetch", "source", "credential", "why it waits", "clears"), blockers, prose=("why it waits",))
    calls = [
        (
            call["at"],
            call["source"],
            call["operation"],
            call["credential_id"],
            call["status"],
            call["outcome"],
            None if call["ms"] is None else round(call["ms"]),
            call["code"],
        )
        for call in found.calls
    ]
    if calls:
        say("")
        columns = ("called at", "source", "operation", "credential", "HTTP", "outcome", "ms", "code")
        show_rows(columns, calls)


def watch(request: OpenRequest, /, *, timeout: float = 600.0) -> int:
    """Follow a request until it ends: a line for each change, then how it ended.

    Exits with 1 if it failed or was cancelled, and with 5 if it has not ended in time (it continues).

    Parameters
    ----------
    timeout
        Seconds to wait.
    """
    wanted_id = number(request, "request")

    async def follow(beat: There) -> Explanation:
        deadline, told = time.monotonic() + timeout, ""
        while True:
            found = await beat.why(wanted_id)
            line = f"{found.request.status}  {found.summary}"
            if line != told:
                say(f"{moment(datetime.now(UTC))}  {printable(line)}")
                told = line
            if found.request.status in ENDED or time.monotonic() >= deadline:
                return found
            await asyncio.sleep(EVERY)

    ended = ask(There, follow).request
    if ended.status not in ENDED:
        tell(f"request {wanted_id} has not ended after {timeout:g} s. Details: `beat why {wanted_id}`")
        return TIMED_OUT
    return 0 if ended.status == "COMPLETE" else FAILED


def _say_head(request: RequestView) -> None:
    head = f"request {request.id}  {request.platform}  {request.flow}  {subject_of(request)}"
    if sys.stdout.isatty():
        status = Text(request.status, style=STYLES.get(request.status, ""))
        out.print(Text.assemble((printable(head), "bold"), "  ", status))
    else:
        say(printable(f"{head}  {request.status}"))


def _show(request: RequestView, shape: Shape) -> None:
    if shape.json or shape.json_lines:
        show_json(request)
        return
    lines: list[tuple[str, object]] = [
        ("id", str(request.id)),
        ("status", request.status),
        ("platform", request.platform),
        ("flow", request.flow),
        ("params", ", ".join(f"{name}={value}" for name, value in sorted(request.params.items()))),
        ("priority", request.priority),
        ("account", request.account_id),
        ("created", request.created_at),
        ("started", request.picked_at),
        ("finished", request.scraped_at),
        ("expires", request.expires_at),
        ("joined", None if request.joined_to is None else str(request.joined_to)),
        ("tags", ", ".join(f"{name}={value}" for name, value in sorted((request.tags or {}).items())) or None),
        ("items", str(request.items)),
        ("as of", request.observed_at),
        ("read", request.collected_at),
        ("source", (request.data or {}).get("source")),
        ("trace", request.trace_id or None),
        ("reason", reason_of(_error_of(request)) or None),
    ]
    show_fields(lines)


def _check_names(platform: str | None, flow: str | None) -> None:
    """Raises `UnknownPlatform` and `UnknownFlow`."""
    if platform is not None or flow is not None:
        from beat_actors.broker.flows import flow_known
        from beat_actors.platforms.registry import platform as platform_named

        if platform is not None:
            platform_named(platform)
        if flow is not None:
            flow_known(flow, platform)


def _error_of(request: RequestView) -> dict[str, Any]:
    data = request.data or {}
    return data.get("error") or data.get("partial") or {}


def subject_of(request: RequestView) -> str:
    """Whom or what a request is about: the first parameter that names something."""
    params = request.params
    named = ("handle", "profile_id", "store", "username", "post_id", "shortcode", "hashtag", "user_id", "q")
    return str(next((params[name] for name in named if name in params), next(iter(params.values()), "")))


def _clears(until: datetime | None) -> str:
    return "needs manual action" if until is None else moment(until)
