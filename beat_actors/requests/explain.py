"""Why a request is not done, and when it can be: every blocker with the time at which it clears. Derived from rows, at any time."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from beat_actors.database import Statements, Transaction
from beat_actors.database.processes import SEEN_WITHIN
from beat_actors.fetches.states import Stage
from beat_actors.moments import moment
from beat_actors.platforms.interface import UPKEEP, Outcome
from beat_actors.platforms.registry import platforms
from beat_actors.requests import pace
from beat_actors.requests.expected import Expected, no_time, starts
from beat_actors.requests.queries import get_request
from beat_actors.requests.states import Status
from beat_actors.requests.views import RequestView

SQL = Statements(__file__)


class FetchRow(NamedTuple):
    """A fetch with its lane's `reasons` and `blocked_until`. `own`, `urgent`: how many are asked before it, of its tenant and of more urgent lanes."""

    id: int
    operation: str
    page: int
    stage: str
    source: str | None
    credential_id: int | None
    attempt: int
    rotations: int
    retries: int
    waiting_for: str | None
    not_before: datetime | None
    excluded: list[str]
    unreadable: list[str]
    error: dict[str, Any] | None
    reasons: list[dict[str, Any]] | None
    blocked_until: datetime | None
    sources: list[str]
    lane_id: int
    owner: str
    tenant: str
    worked_on: bool | None
    own: int
    urgent: int


class CallRow(NamedTuple):
    """A row of `trace_log`."""

    at: datetime
    fetch_id: int | None
    source: str
    operation: str
    credential_id: int | None
    url: str
    status: int | None
    ms: float | None
    outcome: str
    code: str
    detail: str


FETCHES = SQL("fetches", FetchRow)
FETCHES_OF_ACCOUNT = SQL("fetches_of_account", FetchRow)
CALLS = SQL("calls", CallRow)
UNSERVED = SQL("unserved", bool)

CAME_TO: Mapping[str, str] = {
    Outcome.OK: "it answered",
    Outcome.MISSING: "it says that no such thing exists",
    Outcome.PRIVATE: "it says that the thing is not public",
    Outcome.BAD_REQUEST: "it says that it cannot be asked for like this",
    Outcome.RATE_LIMITED: "the provider rate-limited it",
    Outcome.QUOTA_EXHAUSTED: "the provider's quota is used up",
    Outcome.CREDENTIAL_DEAD: "its credential was refused",
    Outcome.PERMISSION_MISSING: "its credential may not do this",
    Outcome.UPSTREAM_DOWN: "the provider is down or did not answer in time",
    Outcome.UNREACHED: "no connection to the provider came about, so nothing was sent",
    Outcome.MALFORMED: "the answer could not be read",
    Outcome.UNKNOWN: "a worker ended while it was asking",
    Outcome.UNUSED: "its turn was over before the call was made",
    Outcome.UNSEEN: "it does not see such a thing, and others may",
    Outcome.REFUSED: "it refused the call, for a reason that Beat does not know",
    Outcome.TOO_MUCH: "it was asked for too much at once, and is asked for less",
    Outcome.AMBIGUOUS: "it could not be made sure that the thing does not exist",
}
"""What a call came to, in words of our own."""
OPERATORS_ONLY = {"url": None, "credential_id": None, "code": "", "detail": ""}
"""What is not shown of a call to others: it may have answered requests of several accounts, and the words and codes are the provider's."""


class Blocker(msgspec.Struct, frozen=True):
    """A condition that must change before a call can be made. `until`: when it changes automatically; null if it needs manual action."""

    why: str
    until: datetime | None
    source: str | None = None
    credential_id: int | None = None


class FetchState(msgspec.Struct, frozen=True, kw_only=True):
    """One provider call that the request needs, and what the call waits for.

    `ahead`: how many fetches of the same tenant come first: those before this one in its dispatch group, and those in more urgent groups. A key of an
    account sees the fetches of its account counted only. Each of the two numbers is capped at 10,001. `tenants`: how many tenants take turns in the
    group, one lease each, capped at 1,001; only operators see it.
    """

    id: int
    operation: str
    page: int
    stage: str
    source: str | None
    attempts: int
    rotations: int
    retries: int
    ahead: int
    tenants: int | None
    blockers: list[Blocker]
    next_attempt_at: datetime | None
    error: dict[str, Any] | None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """`summary`: the explanation in one sentence. The other fields hold the facts behind the summary. The field `why` of a call says how the call
    ended.

    `next_attempt_at`: when the first waiting fetch can run. `expected`: when the request is likely to be complete, from the number of fetches ahead, the
    rate of leases of late, and the budgets of calls; null if it has ended. `eta`: its `at`, null where that is unknown.
    """

    request: RequestView
    summary: str
    next_attempt_at: datetime | None
    eta: datetime | None
    expected: Expected | None
    fetches: list[FetchState]
    calls: list[dict[str, Any]]


async def why(
    transaction: Transaction, request_id: int, *, account_id: str | None = None, operator: bool = False
) -> Explanation:
    """Raises `NotFound`, also for a request that is not this account's, where one is named.

    The fetches and calls of a follower are those of its leader. Only an `operator` is shown the calls' URLs,
    credentials, and the provider's codes and words, from which secrets were taken. An account counts its own requests alone, and is
    not shown calls that may have answered requests of other accounts too.
    """
    request = await get_request(transaction, request_id, account_id=account_id)
    rows, tenants, fetches = await _fetches(transaction, request, account_id=account_id, operator=operator)
    calls = [
        _call(row, operator) for row in await transaction.rows(CALLS, {"request": request.joined_to or request.id})
    ]
    if account_id is not None:
        calls = [call for call in calls if not _answers_many(request.platform, call)]
    waiting = [fetch for fetch in fetches if fetch.stage == Stage.WAITING]
    times = [fetch.next_attempt_at for fetch in waiting if fetch.next_attempt_at is not None]
    earliest = min(times, default=None)
    expected = await _expected(transaction, request, rows, tenants, waiting, own=account_id is not None)
    return Explanation(
        request=request,
        summary=_summary(request, fetches, waiting, calls, earliest),
        next_attempt_at=earliest,
        eta=None if expected is None else expected.at,
        expected=expected,
        fetches=fetches,
        calls=calls,
    )


async def expected(
    transaction: Transaction, request_id: int, *, account_id: str | None = None, operator: bool = False
) -> Expected | None:
    """When the request is likely to be complete; `None`: it has ended. Raises `NotFound`, as `why`."""
    request = await get_request(transaction, request_id, account_id=account_id)
    rows, tenants, fetches = await _fetches(transaction, request, account_id=account_id, operator=operator)
    waiting = [fetch for fetch in fetches if fetch.stage == Stage.WAITING]
    return await _expected(transaction, request, rows, tenants, waiting, own=account_id is not None)


async def _fetches(
    transaction: Transaction, request: RequestView, *, account_id: str | None, operator: bool
) -> tuple[list[FetchRow], dict[int, int], list[FetchState]]:
    """Of the request, or of its leader; with how many tenants take turns in their lanes."""
    statement = FETCHES if account_id is None else FETCHES_OF_ACCOUNT
    rows = await transaction.rows(statement, {"request": request.joined_to or request.id})
    tenants = await pace.tenants(transaction, rows) if operator else {}
    fetches = [_state(row, operator, tenants.get(row.lane_id)) for row in rows]
    if not request.ended and await transaction.value(UNSERVED, {"platform": request.platform, "seconds": SEEN_WITHIN}):
        fetches = [_unserved(fetch, request.platform, operator) for fetch in fetches]
    return rows, tenants, fetches


async def _expected(
    transaction: Transaction,
    request: RequestView,
    rows: Sequence[FetchRow],
    tenants: Mapping[int, int],
    waiting: Sequence[FetchState],
    *,
    own: bool,
) -> Expected | None:
    if request.ended:
        return None
    for fetch in waiting:
        unknown = no_time(fetch.blockers, fetch.next_attempt_at)
        if unknown is not None:
            return Expected(unknown=unknown)
    begins = [starts(fetch.blockers, fetch.next_attempt_at) for fetch in waiting]
    earliest = min((one for one in begins if one is not None), default=None)
    return await pace.expect(transaction, request, rows, earliest, tenants, own=own)


def _unserved(fetch: FetchState, platform: str, operator: bool) -> FetchState:
    """A waiting fetch of a platform that no running worker has: nothing but a restart helps it."""
    if fetch.stage != Stage.WAITING:
        return fetch
    hint = "; it was installed after they were started: restart the workers" if operator else ""
    blocker = Blocker(f"no running worker has the platform {platform}{hint}", None)
    return msgspec.structs.replace(fetch, blockers=[blocker], next_attempt_at=None)


def _answers_many(platform: str, call: Mapping[str, Any]) -> bool:
    """Whether one such call answers requests of several accounts, as a check of a credential does for all answers that it verifies. It is
    recorded with one of them, so that an account sees none."""
    if call["operation"] in UPKEEP:
        return True
    known = platforms().get(platform)
    source = None if known is None else known.sources.get(call["source"])
    endpoint = None if source is None else source.endpoints.get(call["operation"])
    return endpoint is not None and endpoint.many is not None


class Waiting(Protocol):
    """A fetch with its lane's reasons."""

    @property
    def source(self) -> str | None: ...
    @property
    def waiting_for(self) -> str | None: ...
    @property
    def not_before(self) -> datetime | None: ...
    @property
    def reasons(self) -> list[dict[str, Any]] | None: ...
    @property
    def blocked_until(self) -> datetime | None: ...


def waits_for(row: Waiting, *, operator: bool = False) -> tuple[list[Blocker], datetime | None]:
    """What a waiting fetch waits for, and when it can run; `row` is a fetch with its lane's `reasons` and `blocked_until`.

    Only an `operator` is shown the reasons' hints: owners, and commands to type.
    """
    blockers: list[Blocker] = []
    if row.not_before is not None:
        text = CAME_TO.get(row.waiting_for or "", row.waiting_for or "its last call failed")
        blockers.append(Blocker(f"it pauses: {text}", row.not_before, row.source))
    for reason in row.reasons or []:
        until = reason.get("until")
        at = None if until is None else datetime.fromtimestamp(until, UTC)
        hint = f" ({reason['hint']})" if operator and "hint" in reason else ""
        blockers.append(Blocker(reason["why"] + hint, at, reason["source"], reason.get("credential_id")))
    if row.not_before is None:
        return blockers, row.blocked_until
    return blockers, max(row.not_before, row.blocked_until or row.not_before)


def _call(row: CallRow, operator: bool) -> dict[str, Any]:
    call = {**row._asdict(), "why": CAME_TO.get(row.outcome, "it failed")}
    return call if operator else call | OPERATORS_ONLY


def _state(row: FetchRow, operator: bool, tenants: int | None) -> FetchState:
    blockers, earliest = waits_for(row, operator=operator) if row.stage == Stage.WAITING else ([], None)
    if not operator:
        # What is shut out is told once, and not for each of the credentials that it is true of.
        blockers = list(dict.fromkeys(msgspec.structs.replace(one, credential_id=None) for one in blockers))
    return FetchState(
        id=row.id,
        operation=row.operation,
        page=row.page,
        stage=row.stage,
        source=row.source,
        attempts=row.attempt,
        rotations=row.rotations,
        retries=row.retries,
        ahead=row.own + row.urgent,
        tenants=tenants if row.stage == Stage.WAITING else None,
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
    made = f"{len(calls):,} upstream call{'' if len(calls) == 1 else 's'}"
    if request.status == Status.COMPLETE:
        return f"Complete: {request.items:,} item{'' if request.items == 1 else 's'}, {made}."
    if request.status in (Status.FAILED, Status.CANCELLED):
        error = (request.data or {}).get("error", {})
        said = f": {error.get('message')}" if error.get("message") else ""
        return f"{request.status.capitalize()}{said} ({made})."
    blocked = [fetch for fetch in waiting if fetch.blockers]
    if not waiting:
        stages = ", ".join(
            sorted({fetch.stage.lower() for fetch in fetches if fetch.stage not in (Stage.DONE, Stage.FAILED)})
        )
        return f"In progress ({stages or 'ending'}); {made} so far."
    if not blocked:
        ahead, tenants = waiting[0].ahead, waiting[0].tenants or 1
        text = f"{f'{ahead:,}' if ahead <= 10_000 else 'more than 10,000'} ahead of it"
        if tenants > 1:
            others = f"{tenants - 1:,}" if tenants <= 1_000 else "more than 1,000"
            text += f"; its tenant takes turns with {others} other{'' if tenants == 2 else 's'}"
        return f"Waiting in the queue: {text}."
    first = min(blocked[0].blockers, key=lambda blocker: (blocker.until is None, blocker.until))
    who = f"{first.source}: " if first.source else ""
    more = len(blocked[0].blockers) - 1
    blocker = f"{who}{first.why}{f' ({more} more)' if more else ''}"
    if earliest is None:
        return f"Waiting: {blocker}. It needs manual action."
    return f"Waiting: {blocker}. It can run at {moment(earliest)} at the earliest."
