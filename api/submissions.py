"""What the API takes as a request for data: the shape of one, its checks, and the way into the database for one or many."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import msgspec
from falcon.asgi import Request, Response

from api.access import (
    PRIORITIES,
    account_is_its_own,
    account_of,
    caller_of,
    operates,
    owner_of,
    priority_of,
)
from api.deadline import in_time, uncounted
from api.problems import problem
from api.replies import location, send
from api.services import Provider
from beat_actors.access import grants
from beat_actors.access.keyring import Caller
from beat_actors.access.scopes import Scope
from beat_actors.errors import BadInput, BeatError, Forbidden, SubjectErased, TooManyOpen
from beat_actors.moments import check_ahead
from beat_actors.privacy.erasures import refused
from beat_actors.requests import intake, views
from beat_actors.requests.intake import Accepted, NewRequest, Prepared
from beat_actors.shapes import between, one_of
from beat_actors.traces.context import parse
from beat_actors.wording import explained

MAX_ITEMS = 1000
"""Requests in one call."""
TRACED = {
    "traceparent": "W3C Trace Context: the trace that the request belongs to. One that is not valid is ignored.",
}
AT_A_TIME = 50
"""Requests of a list that are checked before the event loop answers other calls."""


class Submission(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a POST that creates a request."""

    platform: str
    flow: str
    params: dict[str, Any]
    priority: Annotated[str, PRIORITIES] = "standard"
    account_id: str | None = None
    expires_at: datetime | None = None
    max_age: Annotated[float, between(0, intake.MAX_AGE)] = 0.0
    force: bool = False
    tags: dict[str, str] = {}


class SubmissionOutcome(msgspec.Struct, kw_only=True):
    """The outcome of one request of a list: accepted with an id, or a problem with a `detail`."""

    id: int | msgspec.UnsetType = msgspec.UNSET
    accepted_as: Annotated[str, one_of(views.ACCEPTED_AS)] | msgspec.UnsetType = msgspec.UNSET
    location: str | msgspec.UnsetType = msgspec.UNSET
    type: str | msgspec.UnsetType = msgspec.UNSET
    title: str | msgspec.UnsetType = msgspec.UNSET
    status: int | msgspec.UnsetType = msgspec.UNSET
    detail: str | msgspec.UnsetType = msgspec.UNSET
    field: str | msgspec.UnsetType = msgspec.UNSET


class SubmissionAnswer(SubmissionOutcome, kw_only=True):
    """For one request: `id`, `accepted_as` and `location`. For a list: an outcome for each request, in the order of the list."""

    accepted: int | msgspec.UnsetType = msgspec.UNSET
    refused: int | msgspec.UnsetType = msgspec.UNSET
    outcomes: list[SubmissionOutcome] | msgspec.UnsetType = msgspec.UNSET


MANY = Annotated[list[Submission], msgspec.Meta(min_length=1, max_length=MAX_ITEMS)]


async def checked(items: list[Any], caller: Caller, *, keyed: bool) -> tuple[dict[int, Prepared], list[dict[str, Any]]]:
    """The submissions that can be accepted, by their place in the list; and for each place a problem, or an empty outcome. `keyed`: as of `prepared`."""
    good: dict[int, Prepared] = {}
    outcomes: list[dict[str, Any]] = [{} for _ in items]
    for i, item in enumerate(items):
        if i % AT_A_TIME == 0:
            await asyncio.sleep(0)  # let the event loop answer other calls
        try:
            good[i] = prepared(item, caller, keyed=keyed)
        except BeatError as error:
            outcomes[i] = problem(error)
    return good, outcomes


def prepared(item: Any, caller: Caller, *, keyed: bool) -> Prepared:
    """Check one submission. `keyed`: it has an idempotency key, so it may repeat a call that was made before its deadline. Raises `BadInput` and its kinds, and `Forbidden` for an account, a priority or an owner that the key may not use."""
    try:
        given = msgspec.convert(item, Submission)
    except msgspec.ValidationError as error:
        raise explained(error, Submission) from None
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
    if not keyed:
        check_ahead(given.expires_at, "expires_at")
    if found.first.owner is not None and not (account_is_its_own(caller) or operates(caller)):
        raise Forbidden(
            f"{given.flow} uses the credential of its owner: it needs a key of an account that holds the owner, or one with the scope "
            "operate",
            scope=Scope.OPERATE,
        )
    return found


def accepted_body(accepted: Accepted) -> dict[str, Any]:
    """The answer to an accepted request. It is the same each time that an idempotency key repeats the call."""
    return {"id": accepted.id, "accepted_as": accepted.accepted_as, "location": location(accepted.id)}


def traced(requests: list[Prepared], req: Request) -> list[Prepared]:
    """The requests with the trace that the caller sent, if it sent a valid one."""
    context = parse(req.get_header("traceparent"))
    if context is None:
        return requests
    return [replace(one, request=replace(one.request, trace=context)) for one in requests]


async def submit(
    provider: Provider, requests: list[Prepared], req: Request, resp: Response, *, said: Any = None
) -> list[Accepted]:
    """Commit the requests and wake the broker. `said`: what else belongs to the answer, and so to the idempotency key.

    Raises `TooManyOpen`, `Conflict` for a key that came with another body, and the errors of the database.
    """
    key, requests = req.get_header("Idempotency-Key"), traced(requests, req)
    if key is not None:
        requests = intake.keyed(requests, key, owner_of(caller_of(req)), said=said)
    accepted = await in_time(_insert(provider, requests))
    # The requests are committed: a sweep finds them where this message is lost.
    provider.wakeups.send(sorted({item.request.platform for item in requests}))
    if not all(one.created for one in accepted):
        resp.set_header("Idempotency-Replayed", "true")
    return accepted


async def submit_many(provider: Provider, body: dict[str, Any], req: Request, resp: Response) -> None:
    """Answer a list of requests: 202 where at least one is accepted, otherwise 400."""
    items = body["requests"]
    if len(body) > 1:
        others = ", ".join(sorted(set(body) - {"requests"}))[:200]
        raise BadInput(f"beside `requests` no field is taken here (got {others})", field="requests")
    if req.get_param("wait") is not None:
        raise BadInput("wait is for a single request; many are followed by their ids, or as a batch", field="wait")
    keyed = req.get_header("Idempotency-Key") is not None
    good, outcomes = await checked_list(provider, items, caller_of(req), keyed=keyed)
    left_out = [[i, item] for i, item in enumerate(items) if i not in good]
    accepted = await submit(provider, list(good.values()), req, resp, said={"refused": left_out}) if good else []
    for i, one in zip(good, accepted, strict=True):
        outcomes[i] = accepted_body(one)
    resp.status = 202 if good else 400
    send(resp, {"accepted": len(good), "refused": len(items) - len(good), "outcomes": outcomes})


async def checked_list(
    provider: Provider, items: Any, caller: Caller, *, keyed: bool
) -> tuple[dict[int, Prepared], list[dict[str, Any]]]:
    """As `checked`, of what stands in a body as `requests`; an account's grants are asked too. Raises `BadInput` for what is no such list."""
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        got = f"{len(items):,}" if isinstance(items, list) else "no list"
        raise BadInput(f"`requests` must be a list of 1 to {MAX_ITEMS:,} requests (got {got})", field="requests")
    with uncounted():  # the checks use the processor and wait for no store
        async with AsyncExitStack() as stack:
            if len(items) > AT_A_TIME:
                await stack.enter_async_context(provider.room.turns.of(caller.key_id))
            good, outcomes = await checked(items, caller, keyed=keyed)
    await _refuse_ungranted(provider, good, outcomes)
    await _refuse_erased(provider, good, outcomes)
    return good, outcomes


async def _refuse_ungranted(provider: Provider, good: dict[int, Prepared], outcomes: list[dict[str, Any]]) -> None:
    """Take the requests whose account may not use their owner out of `good`, and give each of them a refusal as its outcome."""
    uses = {i: one.use for i, one in good.items() if one.use is not None}
    if not uses:
        return
    async with provider.services.database.statements() as alone:
        missing = await in_time(grants.missing(alone, uses.values()))
    for i, use in uses.items():
        if use in missing:
            del good[i]
            outcomes[i] = problem(grants.refusal(use))


async def _refuse_erased(provider: Provider, good: dict[int, Prepared], outcomes: list[dict[str, Any]]) -> None:
    """Take the requests that name an erased person out of `good`, and give each of them a refusal as its outcome."""
    words = [(i, one.request.platform, word) for i, one in good.items() for word in _words(one.params)]
    if not words:
        return
    async with provider.services.database.statements() as alone:
        found = await in_time(refused(alone, [(platform, word) for _, platform, word in words]))
    for i, platform in {words[place][:2] for place in found}:
        del good[i]
        outcomes[i] = problem(SubjectErased(platform))


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [word for item in items for word in _words(item)]


async def _insert(provider: Provider, requests: list[Prepared]) -> list[Accepted]:
    services = provider.services
    try:
        async with services.open_requests.room((one.request.account_id, one.request.api_key_id) for one in requests):
            return await intake.insert(services.database, requests)
    except TooManyOpen:
        # A key that was used before gets its answer again, and no request is added.
        first = requests[0].request
        if not await intake.key_was_used(services.database, first.idempotency_owner, first.idempotency_key):
            raise
    return await intake.insert(services.database, requests)
