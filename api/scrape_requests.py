"""/v1/scrape-requests: ask for data, look at requests, explain why one is not done, and cancel one."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from falcon.asgi import Request, Response

from api.access import Scopes, account_is_its_own, account_of, caller_of, operates
from api.body import MAX_LIST_BYTES, read, read_optional
from api.calls import FOLLOW, Call, Calls, answer, up_to
from api.deadline import in_time
from api.finished import SOON, finished
from api.parameters import moment, number, row_id, switch, tags_of, wait_of, whole, word
from api.replies import location, send
from api.resource import Resource
from api.submissions import MANY, TRACED, Submission, SubmissionAnswer, accepted_body, prepared, submit, submit_many
from api.waiting import LONGEST
from beat_actors import audit
from beat_actors.access.keyring import Caller
from beat_actors.access.scopes import Scope
from beat_actors.data.catalog import check_flow
from beat_actors.database import Transaction
from beat_actors.errors import Forbidden, NotFound, StorageUnavailable
from beat_actors.requests import explain, lifecycle, listing, queries, views
from beat_actors.requests.expected import Expected
from beat_actors.requests.explain import Explanation
from beat_actors.requests.intake import check_tags
from beat_actors.requests.views import Filter, Page, RequestView
from beat_actors.shapes import one_of
from beat_actors.text import check_text


class Cancellation(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a cancellation. It may be left out."""

    reason: str = "its requester cancelled it"


LISTED = answer(
    "RequestList",
    requests=list[RequestView],
    next_cursor=str | None,
    counts=dict[str, int] | None,
    counts_complete=bool | None,
)
FILTER: dict[str, Any] = {
    **dict.fromkeys(("platform", "flow", "account_id", "error"), str),
    **dict.fromkeys(("created_after", "created_before"), datetime),
    "batch_id": up_to(2**63 - 1),
    "status": Annotated[str, one_of(views.STATUSES)],
}


class ScrapeRequests(Resource):
    """POST: ask for data once, or up to 1,000 times as `{"requests": […]}`. GET: list requests, which operators know as list_scrape_data."""

    scopes: Scopes = {"POST": Scope.SUBMIT, "GET": Scope.READ}
    calls: Calls = {
        "POST": Call(
            "Create one request, or up to 1,000 as a list.",
            {200: RequestView, 202: SubmissionAnswer},
            body=Submission,
            either=answer("SubmissionList", requests=MANY),
            refusals={400: SubmissionAnswer},
            answer_headers=FOLLOW | {"Idempotency-Replayed": "`true` where the key brought this answer before."},
            query={"wait": up_to(LONGEST)},
            headers={
                "Idempotency-Key": "The same key and the same body get the same answer.",
                "Prefer": "`wait=SECONDS`",
                **TRACED,
            },
        ),
        "GET": Call(
            "List requests, newest first.",
            {200: LISTED},
            query={
                **FILTER,
                "uncollected": bool,
                "counts": bool,
                "cursor": str,
                "limit": up_to(views.MAX_PAGE, least=1),
            },
            tagged=True,
        ),
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        body = await read(req, dict[str, Any], most=MAX_LIST_BYTES)
        if "requests" in body:
            await submit_many(self._provider, body, req, resp)
            return
        caller, wait = caller_of(req), wait_of(req)
        reads = Scope.READ in caller.scopes
        if wait and not reads:
            raise Forbidden("a call that waits reads the request: it also needs the scope read", scope=Scope.READ)
        keyed = req.get_header("Idempotency-Key") is not None
        (accepted,) = await submit(self._provider, [prepared(body, caller, keyed=keyed)], req, resp)
        resp.set_header("Location", location(accepted.id))
        if wait or (reads and accepted.accepted_as in ("stored", "remembered")):
            # The request is committed: the answer must say so, also where the database is away now.
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
        send(resp, accepted_body(accepted))

    async def on_get(self, req: Request, resp: Response) -> None:
        wanted = Filter(
            platform=req.get_param("platform"),
            flow=req.get_param("flow"),
            status=word(req, "status", FILTER["status"]),
            account_id=account_of(caller_of(req), req.get_param("account_id")),
            batch_id=number(req, "batch_id"),
            error=req.get_param("error"),
            created_after=moment(req, "created_after"),
            created_before=moment(req, "created_before"),
            uncollected=switch(req, "uncollected"),
            tags=tags_of(req),
            cursor=req.get_param("cursor"),
            limit=whole(req, "limit", default=50, most=views.MAX_PAGE),
        )
        check_filter(wanted)
        page, (counts, complete) = await in_time(self._list(wanted, counted=switch(req, "counts")))
        body = {"requests": page.requests, "next_cursor": page.next_cursor}
        send(resp, body | {"counts": counts, "counts_complete": complete})

    async def _list(
        self, wanted: Filter, *, counted: bool
    ) -> tuple[Page, tuple[dict[str, int], bool] | tuple[None, None]]:
        async with self._provider.services.database.transaction() as transaction:
            page = await listing.list_scrape_data(transaction, wanted)
            return page, await listing.count_by_status(transaction, wanted) if counted else (None, None)


class AwaitedRequest(RequestView, frozen=True, kw_only=True):
    """A request. `expected`: when it is likely to be complete; null if it has ended, or if that was not asked for."""

    expected: Expected | None = None


class ScrapeRequest(Resource):
    """GET: one request; with `wait`, once it has ended or the time is up; with `expected`, with an estimate of its end."""

    scopes: Scopes = {"GET": Scope.READ}
    calls: Calls = {
        "GET": Call(
            "Get a request. With `wait`, the answer comes when it has ended, or as 202 when the time is up. With `expected`, an estimate of its end is made.",
            {200: AwaitedRequest, 202: AwaitedRequest},
            query={"wait": up_to(LONGEST), "expected": bool},
            headers={"Prefer": "`wait=SECONDS`"},
            answer_headers=FOLLOW,
        )
    }

    async def on_get(self, req: Request, resp: Response, request_id: str) -> None:
        wait, estimated = wait_of(req), switch(req, "expected")
        request = await finished(self._provider, row_id(request_id, "request_id"), caller_of(req), wait, resp)
        if wait and not request.ended:
            resp.status = 202
            resp.set_header("Location", location(request.id))
        expected = None
        if estimated and not request.ended:
            expected = await in_time(self._expected(request.id, caller_of(req)))
        send(resp, AwaitedRequest(**msgspec.structs.asdict(request), expected=expected))

    async def _expected(self, request_id: int, caller: Caller) -> Expected | None:
        async with self._provider.services.database.transaction() as transaction:
            operator = operates(caller) and not account_is_its_own(caller)
            return await explain.expected(transaction, request_id, account_id=caller.account_id, operator=operator)


class Explain(Resource):
    """GET: why a request is not done, and when it can be."""

    scopes: Scopes = {"GET": Scope.READ}
    calls: Calls = {
        "GET": Call(
            "Explain why a request is not done, and when it can be.", {200: Explanation}, named="explain_scrape_request"
        )
    }

    async def on_get(self, req: Request, resp: Response, request_id: str) -> None:
        send(resp, await in_time(self._why(row_id(request_id, "request_id"), caller_of(req))))

    async def _why(self, request_id: int, caller: Caller) -> Explanation:
        operator = operates(caller) and not account_is_its_own(caller)
        async with self._provider.services.database.transaction() as transaction:
            return await explain.why(transaction, request_id, account_id=caller.account_id, operator=operator)


class Cancel(Resource):
    """POST: end a request that has not ended. Fetches that other requests wait for go on."""

    scopes: Scopes = {"POST": Scope.SUBMIT}
    calls: Calls = {
        "POST": Call(
            "Cancel a request. Fetches that other requests share continue.",
            {200: answer("Cancelled", id=int, status=str, location=str)},
            body=Cancellation,
            optional=True,
        )
    }

    async def on_post(self, req: Request, resp: Response, request_id: str) -> None:
        given = await read_optional(req, Cancellation)
        check_text(given.reason, "reason", longest=1000)
        request = await in_time(self._cancel(row_id(request_id, "request_id"), caller_of(req), given.reason))
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


async def own(transaction: Transaction, request_id: int, caller: Caller) -> RequestView:
    """The request, if the caller may change it: one of its account, one of its key, or any for an operator. Raises `NotFound`."""
    request = await queries.get_request(transaction, request_id, account_id=caller.account_id)
    if account_is_its_own(caller) or operates(caller) or request.api_key_id == caller.key_id:
        return request
    raise NotFound(f"there is no request {request_id}")


def check_filter(wanted: Filter) -> None:
    """Raises `BadInput` for a text that no row can hold, and for a platform or a flow that does not exist."""
    for name in ("platform", "flow", "account_id", "error"):
        check_text(getattr(wanted, name) or "", name, longest=255, one_line=True)
    check_flow(wanted.platform, wanted.flow)
    check_tags(wanted.tags)
