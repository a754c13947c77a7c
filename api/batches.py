"""/v1/batches: submit many requests under one id, follow them, and cancel them."""

from contextlib import AsyncExitStack
from typing import Any

import msgspec
from falcon.asgi import Request, Response

from api.access import Scopes, account_is_its_own, caller_of, operates, owner_of
from api.body import MAX_LIST_BYTES, read, read_optional
from api.calls import FOLLOW, Call, Calls, answer, up_to
from api.deadline import in_time
from api.finished import when_ended
from api.parameters import page_of, row_id, wait_of
from api.replies import send
from api.resource import Resource
from api.scrape_requests import Cancellation
from api.submissions import MANY, TRACED, SubmissionOutcome, accepted_body, checked_list, traced
from api.waiting import LONGEST
from beat_actors.access.keyring import Caller
from beat_actors.access.scopes import Scope
from beat_actors.errors import BadInput, TooManyOpen
from beat_actors.requests import batches, intake
from beat_actors.requests.batches import BatchPage, BatchView, Reader
from beat_actors.requests.intake import Accepted, Prepared
from beat_actors.text import check_text

SOON = 2
"""Seconds after which a caller should look at a batch again."""


class NewBatch(msgspec.Struct, forbid_unknown_fields=True):
    """`requests`: 1 to 1,000 requests. `more`: further requests will be added, so that the batch stays open."""

    requests: MANY
    more: bool = False


SUBMITTED: dict[str, Any] = {
    "accepted": int,
    "refused": int,
    "outcomes": list[SubmissionOutcome],
}
BATCH_MADE = answer("BatchSubmission", batch=BatchView, **SUBMITTED)
REFUSED = answer("BatchRefusal", **SUBMITTED)
KEYED = {"Idempotency-Key": "The same key and the same body get the same answer.", **TRACED}
REPLAYED = {"Idempotency-Replayed": "`true` where the key brought this answer before."}


def reader_of(caller: Caller) -> Reader:
    """The batches of the key's account; all for an operator; else those that the key made."""
    if account_is_its_own(caller):
        return Reader(account_id=caller.account_id)
    return Reader() if operates(caller) else Reader(key_id=caller.key_id)


class _Resource(Resource):
    async def _found(self, number: int, caller: Caller) -> BatchView:
        async with self._provider.services.database.statements() as alone:
            return await batches.find(alone, number, reader_of(caller))

    async def _given(self, req: Request) -> tuple[NewBatch, dict[int, Prepared], list[dict[str, Any]]]:
        """The body, its requests that can be accepted, keyed, and an outcome for each."""
        body = await read(req, dict[str, Any], most=MAX_LIST_BYTES)
        unknown = sorted(set(body) - {"requests", "more"})
        if unknown:
            raise BadInput(f"`{unknown[0]}` is not known; known here: requests, more", field=unknown[0])
        more = body.get("more", False)
        if not isinstance(more, bool):
            raise BadInput("`more` must be true or false", field="more")
        key = req.get_header("Idempotency-Key")
        good, outcomes = await checked_list(self._provider, body.get("requests"), caller_of(req), keyed=key is not None)
        good = dict(zip(good, traced(list(good.values()), req), strict=True))
        if key is not None and good:
            refused = [[i, item] for i, item in enumerate(body["requests"]) if i not in good]
            said = {"refused": refused, "batch": req.path, "more": more}
            good = dict(
                zip(good, intake.keyed(list(good.values()), key, owner_of(caller_of(req)), said=said), strict=True)
            )
        return NewBatch([], more), good, outcomes

    async def _in_room(self, prepared: list[Prepared], work: Any) -> Any:
        """Run what inserts the requests where their tenants may have so many more open ones, or their key was used before."""
        services = self._provider.services
        async with AsyncExitStack() as stack:
            try:
                tenants = ((one.request.account_id, one.request.api_key_id) for one in prepared)
                await stack.enter_async_context(services.open_requests.room(tenants))
            except TooManyOpen:
                first = prepared[0].request
                if not await intake.key_was_used(services.database, first.idempotency_owner, first.idempotency_key):
                    raise
            return await work()

    async def _answer(
        self,
        req: Request,
        resp: Response,
        number: int,
        good: dict[int, Prepared],
        accepted: list[Accepted],
        outcomes: list[dict[str, Any]],
    ) -> None:
        for i, one in zip(good, accepted, strict=True):
            outcomes[i] = accepted_body(one)
        self._provider.wakeups.send(sorted({item.request.platform for item in good.values()}))
        if not all(one.created for one in accepted):
            resp.set_header("Idempotency-Replayed", "true")
        batch = await in_time(self._found(number, caller_of(req)))
        resp.status = 202
        resp.set_header("Location", batch.location)
        resp.set_header("Retry-After", str(SOON))
        send(resp, {"batch": batch, **_counted(good, outcomes)})


class Batches(_Resource):
    """POST: create a batch of requests. GET: list batches."""

    scopes: Scopes = {"POST": Scope.SUBMIT, "GET": Scope.READ}
    calls: Calls = {
        "POST": Call(
            "Create a batch of up to 1,000 requests; more can be added while it is open.",
            {202: BATCH_MADE},
            body=NewBatch,
            refusals={400: REFUSED},
            headers=KEYED,
            answer_headers=FOLLOW | REPLAYED,
        ),
        "GET": Call(
            "List batches, newest first. Counts are those of batches that have ended.",
            {200: BatchPage},
            query={"limit": up_to(batches.MAX_PAGE, least=1), "cursor": str},
        ),
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        given, good, outcomes = await self._given(req)
        if not good:
            resp.status = 400
            send(resp, _counted(good, outcomes))
            return
        prepared, caller = list(good.values()), caller_of(req)
        accounts = {item.request.account_id for item in prepared}

        async def work() -> tuple[int, list[Accepted]]:
            return await batches.create(
                self._provider.services.database,
                prepared,
                account_id=next(iter(accounts)) if len(accounts) == 1 else None,
                api_key_id=caller.key_id,
                more=given.more,
            )

        number, accepted = await in_time(self._in_room(prepared, work))
        await self._answer(req, resp, number, good, accepted, outcomes)

    async def on_get(self, req: Request, resp: Response) -> None:
        limit, cursor = page_of(req, batches.MAX_PAGE, default=50)
        async with self._provider.services.database.statements() as alone:
            send(resp, await batches.overview(alone, reader_of(caller_of(req)), limit=limit, cursor=cursor))


class BatchRequests(_Resource):
    """POST: add requests to a batch that is open."""

    scopes: Scopes = {"POST": Scope.SUBMIT}
    calls: Calls = {
        "POST": Call(
            "Add up to 1,000 requests to an open batch. Without `more` the batch is closed.",
            {202: BATCH_MADE},
            body=NewBatch,
            refusals={400: REFUSED},
            headers=KEYED,
            answer_headers=FOLLOW | REPLAYED,
            named="add_batch_requests",
        )
    }

    async def on_post(self, req: Request, resp: Response, batch_id: str) -> None:
        number, reader = row_id(batch_id, "batch_id"), reader_of(caller_of(req))
        given, good, outcomes = await self._given(req)
        if not good:
            resp.status = 400
            send(resp, _counted(good, outcomes))
            return
        prepared = list(good.values())

        async def work() -> list[Accepted]:
            database = self._provider.services.database
            return await batches.add(database, number, prepared, reader=reader, more=given.more)

        accepted = await in_time(self._in_room(prepared, work))
        await self._answer(req, resp, number, good, accepted, outcomes)


class Batch(_Resource):
    """GET: a batch with its progress; with `wait`, once it has ended or the time is up."""

    scopes: Scopes = {"GET": Scope.READ}
    calls: Calls = {
        "GET": Call(
            "Get a batch and its progress. With `wait`, the answer comes when it has ended, or as 202 when the time is up.",
            {200: BatchView, 202: BatchView},
            query={"wait": up_to(LONGEST)},
            headers={"Prefer": "`wait=SECONDS`"},
            answer_headers=FOLLOW,
        )
    }

    async def on_get(self, req: Request, resp: Response, batch_id: str) -> None:
        number, caller, wait = row_id(batch_id, "batch_id"), caller_of(req), wait_of(req)
        batch = await when_ended(
            self._provider.waiting_batches,
            number,
            caller.key_id,
            wait,
            resp,
            read=lambda: self._found(number, caller),
            retry_after=_soon,
        )
        if wait and not batch.ended:
            resp.status = 202
            resp.set_header("Location", batch.location)
        send(resp, batch)


class BatchClose(_Resource):
    """POST: add no more requests to a batch."""

    scopes: Scopes = {"POST": Scope.SUBMIT}
    calls: Calls = {"POST": Call("Close a batch: no more requests are added.", {200: BatchView})}

    async def on_post(self, req: Request, resp: Response, batch_id: str) -> None:
        number, caller = row_id(batch_id, "batch_id"), caller_of(req)
        database = self._provider.services.database
        await batches.close(database, number, reader=reader_of(caller), actor=caller.actor)
        send(resp, await self._found(number, caller))


class BatchCancel(_Resource):
    """POST: cancel what has not ended of a batch."""

    scopes: Scopes = {"POST": Scope.SUBMIT}
    calls: Calls = {
        "POST": Call(
            "Cancel the unfinished requests of a batch: up to 1,000 at once, the others within seconds.",
            {202: BatchView},
            body=Cancellation,
            optional=True,
            answer_headers=FOLLOW,
        )
    }

    async def on_post(self, req: Request, resp: Response, batch_id: str) -> None:
        given, number, caller = await read_optional(req, Cancellation), row_id(batch_id, "batch_id"), caller_of(req)
        check_text(given.reason, "reason", longest=1000)
        database = self._provider.services.database
        await in_time(
            batches.cancel(database, number, reader=reader_of(caller), reason=given.reason, actor=caller.actor)
        )
        batch = await in_time(self._found(number, caller))
        resp.status = 202
        resp.set_header("Location", batch.location)
        resp.set_header("Retry-After", str(SOON))
        send(resp, batch)


async def _soon() -> int:
    return SOON


def _counted(good: dict[int, Prepared], outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    return {"accepted": len(good), "refused": len(outcomes) - len(good), "outcomes": outcomes}


ROUTES: dict[str, type[Resource]] = {
    "/v1/batches": Batches,
    "/v1/batches/{batch_id}": Batch,
    "/v1/batches/{batch_id}/requests": BatchRequests,
    "/v1/batches/{batch_id}/close": BatchClose,
    "/v1/batches/{batch_id}/cancel": BatchCancel,
}
