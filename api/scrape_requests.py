"""/v1/scrape-requests: ask for data, look at what was asked for, and why it is not there yet."""

import asyncio
import contextlib
from datetime import datetime
from typing import Any

import msgspec
from falcon.asgi import Request, Response

from api.access import Scopes, account_of, caller_of
from api.body import read_json
from api.problems import problem
from api.services import Provider
from beat_actors.access.keyring import Caller
from beat_actors.access.scopes import Scope
from beat_actors.errors import BadInput, BeatError
from beat_actors.failpoints import hit
from beat_actors.requests import explain, intake, queries
from beat_actors.requests.intake import Accepted, NewRequest, Prepared, Priority
from beat_actors.requests.queries import Filter
from beat_actors.text import check_text

MAX_ITEMS = 1000
RING_WITHIN = 0.5


class Submission(msgspec.Struct, forbid_unknown_fields=True):
    """One request as the API takes it."""

    platform: str
    flow: str
    params: dict[str, Any]
    priority: str = "standard"
    account_id: str | None = None
    expires_at: datetime | None = None


class ScrapeRequests:
    """POST one request, or up to 1,000 as `{"requests": […]}`; GET lists them (operators know it as list_scrape_data)."""

    scopes: Scopes = {"POST": Scope.SUBMIT, "GET": Scope.READ}

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def on_post(self, req: Request, resp: Response) -> None:
        body = await read_json(req)
        if isinstance(body, dict) and "requests" in body:
            await self._many(body, caller_of(req), resp)
            return
        request = prepared(body, caller_of(req), req.get_header("Idempotency-Key"))
        (accepted,) = await self._submit([request])
        resp.status = 202
        resp.set_header("Location", f"/v1/scrape-requests/{accepted.id}")
        send(resp, _accepted(accepted))

    async def _many(self, body: dict[str, Any], caller: Caller, resp: Response) -> None:
        items = body["requests"]
        if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS or len(body) > 1:
            raise BadInput(f"requests is a list of 1 to {MAX_ITEMS} requests, and the only field", field="requests")
        outcomes: list[dict[str, Any]] = []
        good: dict[int, Prepared] = {}
        for i, item in enumerate(items):
            outcomes.append({})
            try:
                good[i] = prepared(item, caller)
            except BeatError as error:
                outcomes[i] = problem(error)
        accepted = await self._submit(list(good.values())) if good else []
        for i, one in zip(good, accepted, strict=True):
            outcomes[i] = _accepted(one)
        resp.status = 202 if good else 400
        send(resp, {"accepted": len(good), "refused": len(items) - len(good), "outcomes": outcomes})

    async def _submit(self, requests: list[Prepared]) -> list[Accepted]:
        services = self._provider.services
        async with services.database.transaction() as transaction:
            accepted = await intake.submit(transaction, requests)
            hit("intake.before_commit")
        hit("intake.after_commit")
        # After the commit; whether the ring is heard makes no difference to what was promised, so it is not waited for long.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RING_WITHIN):
                for platform in sorted({request.request.platform for request in requests}):
                    await services.ring(platform)
        return accepted

    async def on_get(self, req: Request, resp: Response) -> None:
        wanted = Filter(
            platform=req.get_param("platform"),
            flow=req.get_param("flow"),
            status=req.get_param("status"),
            account_id=account_of(caller_of(req), req.get_param("account_id")),
            created_after=moment(req, "created_after"),
            created_before=moment(req, "created_before"),
            cursor=req.get_param("cursor"),
            limit=whole(req, "limit", default=50, most=queries.MAX_PAGE),
        )
        for name in ("platform", "flow", "account_id"):
            check_text(getattr(wanted, name) or "", name, longest=255, one_line=True)
        async with self._provider.services.database.transaction() as transaction:
            page = await queries.list_scrape_data(transaction, wanted)
            counts = await queries.count_by_status(transaction, wanted) if req.get_param("counts") == "true" else None
        send(resp, {"requests": page.requests, "next_cursor": page.next_cursor, "counts": counts})


class ScrapeRequest:
    """GET one request."""

    scopes: Scopes = {"GET": Scope.READ}

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def on_get(self, req: Request, resp: Response, request_id: str) -> None:
        async with self._provider.services.database.transaction() as transaction:
            account = caller_of(req).account_id
            send(resp, await queries.get_request(transaction, row_id(request_id), account_id=account))


class Explain:
    """GET why a request is not done, and when it can be."""

    scopes: Scopes = {"GET": Scope.READ}

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def on_get(self, req: Request, resp: Response, request_id: str) -> None:
        async with self._provider.services.database.transaction() as transaction:
            account = caller_of(req).account_id
            send(resp, await explain.why(transaction, row_id(request_id), account_id=account))


def prepared(item: Any, caller: Caller, idempotency_key: str | None = None) -> Prepared:
    """Check one submission. Raises `BadInput` and its kinds, and `Forbidden` for another account than the caller's."""
    try:
        given = msgspec.convert(item, Submission)
    except msgspec.ValidationError as error:
        raise BadInput(f"the request is not as it should be: {error}") from None
    return intake.prepare(
        NewRequest(
            given.platform,
            given.flow,
            given.params,
            Priority.named(given.priority),
            account_of(caller, given.account_id),
            idempotency_key,
            given.expires_at,
            caller.key_id,
        )
    )


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
    return parsed


def send(resp: Response, value: Any) -> None:
    resp.content_type = "application/json"
    resp.data = msgspec.json.encode(value)


def _accepted(accepted: Accepted) -> dict[str, Any]:
    return {"id": accepted.id, "created": accepted.created, "location": f"/v1/scrape-requests/{accepted.id}"}
