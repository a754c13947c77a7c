"""`beat requests` and `beat why`."""

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from beat_actors.cli.session import Session, out, run, show_json, show_rows
from beat_actors.requests import explain, queries
from beat_actors.requests.explain import Explanation
from beat_actors.requests.queries import Filter


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
    """List requests, newest first, or show one."""
    if request_id is not None:
        show_json(run(lambda session: _one(session, request_id)))
        return
    wanted = Filter(platform=platform, flow=flow, status=status and status.upper(), account_id=account, limit=limit)
    page, counts = run(lambda session: _list(session, wanted))
    if json:
        show_json({"requests": page.requests, "counts": counts})
        return
    rows = [
        (r.id, r.status, r.platform, r.flow, _subject(r.params), r.items, f"{r.created_at:%Y-%m-%d %H:%M:%S}")
        for r in page.requests
    ]
    show_rows(("id", "status", "platform", "flow", "of", "items", "created (UTC)"), rows, empty="no request matches")
    if sys.stdout.isatty():
        out.print("  ".join(f"[dim]{name.lower()}[/] {count}" for name, count in counts.items() if count))


def why(request_id: int, /, *, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Say why a request is not done, when it can be, and what has been tried: every blocker with the time at which it clears."""
    found = run(lambda session: _why(session, request_id))
    if json:
        show_json(found)
        return
    out.print(
        f"[bold]request {request_id}[/] {found.request.platform} {found.request.flow} [bold]{found.request.status}[/]"
    )
    out.print(found.summary)
    blockers: list[tuple[Any, ...]] = [
        (fetch.operation, blocker.source, blocker.credential_id, blocker.why, _clears(blocker.until))
        for fetch in found.fetches
        for blocker in fetch.blockers
    ]
    if blockers:
        out.print()
        show_rows(("fetch", "source", "credential", "why it waits", "clears"), blockers, empty="")
    calls = [
        (f"{c['at']:%H:%M:%S}", c["source"], c["operation"], c["credential_id"], c["status"], c["outcome"], c["code"])
        for c in found.calls
    ]
    if calls:
        out.print()
        show_rows(("at (UTC)", "source", "operation", "credential", "HTTP", "outcome", "code"), calls, empty="")


async def _one(session: Session, request_id: int) -> Any:
    async with session.engine.database.transaction() as transaction:
        return await queries.get_request(transaction, request_id)


async def _list(session: Session, wanted: Filter) -> Any:
    async with session.engine.database.transaction() as transaction:
        page = await queries.list_scrape_data(transaction, wanted)
        return page, await queries.count_by_status(transaction, wanted)


async def _why(session: Session, request_id: int) -> Explanation:
    async with session.engine.database.transaction() as transaction:
        return await explain.why(transaction, request_id)


def _subject(params: dict[str, Any]) -> str:
    return str(next((params[name] for name in ("handle", "profile_id") if name in params), ""))


def _clears(until: Any) -> str:
    return "not without a person" if until is None else f"{until:%H:%M:%S} UTC"
