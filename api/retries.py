"""/v1/scrape-requests/…/retry and /v1/scrape-requests/retry: run requests again."""

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
from beat_actors.requests import retry
from beat_actors.requests.queries import Filter
from beat_actors.requests.retry import Retried
from beat_actors.shapes import between, one_of


class RetryFilter(msgspec.Struct, forbid_unknown_fields=True):
    """Which requests to run again. The fields are those of the list's query."""

    platform: str | None = None
    flow: str | None = None
    status: Annotated[str, one_of(retry.RETRYABLE)] = "FAILED"
    account_id: str | None = None
    error: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    cursor: str | None = None
    limit: Annotated[int, between(1, retry.MAX_RETRIES)] = retry.MAX_RETRIES


class Retry(Resource):
    """POST: run a request again that failed or was cancelled."""

    scopes: Scopes = {"POST": Scope.SUBMIT}
    calls: Calls = {
        "POST": Call(
            "Retry a request that failed or was cancelled.",
            {202: answer("RunsAgain", id=int, location=str)},
            tells=FOLLOW,
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
        fields = {name: getattr(given, name) for name in given.__struct_fields__ if name != "limit"}
        account = account_of(caller, given.account_id)
        # A key without an account, and without the scope operate, may only retry its own requests.
        key = None if account_is_its_own(caller) or operates(caller) else caller.key_id
        for name in ("created_after", "created_before"):
            if fields[name] is not None:
                fields[name] = in_utc(fields[name], name)
        fields["status"] = given.status.upper()
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
        self._provider.wakeups.send(sorted({one.platform for one in again}))
        resp.status = 202
        refused = len(found.outcomes) - len(again)
        outcomes = [_retried(one) for one in found.outcomes]
        send(resp, {"retried": len(again), "refused": refused, "outcomes": outcomes, "next_cursor": found.next_cursor})


def _retried(one: Retried) -> dict[str, Any]:
    if one.error is not None:
        return {"id": one.id} | problem(one.error)
    return {"id": one.id, "location": location(one.id)}
