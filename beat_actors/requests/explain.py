"""Why a request is not done, and when it can be: every blocker with the time at which it clears. Derived from rows, at any time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from beat_actors.database import Transaction
from beat_actors.platforms.interface import Outcome
from beat_actors.requests.queries import RequestView, get_request

# Ahead are those of its lane that came before it, and all of more urgent lanes for the same, but for those that wait for a person.
FETCHES = """
SELECT f.id, f.operation, f.page, f.stage, f.source, f.credential_id, f.attempt, f.rotations, f.retries, f.waiting_for, f.not_before,
       f.excluded, f.unreadable, f.error, l.blocked_until, l.reasons, l.sources,
       f.stage IN ('LEASED', 'RETRIEVED', 'INGESTED') AND f.lease_until > clock_timestamp() AS worked_on,
       (SELECT count(*) FROM (
            SELECT FROM scrape_fetch o WHERE f.stage = 'WAITING' AND o.lane_id = f.lane_id AND o.stage = 'WAITING'
                AND o.not_before IS NULL AND o.id < f.id
            UNION ALL
            SELECT FROM lane u JOIN scrape_fetch o ON o.lane_id = u.id AND o.stage = 'WAITING' AND o.not_before IS NULL
            WHERE f.stage = 'WAITING' AND u.platform = l.platform AND u.operation = l.operation AND u.owner = l.owner
                AND u.priority < l.priority AND (u.reasons IS NULL OR u.blocked_until IS NOT NULL)
            LIMIT 10001) ahead) AS ahead
FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id JOIN scrape_request_log r ON r.id = f.request_id AND r.retry_count = f.run
WHERE f.request_id = %s ORDER BY f.id
"""
# How fast the platform goes of late, in leases a second, and how long the flow took from its first lease on. Only the newest rows
# are asked: an estimate need not be more exact than the minute that it is made from.
PACE = """
SELECT clock_timestamp() AS now,
       (SELECT sum(leased) / 60.0 FROM broker_decision WHERE platform = %(platform)s AND at > clock_timestamp() - interval '1 minute')
           ::double precision AS leases,
       (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM scraped_at - picked_at)) FROM (
            SELECT scraped_at, picked_at FROM scrape_request_log
            WHERE id > (SELECT max(id) - 2000 FROM scrape_request_log) AND platform = %(platform)s AND flow = %(flow)s
              AND status = 'COMPLETE' AND picked_at IS NOT NULL ORDER BY id DESC LIMIT 50) done)::double precision AS seconds
"""
CALLS = """
SELECT at, fetch_id, source, operation, credential_id, url, status, ms, outcome, code, detail FROM trace_log
WHERE request_id = %s ORDER BY at
"""


UNKNOWN_TAKES = 2.0
"""Seconds that a flow is taken to need where none of it has been complete of late."""
UNKNOWN_LEASES = 10.0
"""Leases a second that a platform is taken to get where it has had none of late."""


CAME_TO = {
    Outcome.RATE_LIMITED: "the provider said that it is asked too often",
    Outcome.QUOTA_EXHAUSTED: "the provider's quota is used up",
    Outcome.CREDENTIAL_DEAD: "its credential was refused",
    Outcome.PERMISSION_MISSING: "its credential may not do this",
    Outcome.UPSTREAM_DOWN: "the provider is down or did not answer in time",
    Outcome.MALFORMED: "the answer could not be read",
    Outcome.UNKNOWN: "a worker ended while it was asking",
    Outcome.UNUSED: "its turn was over before the call was made",
    Outcome.UNSEEN: "it does not see such a thing, and others may",
    Outcome.DOUBTFUL: "it could not be made sure that the thing does not exist",
}
"""What the last call of a fetch that waits came to, in words."""


class Blocker(msgspec.Struct, frozen=True):
    """Something that must change first. `until` is when it clears by itself; `None` means: not without a person."""

    why: str
    until: datetime | None
    source: str | None = None
    credential_id: int | None = None


class FetchState(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream call that the request needs, and what it waits for. `ahead`: how many are asked before it, capped at 10,001."""

    id: int
    operation: str
    page: int
    stage: str
    source: str | None
    attempts: int
    rotations: int
    retries: int
    ahead: int
    blockers: list[Blocker]
    next_attempt_at: datetime | None
    error: dict[str, Any] | None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """`summary` says it in a sentence; the rest is what it is drawn from.

    `next_attempt_at` is when the first of its waiting fetches can run; `eta` estimates when it is complete, from what is ahead of
    it and how fast the platform has gone of late. `None`: it has ended, or only a person can change what it waits for.
    """

    request: RequestView
    summary: str
    next_attempt_at: datetime | None
    eta: datetime | None
    fetches: list[FetchState]
    calls: list[dict[str, Any]]


async def why(transaction: Transaction, request_id: int, *, account_id: str | None = None) -> Explanation:
    """Raises `NotFound`, also for a request that is not this account's, where one is named.

    Of a request that joined another, the fetches and calls are those of the other. An account is not shown the URLs: one call may
    have answered several requests, of other accounts too.
    """
    request = await get_request(transaction, request_id, account_id=account_id)
    has_them = request.joined_to or request.id
    fetches = [_state(row) for row in await transaction.rows(FETCHES, (has_them,))]
    calls = [row._asdict() for row in await transaction.rows(CALLS, (has_them,))]
    if account_id is not None:
        calls = [{**call, "url": None} for call in calls]
    pace = await transaction.row(PACE, {"platform": request.platform, "flow": request.flow})
    waiting = [fetch for fetch in fetches if fetch.stage == "WAITING"]
    times = [fetch.next_attempt_at for fetch in waiting if fetch.next_attempt_at is not None]
    earliest = min(times, default=None)
    return Explanation(
        request=request,
        summary=_summary(request, fetches, waiting, calls, earliest),
        next_attempt_at=earliest,
        eta=None if request.ended else _eta(request, waiting, earliest, pace),
        fetches=fetches,
        calls=calls,
    )


def _eta(request: RequestView, waiting: list[FetchState], earliest: datetime | None, pace: Any) -> datetime | None:
    if any(fetch.blockers and fetch.next_attempt_at is None for fetch in waiting):
        return None
    now: datetime = pace.now
    takes = timedelta(seconds=pace.seconds if pace.seconds is not None else UNKNOWN_TAKES)
    if not waiting:
        return max((request.picked_at or now) + takes, now)
    ahead = max(fetch.ahead for fetch in waiting)
    leases = pace.leases or UNKNOWN_LEASES
    return max(earliest or now, now) + timedelta(seconds=ahead / leases) + takes


def waits_for(row: Any) -> tuple[list[Blocker], datetime | None]:
    """What a waiting fetch waits for, and when it can run; `row` is a fetch with its lane's `reasons` and `blocked_until`."""
    blockers: list[Blocker] = []
    if row.not_before is not None:
        told = CAME_TO.get(row.waiting_for, row.waiting_for or "its last call failed")
        blockers.append(Blocker(f"it pauses: {told}", row.not_before, row.source))
    for reason in row.reasons or []:
        until = reason.get("until")
        at = None if until is None else datetime.fromtimestamp(until, UTC)
        blockers.append(Blocker(reason["why"], at, reason["source"], reason.get("credential_id")))
    if row.not_before is None:
        return blockers, row.blocked_until
    return blockers, max(row.not_before, row.blocked_until or row.not_before)


def _state(row: Any) -> FetchState:
    blockers, earliest = waits_for(row) if row.stage == "WAITING" else ([], None)
    return FetchState(
        id=row.id,
        operation=row.operation,
        page=row.page,
        stage=row.stage,
        source=row.source,
        attempts=row.attempt,
        rotations=row.rotations,
        retries=row.retries,
        ahead=row.ahead,
        blockers=blockers,
        next_attempt_at=earliest,
        error=row.error,
    )


def _summary(
    request: RequestView,
    fetches: list[FetchState],
    waiting: list[FetchState],
    calls: list[dict[str, Any]],
    earliest: datetime | None,
) -> str:
    made = f"{len(calls)} upstream call{'' if len(calls) == 1 else 's'}"
    if request.status == "COMPLETE":
        return f"It is complete: {request.items} items after {made}."
    if request.status in ("FAILED", "CANCELLED"):
        error = (request.data or {}).get("error", {})
        said = f": {error.get('message')}" if error.get("message") else ""
        return f"It ended {request.status}{said} ({made})."
    blocked = [fetch for fetch in waiting if fetch.blockers]
    if not waiting:
        stages = ", ".join(sorted({fetch.stage.lower() for fetch in fetches if fetch.stage not in ("DONE", "FAILED")}))
        return f"It is being worked on ({stages or 'ending'}), after {made}."
    if not blocked:
        ahead = waiting[0].ahead
        return (
            f"It waits for its turn of the broker; {ahead if ahead <= 10_000 else 'more than 10,000'} are ahead of it."
        )
    first = min(blocked[0].blockers, key=lambda blocker: (blocker.until is None, blocker.until))
    who = f"{first.source}: " if first.source else ""
    when = f"it can run at {earliest:%H:%M:%S} UTC at the earliest" if earliest else "only a person can change that"
    more = len(blocked[0].blockers) - 1
    return f"It waits. The first blocker to clear is {who}{first.why}{f' ({more} more)' if more else ''}; {when}."
