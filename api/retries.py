"""/v1/scrape-requests/…/retry, /v1/scrape-requests/retry and /v1/scrape-requests/cancel: retry one request, or retry or cancel by a filter."""

from dataclasses import fields, replace
from datetime import datetime
from typing import Annotated, Any

import msgspec
from falcon.asgi import Request, Response

from api.access import Scopes, account_is_its_own, account_of, caller_of, is_urgent, operates
from api.body import read
from api.calls import FOLLOW, Call, Calls, answer
from api.deadline import in_time
from api.finished import SOON
from api.parameters import row_id
from api.problems import problem
from api.replies import location, send
from api.resource import Resource
from api.scrape_requests import check_filter, own
from api.submissions import SubmissionOutcome
from beat_actors.access.keyring import Caller
from beat_actors.access.scopes import Scope
from beat_actors.moments import in_utc
from beat_actors.requests import cancelling, retry
from beat_actors.requests.retry import Retried
from beat_actors.requests.views import MAX_RETRIES, Filter
from beat_actors.shapes import between, one_of
from beat_actors.text import check_text


class RetryFilter(msgspec.Struct, forbid_unknown_fields=True):
    """Which requests to run again. The fields are those of the list's query."""

    platform: str | None = None
    flow: str | None = None
    status: Annotated[str, one_of(retry.RETRYABLE)] = "FAILED"
    account_id: str | None = None
    batch_id: Annotated[int, msgspec.Meta(ge=0)] | None = None
    error: str | None = None
    tags: dict[str, str] = {}
    created_after: datetime | None = None
    created_before: datetime | None = None
    cursor: str | None = None
    limit: Annotated[int, between(1, MAX_RETRIES)] = MAX_RETRIES


class Retry(Resource):
    """POST: run a request again that failed or was cancelled."""

    scopes: Scopes = {"POST": Scope.SUBMIT}
    calls: Calls = {
        "POST": Call(
            "Retry a request that failed or was cancelled.",
            {202: answer("RunsAgain", id=int, location=str)},
            answer_headers=FOLLOW,
        )
    }

    async def on_post(self, req: Request, resp: Response, request_id: str) -> None:
        retried = await in_time(self._retry(row_id(request_id, "request_id"), caller_of(req)))
        self._provider.wakeups.send([retried.platform])
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


class RetryMatching(Resource):
    """POST: run all matching requests again, up to 1,000 at once."""

    scopes: Scopes = {"POST": Scope.SUBMIT}
    calls: Calls = {
        "POST": Call(
            "Retry the requests that match a filter, up to 1,000 per call.",
            {
                202: answer(
                    "RetriedMany", retried=int, refused=int, outcomes=list[SubmissionOutcome], next_cursor=str | None
                )
            },
            body=RetryFilter,
        )
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        given, caller = await read(req, RetryFilter), caller_of(req)
        wanted = _filter(given, caller, status=given.status.upper())
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
        self._provider.wakeups.send(sorted({one.platform for one in again}))
        resp.status = 202
        refused = len(found.outcomes) - len(again)
        outcomes = [_retried(one) for one in found.outcomes]
        send(resp, {"retried": len(again), "refused": refused, "outcomes": outcomes, "next_cursor": found.next_cursor})


class CancelFilter(msgspec.Struct, forbid_unknown_fields=True):
    """Which requests to cancel, of those that have not ended. At least one of platform, flow, account_id, batch_id, tags, created_after and
    created_before is needed."""

    platform: str | None = None
    flow: str | None = None
    account_id: str | None = None
    batch_id: Annotated[int, msgspec.Meta(ge=0)] | None = None
    tags: dict[str, str] = {}
    created_after: datetime | None = None
    created_before: datetime | None = None
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)] = "its requester cancelled it"
    cursor: str | None = None
    limit: Annotated[int, between(1, cancelling.MOST)] = cancelling.MOST


class CancelMatching(Resource):
    """POST: cancel the requests that match and have not ended, up to 1,000 at once."""

    scopes: Scopes = {"POST": Scope.SUBMIT}
    calls: Calls = {
        "POST": Call(
            "Cancel the unfinished requests that match a filter, up to 1,000 per call.",
            {200: answer("CancelledMany", cancelled=int, ids=list[int], next_cursor=str | None)},
            body=CancelFilter,
        )
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        given, caller = await read(req, CancelFilter), caller_of(req)
        check_text(given.reason, "reason", longest=1000)
        wanted = _filter(given, caller, unfinished=True)
        # The account of a key does not count: every request of the account matches it.
        cancelling.check_narrow(replace(wanted, account_id=given.account_id))
        work = cancelling.cancel_matching(
            self._provider.services.database, wanted, limit=given.limit, reason=given.reason, actor=caller.actor
        )
        found = await in_time(work)
        send(resp, {"cancelled": len(found.ids), "ids": found.ids, "next_cursor": found.next_cursor})


def _filter(given: RetryFilter | CancelFilter, caller: Caller, **fixed: Any) -> Filter:
    """The filter that a body names, bound to what the caller may change. Raises `BadInput` and `Forbidden`."""
    names = [each.name for each in fields(Filter) if each.name != "limit" and hasattr(given, each.name)]
    found = {name: getattr(given, name) for name in names} | fixed
    found["account_id"] = account_of(caller, given.account_id)
    # A key without an account, and without the scope operate, may only change its own requests.
    found["api_key_id"] = None if account_is_its_own(caller) or operates(caller) else caller.key_id
    for name in ("created_after", "created_before"):
        if found[name] is not None:
            found[name] = in_utc(found[name], name)
    wanted = Filter(**found)
    check_filter(wanted)
    return wanted


def _retried(one: Retried) -> dict[str, Any]:
    if one.error is not None:
        return {"id": one.id} | problem(one.error)
    return {"id": one.id, "location": location(one.id)}
