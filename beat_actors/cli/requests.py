"""`beat requests` and `beat why`."""

import sys
from datetime import datetime
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from beat_actors.cli.output import STYLES, out, printable, reason_of, say, show_json, show_rows
from beat_actors.cli.session import Session, run
from beat_actors.requests import explain, queries
from beat_actors.requests.explain import Explanation
from beat_actors.requests.queries import Filter, Page, RequestView


def requests(
    request_id: int | None = None,
    /,
    *,
    platform: str | None = None,
    flow: str | None = None,
    status: str | None = None,
    account: str | None = None,
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
    limit
        How many, at most 200.
    """
    if request_id is not None:
        _show(run(lambda session: _one(session, request_id)), json)
        return
    wanted = Filter(platform=platform, flow=flow, status=status and status.upper(), account_id=account, limit=limit)
    page, counts = run(lambda session: _list(session, wanted))
    if json:
        show_json({"requests": page.requests, "next_cursor": page.next_cursor, "counts": counts})
        return
    rows = [
        (str(r.id), r.status, r.platform, r.flow, _subject(r.params), r.items, f"{r.created_at:%Y-%m-%d %H:%M:%S}")
        for r in page.requests
    ]
    show_rows(("id", "status", "platform", "flow", "of", "items", "created (UTC)"), rows, empty="no request matches")
    if sys.stdout.isatty() and rows:
        out.print()
        out.print(Text("  ".join(f"{count:,} {name.lower()}" for name, count in counts.items() if count), style="dim"))


def why(request_id: int, /, *, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Say why a request is not done, and when it can be: every blocker with the time at which it clears, and the calls so far."""
    found = run(lambda session: _why(session, request_id))
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
    blockers: list[tuple[Any, ...]] = [
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
    lines: list[tuple[str, Any]] = [
        ("id", str(request.id)),
        ("status", request.status),
        ("platform", request.platform),
        ("flow", request.flow),
        ("params", ", ".join(f"{name}={value}" for name, value in sorted(request.params.items()))),
        ("priority", str(request.priority)),
        ("account", request.account_id),
        ("created (UTC)", _moment(request.created_at)),
        ("picked", _moment(request.picked_at)),
        ("ended", _moment(request.scraped_at)),
        ("expires", _moment(request.expires_at)),
        ("items", str(request.items)),
        ("source", (request.data or {}).get("source")),
        ("reason", reason_of(error) or None),
    ]
    show_rows(("", ""), [line for line in lines if line[1] is not None])


async def _one(session: Session, request_id: int) -> RequestView:
    async with session.engine.database.transaction() as transaction:
        return await queries.get_request(transaction, request_id)


async def _list(session: Session, wanted: Filter) -> tuple[Page, dict[str, int]]:
    async with session.engine.database.transaction() as transaction:
        page = await queries.list_scrape_data(transaction, wanted)
        return page, await queries.count_by_status(transaction, wanted)


async def _why(session: Session, request_id: int) -> Explanation:
    async with session.engine.database.transaction() as transaction:
        return await explain.why(transaction, request_id)


def _subject(params: dict[str, Any]) -> str:
    return str(next((params[name] for name in ("handle", "profile_id") if name in params), ""))


def _id(value: int | None) -> str | None:
    return None if value is None else str(value)


def _moment(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def _clears(until: datetime | None) -> str:
    return "not without a person" if until is None else f"{until:%H:%M:%S} UTC"
