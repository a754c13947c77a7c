"""`beat requests`, `beat why`, `beat retry` and `beat cancel`."""

import contextlib
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.text import Text

from beat_actors import audit
from beat_actors.cli.output import FAILED, STYLES, out, printable, reason_of, say, show_json, show_rows, tell
from beat_actors.cli.remote import either
from beat_actors.cli.session import Session, who
from beat_actors.client import REQUESTS, Client, NotThere
from beat_actors.requests import explain, lifecycle, queries
from beat_actors.requests import retry as retry_
from beat_actors.requests.explain import Explanation
from beat_actors.requests.queries import Filter, RequestView

Again = tuple[int, list[tuple[int, str]], bool]
"""How many run again, which cannot and why, and whether more match."""


class Listing(msgspec.Struct, frozen=True):
    """A page of requests, and how many there are in each status under the same filter."""

    requests: list[RequestView]
    next_cursor: str | None
    counts: dict[str, int]


def requests(
    request_id: int | None = None,
    /,
    *,
    platform: str | None = None,
    flow: str | None = None,
    status: str | None = None,
    account: str | None = None,
    error: str | None = None,
    uncollected: Annotated[bool, Parameter(negative="")] = False,
    limit: int = 20,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """List requests, newest first, or show one.

    Parameters
    ----------
    request_id
        Show this one alone.
    status
        pending, processing, complete, failed or cancelled.
    error
        The code of what failed them, such as no_available_sources.
    uncollected
        Results that nobody has fetched yet.
    limit
        How many, at most 200.
    """
    if request_id is not None:
        _show(
            either(
                lambda session: _one(session, request_id),
                lambda client: client.fetch(f"{REQUESTS}/{request_id}", RequestView),
            ),
            json,
        )
        return
    wanted = Filter(
        platform=platform,
        flow=flow,
        status=status and status.upper(),
        account_id=account,
        error=error,
        uncollected=uncollected,
        limit=limit,
    )
    page = either(lambda session: _list(session, wanted), lambda client: _list_there(client, wanted))
    if json:
        show_json(page)
        return
    rows = [
        (str(r.id), r.status, r.platform, r.flow, _subject(r.params), r.items, f"{r.created_at:%Y-%m-%d %H:%M:%S}")
        for r in page.requests
    ]
    show_rows(("id", "status", "platform", "flow", "of", "items", "created (UTC)"), rows, empty="no request matches")
    if sys.stdout.isatty() and rows:
        out.print()
        out.print(
            Text("  ".join(f"{count:,} {name.lower()}" for name, count in page.counts.items() if count), style="dim")
        )


def retry(
    request_id: int | None = None,
    /,
    *,
    platform: str | None = None,
    flow: str | None = None,
    status: str = "failed",
    account: str | None = None,
    error: str | None = None,
    limit: int = retry_.MAX_RETRIES,
) -> int:
    """Run again what failed: one request, or the newest that match.

    Exits with 1 if one of them cannot run again.

    Parameters
    ----------
    request_id
        Retry this one alone.
    status
        failed or cancelled.
    error
        The code of what failed them, such as no_available_sources.
    limit
        How many, at most 1,000.
    """
    if request_id is not None:
        either(lambda session: _retry(session, request_id), lambda client: client.retry(request_id))
        say(f"Queued request {request_id} for retry. Follow it: `beat why {request_id}`")
        return 0
    wanted = Filter(platform=platform, flow=flow, status=status.upper(), account_id=account, error=error)
    again, refused, more = either(
        lambda session: _retry_matching(session, wanted, limit), lambda client: _retry_there(client, wanted, limit)
    )
    say(f"{again:,} run again")
    for number, why_not in refused:
        tell(f"{number}: {why_not}")
    if more:
        tell("more match; run it once more")
    return FAILED if refused else 0


def cancel(*request_ids: int, reason: str) -> int:
    """End requests that are not wanted any more. Fetches that other requests wait for go on.

    Exits with 1 if one of them does not exist or has ended already.
    """
    ended = either(
        lambda session: _cancel(session, request_ids, reason), lambda client: _cancel_there(client, request_ids, reason)
    )
    say(f"{len(ended):,} cancelled")
    for request_id in sorted(set(request_ids) - set(ended)):
        tell(f"{request_id}: there is none, or it has ended already")
    return 0 if set(request_ids) == set(ended) else FAILED


def why(request_id: int, /, *, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Say why a request is not done, and when it can be: every blocker with the time at which it clears, and the calls so far."""
    found = either(lambda session: _why(session, request_id), lambda client: _why_there(client, request_id))
    if json:
        show_json(found)
        return
    request = found.request
    head = f"request {request.id}  {request.platform}  {request.flow}  {_subject(request.params)}"
    if sys.stdout.isatty():
        status = Text(request.status, style=STYLES.get(request.status, ""))
        out.print(Text.assemble((printable(head), "bold"), "  ", status))
    else:
        say(printable(f"{head}  {request.status}"))
    say(printable(found.summary))
    if found.eta is not None:
        say(f"Complete at about {found.eta:%Y-%m-%d %H:%M:%S} UTC, as things go now.")
    blockers: list[tuple[object, ...]] = [
        (fetch.operation, blocker.source or "any", _id(blocker.credential_id), blocker.why, _clears(blocker.until))
        for fetch in found.fetches
        for blocker in fetch.blockers
    ]
    if blockers:
        say("")
        show_rows(("fetch", "source", "credential", "why it waits", "clears"), blockers)
    calls = [
        (
            f"{call['at']:%H:%M:%S}",
            call["source"],
            call["operation"],
            _id(call["credential_id"]),
            call["status"],
            call["outcome"],
            None if call["ms"] is None else round(call["ms"]),
            call["code"],
        )
        for call in found.calls
    ]
    if calls:
        say("")
        columns = ("called at (UTC)", "source", "operation", "credential", "HTTP", "outcome", "ms", "code")
        show_rows(columns, calls)


def _show(request: RequestView, json: bool) -> None:
    if json:
        show_json(request)
        return
    error = (request.data or {}).get("error") or (request.data or {}).get("partial") or {}
    lines: list[tuple[str, object]] = [
        ("id", str(request.id)),
        ("status", request.status),
        ("platform", request.platform),
        ("flow", request.flow),
        ("params", ", ".join(f"{name}={value}" for name, value in sorted(request.params.items()))),
        ("priority", request.priority),
        ("account", request.account_id),
        ("created (UTC)", _moment(request.created_at)),
        ("picked", _moment(request.picked_at)),
        ("ended", _moment(request.scraped_at)),
        ("expires", _moment(request.expires_at)),
        ("joined", None if request.joined_to is None else str(request.joined_to)),
        ("tags", ", ".join(f"{name}={value}" for name, value in sorted((request.tags or {}).items())) or None),
        ("items", str(request.items)),
        ("as of", _moment(request.observed_at)),
        ("collected", _moment(request.collected_at)),
        ("source", (request.data or {}).get("source")),
        ("reason", reason_of(error) or None),
    ]
    show_rows(("", ""), [line for line in lines if line[1] is not None])


async def _one(session: Session, request_id: int) -> RequestView:
    async with session.engine.database.transaction() as transaction:
        return await queries.get_request(transaction, request_id)


async def _list(session: Session, wanted: Filter) -> Listing:
    async with session.engine.database.transaction() as transaction:
        page = await queries.list_scrape_data(transaction, wanted)
        return Listing(page.requests, page.next_cursor, await queries.count_by_status(transaction, wanted))


async def _list_there(client: Client, wanted: Filter) -> Listing:
    return await client.fetch(REQUESTS, Listing, {**_fields(wanted), "counts": True, "limit": wanted.limit})


def _fields(wanted: Filter) -> dict[str, Any]:
    """What a filter says, as the API takes it."""
    named = ("platform", "flow", "status", "account_id", "error")
    given = {name: value for name in named if (value := getattr(wanted, name)) is not None}
    return given | ({"uncollected": True} if wanted.uncollected else {})


async def _retry(session: Session, request_id: int) -> None:
    retried = await retry_.retry(session.engine.database, request_id, actor=who())
    await session.wake(retried.platform)


async def _retry_matching(session: Session, wanted: Filter, limit: int) -> Again:
    found = await retry_.retry_matching(session.engine.database, wanted, limit=limit, actor=who())
    for platform in sorted({one.platform for one in found.outcomes if one.error is None}):
        await session.wake(platform)
    refused = [(one.id, str(one.error)) for one in found.outcomes if one.error is not None]
    return len(found.outcomes) - len(refused), refused, found.next_cursor is not None


async def _retry_there(client: Client, wanted: Filter, limit: int) -> Again:
    found = await client.retry_matching(**_fields(wanted), limit=limit)
    refused = [(one["id"], one["detail"]) for one in found.outcomes if "detail" in one]
    return found.retried, refused, found.next_cursor is not None


async def _cancel_there(client: Client, ids: Sequence[int], reason: str) -> list[int]:
    ended = []
    for request_id in ids:
        with contextlib.suppress(NotThere):
            if await client.cancel(request_id, reason) == "CANCELLED":
                ended.append(request_id)
    return ended


async def _cancel(session: Session, ids: Sequence[int], reason: str) -> list[int]:
    async with session.engine.database.transaction() as transaction:
        ended = await lifecycle.cancel(transaction, ids, reason=reason)
        for request_id in ended:
            detail = {"reason": reason}
            await audit.record(
                transaction, actor=who(), action="request.cancel", target=f"request/{request_id}", detail=detail
            )
    return ended


async def _why(session: Session, request_id: int) -> Explanation:
    async with session.engine.database.transaction() as transaction:
        return await explain.why(transaction, request_id, operator=True)


async def _why_there(client: Client, request_id: int) -> Explanation:
    found = await client.fetch(f"{REQUESTS}/{request_id}/explain", Explanation)
    for call in found.calls:
        call["at"] = datetime.fromisoformat(call["at"])
    return found


def _subject(params: dict[str, Any]) -> str:
    return str(next((params[name] for name in ("handle", "profile_id") if name in params), ""))


def _id(value: int | None) -> str | None:
    return None if value is None else str(value)


def _moment(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def _clears(until: datetime | None) -> str:
    return "not without a person" if until is None else f"{until:%Y-%m-%d %H:%M:%S} UTC"
