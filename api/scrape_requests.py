"""/v1/scrape-requests: ask for data, look at what was asked for, why it is not there yet, end it, run it again."""

import asyncio
import math
import random
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Annotated, Any

import msgspec
from falcon.asgi import Request, Response

from api.access import Scopes, account_of, caller_of, is_urgent, owner_of, priority_of
from api.body import MAX_LIST_BYTES, read, read_optional
from api.calls import FOLLOW, Call, Calls, answer, up_to
from api.patience import elsewhere, in_time
from api.problems import problem
from api.services import Provider
from api.waiting import COME_BACK, LONGEST, LOOK_WITHIN
from beat_actors import audit
from beat_actors.access import grants
from beat_actors.access.keyring import Caller
from beat_actors.access.scopes import Scope
from beat_actors.database import Transaction
from beat_actors.errors import BadInput, BeatError, Forbidden, NotFound, StorageTooSlow, StorageUnavailable, TooManyOpen
from beat_actors.moments import in_utc
from beat_actors.requests import explain, intake, lifecycle, queries, retry
from beat_actors.requests.explain import Explanation
from beat_actors.requests.intake import Accepted, NewRequest, Prepared, Priority
from beat_actors.requests.queries import Filter, Page, RequestView
from beat_actors.requests.retry import Retried
from beat_actors.shapes import between, one_of
from beat_actors.text import check_text

MAX_ITEMS = 1000
AT_A_TIME = 50
"""Requests of a list that are checked before others are answered."""
SOON = 1
"""Seconds after which to look again at what was just accepted."""


PRIORITIES = one_of(priority.name.lower() for priority in Priority)


class Submission(msgspec.Struct, forbid_unknown_fields=True):
    """One request as the API takes it."""

    platform: str
    flow: str
    params: dict[str, Any]
    priority: Annotated[str, PRIORITIES] = "standard"
    account_id: str | None = None
    expires_at: datetime | None = None
    max_age: Annotated[float, between(0, intake.MAX_AGE)] = 0.0
    force: bool = False
    tags: dict[str, str] = {}


class Cancellation(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a cancel; it may be left out."""

    reason: str = "its requester cancelled it"


class Matching(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be retried."""

    platform: str | None = None
    flow: str | None = None
    status: Annotated[str, one_of(retry.RETRYABLE)] = "FAILED"
    account_id: str | None = None
    error: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    cursor: str | None = None
    limit: Annotated[int, between(1, retry.MAX_RETRIES)] = retry.MAX_RETRIES


class Outcome(msgspec.Struct, kw_only=True):
    """What became of one of many: accepted with an id, or a problem with a `detail`."""

    id: int | msgspec.UnsetType = msgspec.UNSET
    accepted_as: Annotated[str, one_of(queries.ACCEPTED_AS)] | msgspec.UnsetType = msgspec.UNSET
    location: str | msgspec.UnsetType = msgspec.UNSET
    type: str | msgspec.UnsetType = msgspec.UNSET
    title: str | msgspec.UnsetType = msgspec.UNSET
    status: int | msgspec.UnsetType = msgspec.UNSET
    detail: str | msgspec.UnsetType = msgspec.UNSET
    field: str | msgspec.UnsetType = msgspec.UNSET


class AcceptedAnswer(Outcome, kw_only=True):
    """Of one request: `id`, `accepted_as` and `location`. Of many: an outcome for each, in their order."""

    accepted: int | msgspec.UnsetType = msgspec.UNSET
    refused: int | msgspec.UnsetType = msgspec.UNSET
    outcomes: list[Outcome] | msgspec.UnsetType = msgspec.UNSET


LISTED = answer("Requests", requests=list[RequestView], next_cursor=str | None, counts=dict[str, int] | None)
FILTER: dict[str, Any] = {
    **dict.fromkeys(("platform", "flow", "account_id", "error"), str),
    **dict.fromkeys(("created_after", "created_before"), datetime),
    "status": Annotated[str, one_of(queries.STATUSES)],
}
MANY = Annotated[list[Submission], msgspec.Meta(min_length=1, max_length=MAX_ITEMS)]


class ScrapeRequests:
    """POST one request, or up to 1,000 as `{"requests": […]}`; GET lists them (operators know it as list_scrape_data)."""

    scopes: Scopes = {"POST": Scope.SUBMIT, "GET": Scope.READ}
    calls: Calls = {
        "POST": Call(
            "Ask for data, once or up to 1,000 times.",
            {200: RequestView, 202: AcceptedAnswer},
            body=Submission,
            either=answer("Submissions", requests=MANY),
            refusals={400: AcceptedAnswer},
            tells=FOLLOW | {"Idempotency-Replayed": "`true` where the key brought this answer before."},
            query={"wait": up_to(LONGEST)},
            headers={
                "Idempotency-Key": "The same key and the same body get the same answer.",
                "Prefer": "`wait=SECONDS`",
            },
        ),
        "GET": Call(
            "What was asked for, newest first.",
            {200: LISTED},
            query={**FILTER, "uncollected": bool, "counts": bool, "cursor": str, "limit": up_to(queries.MAX_PAGE)},
        ),
    }

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def on_post(self, req: Request, resp: Response) -> None:
        body = await read(req, dict[str, Any], most=MAX_LIST_BYTES)
        if "requests" in body:
            await self._many(body, req, resp)
            return
        caller, wait = caller_of(req), wait_of(req)
        reads = Scope.READ in caller.scopes
        if wait and not reads:
            raise Forbidden("to wait for the answer is to read it, and this key cannot", scope=Scope.READ)
        (accepted,) = await self._submit([prepared(body, caller)], req, resp)
        resp.set_header("Location", location(accepted.id))
        if wait or (reads and accepted.accepted_as == "stored"):
            # What was accepted is committed: whatever happens to the database now, it is not answered as if it were not.
            try:
                request = await finished(self._provider, accepted.id, caller, wait, resp)
            except StorageUnavailable:
                request = None
            if request is not None and request.ended:
                resp.status = 200
                send(resp, request)
                return
        resp.status = 202
        if resp.get_header("Retry-After") is None:
            resp.set_header("Retry-After", str(SOON))
        send(resp, _accepted(accepted))

    async def _many(self, body: dict[str, Any], req: Request, resp: Response) -> None:
        items = body["requests"]
        if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS or len(body) > 1:
            raise BadInput(f"requests is a list of 1 to {MAX_ITEMS} requests, and the only field", field="requests")
        if req.get_param("wait") is not None:
            raise BadInput("wait is for a single request; many are followed by their ids", field="wait")
        caller = caller_of(req)
        with elsewhere():  # a thousand are looked at, and nobody is waited for
            async with AsyncExitStack() as stack:
                if len(items) > AT_A_TIME:
                    await stack.enter_async_context(self._provider.room.turns.of(caller.key_id))
                good, outcomes = await _checked(items, caller)
        await self._refuse_ungranted(good, outcomes)
        refused = [[i, item] for i, item in enumerate(items) if i not in good]
        accepted = await self._submit(list(good.values()), req, resp, said={"refused": refused}) if good else []
        for i, one in zip(good, accepted, strict=True):
            outcomes[i] = _accepted(one)
        resp.status = 202 if good else 400
        send(resp, {"accepted": len(good), "refused": len(items) - len(good), "outcomes": outcomes})

    async def _refuse_ungranted(self, good: dict[int, Prepared], outcomes: list[dict[str, Any]]) -> None:
        """Take out of `good` what uses an owner that its account may not use, each with a refusal of its own."""
        uses = {i: one.use for i, one in good.items() if one.use is not None}
        if not uses:
            return
        async with self._provider.services.database.statements() as alone:
            refused = await in_time(grants.missing(alone, uses.values()))
        for i, use in uses.items():
            if use in refused:
                del good[i]
                outcomes[i] = problem(grants.refusal(use))

    async def _submit(
        self, requests: list[Prepared], req: Request, resp: Response, *, said: Any = None
    ) -> list[Accepted]:
        key = req.get_header("Idempotency-Key")
        if key is not None:
            requests = intake.keyed(requests, key, owner_of(caller_of(req)), said=said)
        accepted = await in_time(self._insert(requests))
        # After the commit; whether the ring is heard makes no difference to what was promised.
        self._provider.bell.ring(sorted({item.request.platform for item in requests}))
        if not all(one.created for one in accepted):
            resp.set_header("Idempotency-Replayed", "true")
        return accepted

    async def _insert(self, requests: list[Prepared]) -> list[Accepted]:
        services = self._provider.services
        try:
            async with services.open_requests.room(
                (one.request.account_id, one.request.api_key_id) for one in requests
            ):
                return await intake.insert(services.database, requests)
        except TooManyOpen:
            first = requests[0].request
            if not await intake.key_was_used(services.database, first.idempotency_owner, first.idempotency_key):
                raise
        return await intake.insert(services.database, requests)

    async def on_get(self, req: Request, resp: Response) -> None:
        wanted = Filter(
            platform=req.get_param("platform"),
            flow=req.get_param("flow"),
            status=req.get_param("status"),
            account_id=account_of(caller_of(req), req.get_param("account_id")),
            error=req.get_param("error"),
            created_after=moment(req, "created_after"),
            created_before=moment(req, "created_before"),
            uncollected=switch(req, "uncollected"),
            cursor=req.get_param("cursor"),
            limit=whole(req, "limit", default=50, most=queries.MAX_PAGE),
        )
        check_filter(wanted)
        page, counts = await in_time(self._list(wanted, counted=switch(req, "counts")))
        send(resp, {"requests": page.requests, "next_cursor": page.next_cursor, "counts": counts})

    async def _list(self, wanted: Filter, *, counted: bool) -> tuple[Page, dict[str, int] | None]:
        async with self._provider.services.database.transaction() as transaction:
            page = await queries.list_scrape_data(transaction, wanted)
            return page, await queries.count_by_status(transaction, wanted) if counted else None


class ScrapeRequest:
    """GET one request; with `wait`, once it has ended or the time is up."""

    scopes: Scopes = {"GET": Scope.READ}
    calls: Calls = {
        "GET": Call(
            "One request; with `wait`, once it has ended, or 202 when the time is up.",
            {200: RequestView, 202: RequestView},
            query={"wait": up_to(LONGEST)},
            headers={"Prefer": "`wait=SECONDS`"},
            tells=FOLLOW,
        )
    }

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def on_get(self, req: Request, resp: Response, request_id: str) -> None:
        wait = wait_of(req)
        request = await finished(self._provider, row_id(request_id), caller_of(req), wait, resp)
        if wait and not request.ended:
            resp.status = 202
            resp.set_header("Location", location(request.id))
        send(resp, request)


class Explain:
    """GET why a request is not done, and when it can be."""

    scopes: Scopes = {"GET": Scope.READ}
    calls: Calls = {"GET": Call("Why a request is not done, and when it can be.", {200: Explanation})}

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def on_get(self, req: Request, resp: Response, request_id: str) -> None:
        send(resp, await in_time(self._why(row_id(request_id), caller_of(req))))

    async def _why(self, request_id: int, caller: Caller) -> Explanation:
        operator = operates(caller) and not account_is_its_own(caller)
        async with self._provider.services.database.transaction() as transaction:
            return await explain.why(transaction, request_id, account_id=caller.account_id, operator=operator)


class Cancel:
    """POST ends a request that has not ended. Fetches that others wait for go on."""

    scopes: Scopes = {"POST": Scope.SUBMIT}
    calls: Calls = {
        "POST": Call(
            "End a request; fetches that others wait for go on.",
            {200: answer("Cancelled", id=int, status=str, location=str)},
            body=Cancellation,
            optional=True,
        )
    }

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def on_post(self, req: Request, resp: Response, request_id: str) -> None:
        given = await read_optional(req, Cancellation)
        check_text(given.reason, "reason", longest=1000)
        request = await in_time(self._cancel(row_id(request_id), caller_of(req), given.reason))
        send(resp, {"id": request.id, "status": request.status, "location": location(request.id)})

    async def _cancel(self, request_id: int, caller: Caller, reason: str) -> RequestView:
        async with self._provider.services.database.transaction() as transaction:
            request = await own(transaction, request_id, caller)
            ended = await lifecycle.cancel(transaction, [request_id], reason=reason)
            if ended:
                target, detail = f"request/{request_id}", {"reason": reason}
                await audit.record(
                    transaction, actor=caller.actor, action="request.cancel", target=target, detail=detail
                )
            return await queries.get_request(transaction, request.id)


class Retry:
    """POST runs a request again that failed or was cancelled."""

    scopes: Scopes = {"POST": Scope.SUBMIT}
    calls: Calls = {
        "POST": Call(
            "Run a request again that failed or was cancelled.",
            {202: answer("RunsAgain", id=int, location=str)},
            tells=FOLLOW,
        )
    }

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def on_post(self, req: Request, resp: Response, request_id: str) -> None:
        retried = await in_time(self._retry(row_id(request_id), caller_of(req)))
        self._provider.bell.ring([retried.platform])
        resp.status = 202
        resp.set_header("Location", location(retried.id))
        resp.set_header("Retry-After", str(SOON))
        send(resp, {"id": retried.id, "location": location(retried.id)})

    async def _retry(self, request_id: int, caller: Caller) -> Retried:
        database = self._provider.services.database
        async with database.transaction() as transaction:
            request = await own(transaction, request_id, caller)
        async with self._provider.services.open_requests.room([(request.account_id, request.api_key_id)]):
            return await retry.retry(database, request_id, actor=caller.actor, urgent=is_urgent(caller))


class RetryMatching:
    """POST runs again what matches, up to 1,000 at once."""

    scopes: Scopes = {"POST": Scope.SUBMIT}
    calls: Calls = {
        "POST": Call(
            "Run again what matches, up to 1,000 at once.",
            {202: answer("RetriedMany", retried=int, refused=int, outcomes=list[Outcome], next_cursor=str | None)},
            body=Matching,
        )
    }

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def on_post(self, req: Request, resp: Response) -> None:
        given, caller = await read(req, Matching), caller_of(req)
        fields = {name: getattr(given, name) for name in given.__struct_fields__ if name != "limit"}
        account = account_of(caller, given.account_id)
        # A key that is of no account, and does not operate, has none but its own requests.
        key = None if account_is_its_own(caller) or operates(caller) else caller.key_id
        for name in ("created_after", "created_before"):
            if fields[name] is not None:
                fields[name] = in_utc(fields[name], name)
        wanted = Filter(**fields | {"account_id": account, "api_key_id": key})
        check_filter(wanted)
        database = self._provider.services.database
        urgent = is_urgent(caller)
        retried = retry.retry_matching(
            database,
            wanted,
            limit=given.limit,
            actor=caller.actor,
            urgent=urgent,
            room=self._provider.services.open_requests.room,
        )
        found = await in_time(retried)
        again = [one for one in found.outcomes if one.error is None]
        self._provider.bell.ring(sorted({one.platform for one in again}))
        resp.status = 202
        refused = len(found.outcomes) - len(again)
        outcomes = [_retried(one) for one in found.outcomes]
        send(resp, {"retried": len(again), "refused": refused, "outcomes": outcomes, "next_cursor": found.next_cursor})


def operates(caller: Caller) -> bool:
    return Scope.OPERATE in caller.scopes


def account_is_its_own(caller: Caller) -> bool:
    return caller.account_id is not None


async def own(transaction: Transaction, request_id: int, caller: Caller) -> RequestView:
    """The request, if the caller may change it: its account's, its key's, or anybody's for who operates. Raises `NotFound`."""
    request = await queries.get_request(transaction, request_id, account_id=caller.account_id)
    if account_is_its_own(caller) or operates(caller) or request.api_key_id == caller.key_id:
        return request
    raise NotFound(f"there is no request {request_id}")


async def finished(provider: Provider, request_id: int, caller: Caller, wait: int, resp: Response) -> RequestView:
    """The request, as soon as it has ended, or after `wait` seconds; sets `Retry-After` where it has not. No time is waited for
    where as many wait already as may. Of many waits whose time is up at once some are answered as the request was when they began.

    Raises `NotFound`. No connection is held while it waits.
    """
    if not wait:
        return await in_time(_read(provider, request_id, caller))
    request = await _looked(provider, request_id, caller)
    if request.ended:
        return request
    waiting, ended = provider.waiting, False
    if waiting.room(caller.key_id):
        with elsewhere():
            ended = await waiting.until_ended(request_id, wait, caller.key_id)
        if ended or not waiting.looks.full(caller.key_id):
            request = await _looked(provider, request_id, caller)
            if not request.ended:
                resp.set_header("Retry-After", str(await in_time(_retry_after(provider, request_id))))
            return request
    resp.set_header("Retry-After", str(random.randint(*COME_BACK)))
    return request


async def _looked(provider: Provider, request_id: int, caller: Caller) -> RequestView:
    """The request, read when it is the turn of the key. Raises `StorageTooSlow` where the reads before it take too long."""
    async with AsyncExitStack() as place:
        try:
            with elsewhere():
                async with asyncio.timeout(LOOK_WITHIN):
                    await place.enter_async_context(provider.waiting.looks.of(caller.key_id))
        except TimeoutError:
            raise StorageTooSlow("the reads of other waits of the key were not done in time") from None
        return await in_time(_read(provider, request_id, caller))


async def _read(provider: Provider, request_id: int, caller: Caller) -> RequestView:
    async with provider.services.database.statements() as alone:
        request = await queries.get_request(alone, request_id, account_id=caller.account_id)
        # Who looks at what somebody else asked for does not collect it.
        if account_is_its_own(caller) or request.api_key_id == caller.key_id:
            return await queries.collect(alone, request)
        return request


async def _retry_after(provider: Provider, request_id: int) -> int:
    async with provider.services.database.statements() as alone:
        seconds = await queries.clears_in(alone, request_id)
    return SOON if seconds is None else max(SOON, min(LONGEST, math.ceil(seconds)))


async def _checked(items: list[Any], caller: Caller) -> tuple[dict[int, Prepared], list[dict[str, Any]]]:
    """Those of these submissions that can be accepted, by their place; and for each place a problem, or nothing yet."""
    good: dict[int, Prepared] = {}
    outcomes: list[dict[str, Any]] = [{} for _ in items]
    for i, item in enumerate(items):
        if i % AT_A_TIME == 0:
            await asyncio.sleep(0)  # let others be answered
        try:
            good[i] = prepared(item, caller)
        except BeatError as error:
            outcomes[i] = problem(error)
    return good, outcomes


def prepared(item: Any, caller: Caller) -> Prepared:
    """Check one submission. Raises `BadInput` and its kinds, and `Forbidden` for another account than the caller's or a priority that its
    key may not ask for."""
    try:
        given = msgspec.convert(item, Submission)
    except msgspec.ValidationError as error:
        raise BadInput(f"the request is not as it should be: {error}") from None
    found = intake.prepare(
        NewRequest(
            given.platform,
            given.flow,
            given.params,
            priority_of(caller, given.priority),
            account_of(caller, given.account_id),
            expires_at=given.expires_at,
            api_key_id=caller.key_id,
            max_age=given.max_age,
            force=given.force,
            tags=given.tags,
        )
    )
    if found.first.owner is not None and not (account_is_its_own(caller) or operates(caller)):
        raise Forbidden(
            f"{given.flow} uses the credential of its owner: it needs a key of an account that holds the owner, or one with the scope "
            "operate",
            scope=Scope.OPERATE,
        )
    return found


def check_filter(wanted: Filter) -> None:
    """Raises `BadInput` for text that no row can hold."""
    for name in ("platform", "flow", "account_id", "error"):
        check_text(getattr(wanted, name) or "", name, longest=255, one_line=True)


def wait_of(req: Request) -> int:
    """For how many seconds the caller would wait: `wait` of the query, or of a Prefer header (RFC 7240), which only asks."""
    if req.get_param("wait") is not None:
        return whole(req, "wait", default=0, most=LONGEST)
    for preference in (req.get_header("Prefer") or "").split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        text = value.strip().strip('"')
        if name.strip().lower() == "wait" and text.isascii() and text.isdigit() and len(text) <= 9:
            return min(int(text), LONGEST)
    return 0


def location(request_id: int) -> str:
    return f"/v1/scrape-requests/{request_id}"


def row_id(text: str) -> int:
    """Raises `BadInput` for what is not the number of a row."""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) >= 2**63:
        raise BadInput("a request's id is a number", field="id")
    return int(text)


def whole(req: Request, name: str, *, default: int, most: int) -> int:
    """A query parameter that is a whole number from 0 to `most`."""
    text = req.get_param(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > most:
        raise BadInput(f"{name} is a whole number up to {most}", field=name)
    return int(text)


def switch(req: Request, name: str) -> bool:
    """A query parameter that is `true` or `false`."""
    text = req.get_param(name) or "false"
    if text not in ("true", "false"):
        raise BadInput(f"{name} is true or false", field=name)
    return text == "true"


def moment(req: Request, name: str) -> datetime | None:
    """A query parameter that is an instant with its time zone."""
    text = req.get_param(name)
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise BadInput(f"{name} is a time with its zone, such as 2030-01-31T12:00:00Z", field=name)
    return in_utc(parsed, name)


def send(resp: Response, value: Any) -> None:
    resp.content_type = "application/json"
    resp.data = msgspec.json.encode(value)


def _accepted(accepted: Accepted) -> dict[str, Any]:
    """The same, however often an idempotency key brings the answer again."""
    return {"id": accepted.id, "accepted_as": accepted.accepted_as, "location": location(accepted.id)}


def _retried(one: Retried) -> dict[str, Any]:
    if one.error is not None:
        return {"id": one.id} | problem(one.error)
    return {"id": one.id, "location": location(one.id)}
