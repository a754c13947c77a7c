"""/v1/profiles/…/refresh: refresh a profile on demand, within limits. /v1/limits: the state of these limits, and their reset.
/v1/forecast: which of them, and which pools of credentials, will be used up, and when backlogs are done."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from falcon.asgi import Request, Response

from api.access import PRIORITIES, Scopes, account_of, caller_of, owner_of, priority_of
from api.body import read, read_optional
from api.calls import FOLLOW, Call, Calls, answer
from api.problems import STATUS, problem
from api.replies import location, send
from api.resource import Resource
from api.submissions import TRACED
from beat_actors.access.scopes import Scope
from beat_actors.errors import RateLimitError, Standing, TooManyOpen
from beat_actors.quotas import budgets, foreseen, overview, pools
from beat_actors.requests import intake, on_demand
from beat_actors.requests.backlog import BacklogView, backlogs
from beat_actors.text import check_text
from beat_actors.traces.context import parse

PROBLEM, JSON = "application/problem+json", "application/json"


class RefreshOptions(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a refresh. It may be left out."""

    priority: Annotated[str, PRIORITIES] = "standard"
    account_id: str | None = None
    expires_at: datetime | None = None


class LimitResetReason(msgspec.Struct, forbid_unknown_fields=True):
    reason: str


class Refresh(Resource):
    """POST: 202 with the request, which is deferred where a limit has no room for a batch request now; 429 where a limit has no room."""

    scopes: Scopes = {"POST": Scope.SUBMIT}
    calls: Calls = {
        "POST": Call(
            "Refresh a profile on demand, within the limits for on-demand requests.",
            {202: answer("Refreshing", id=int, created=bool, location=str, deferred_to=datetime | None)},
            body=RefreshOptions,
            optional=True,
            headers={"Idempotency-Key": "The same key gets the same answer.", **TRACED},
            answer_headers={
                "Location": FOLLOW["Location"],
                "Idempotency-Replayed": "`true` where the key brought this answer before.",
            },
            refusals={429: answer("Refusal", status=answer("RefusalStatus", type=str, message=str, code=int))},
        )
    }

    async def on_post(self, req: Request, resp: Response, platform: str, name: str) -> None:
        check_text(name, "handle", longest=255)
        given = await read_optional(req, RefreshOptions)
        caller = caller_of(req)
        wanted = on_demand.Refresh(
            platform,
            name,
            priority_of(caller, given.priority),
            account_of(caller, given.account_id),
            req.get_header("Idempotency-Key"),
            given.expires_at,
            caller.key_id,
            owner_of(caller),
            parse(req.get_header("traceparent")),
        )
        services = self._provider.services
        try:
            try:
                async with services.open_requests.room([(wanted.account_id, wanted.api_key_id)]):
                    refreshing = await on_demand.refresh(services.database, services.limits, wanted)
            except TooManyOpen:
                used = intake.key_was_used(services.database, wanted.idempotency_owner, wanted.idempotency_key)
                if not await used:
                    raise
                refreshing = await on_demand.refresh(services.database, services.limits, wanted)
        except RateLimitError as refusal:
            _refuse(req, resp, refusal)
            return
        accepted = refreshing.accepted
        if refreshing.deferred_to is None:
            self._provider.wakeups.send([platform])
        resp.status = 202
        resp.set_header("Location", location(accepted.id))
        _tell(resp, refreshing.standings)
        if refreshing.replayed:
            resp.set_header("Idempotency-Replayed", "true")
        body = {"id": accepted.id, "created": accepted.created, "location": location(accepted.id)}
        send(resp, body | {"deferred_to": refreshing.deferred_to})


class Limits(Resource):
    """GET: each limit, with what is used and left of it, its rate, and when it will be exhausted."""

    scopes: Scopes = {"GET": Scope.OPERATE}
    calls: Calls = {
        "GET": Call(
            "List the limits and what is left of each.", {200: answer("LimitList", limits=list[overview.LimitView])}
        )
    }

    async def on_get(self, _req: Request, resp: Response) -> None:
        send(resp, {"limits": await overview.overview(self._provider.services.limits)})


class Forecast(Resource):
    """GET: which limits and pools of credentials will be used up, when, and how likely that is; when each backlog is done; and what came of the forecasts
    of the last 30 days."""

    scopes: Scopes = {"GET": Scope.OPERATE}
    calls: Calls = {
        "GET": Call(
            "Forecast when limits and the calls of credentials are used up and when backlogs are done, and show how right earlier forecasts were.",
            {
                200: answer(
                    "Forecast",
                    budgets=list[budgets.BudgetView],
                    pools=list[budgets.PoolView],
                    backlogs=list[BacklogView],
                    accuracy=list[budgets.Accuracy],
                )
            },
        )
    }

    async def on_get(self, _req: Request, resp: Response) -> None:
        services = self._provider.services
        found = await foreseen.foresee(services.database, services.limits)
        body = {
            "budgets": found,
            "pools": await pools.foresee(services.database),
            "backlogs": await backlogs(services.database),
        }
        send(resp, body | {"accuracy": await foreseen.accuracy(services.database)})


class LimitReset(Resource):
    """POST: reset the counter of a limit. The audit log keeps who did so, and why."""

    scopes: Scopes = {"POST": Scope.OPERATE}
    calls: Calls = {
        "POST": Call(
            "Reset the counter of a limit. The audit log keeps the reason.",
            {200: answer("LimitEmptied", name=str, used_before=int)},
            body=LimitResetReason,
        )
    }

    async def on_post(self, req: Request, resp: Response, name: str) -> None:
        check_text(name, "name", longest=200)
        given = await read(req, LimitResetReason)
        services = self._provider.services
        used = await overview.reset(
            services.database, services.limits, name, actor=caller_of(req).actor, reason=given.reason
        )
        send(resp, {"name": name, "used_before": used})


def _refuse(req: Request, resp: Response, refusal: RateLimitError) -> None:
    """Answer with a problem, or for `Accept: application/json` with the body that older clients know."""
    resp.status = STATUS[RateLimitError]
    resp.set_header("Retry-After", str(max(1, math.ceil(refusal.retry_after))))
    _tell(resp, refusal.standings, refusal.limit)
    body: dict[str, Any] = problem(refusal)
    resp.content_type = req.client_prefers((PROBLEM, JSON)) or PROBLEM
    if resp.content_type == JSON:
        body = {"status": {"type": "ERROR", "message": refusal.MESSAGE, "code": refusal.NUMBER}}
    resp.data = msgspec.json.encode(body)


def _tell(resp: Response, standings: Sequence[Standing], refused: str | None = None) -> None:
    """Set the headers of the limits: RateLimit-Policy and RateLimit with all of them, the three older headers with the one that has least left."""
    if not standings:
        return
    resp.set_header("RateLimit-Policy", ", ".join(f'"{one.name}";q={one.calls};w={one.seconds}' for one in standings))
    resp.set_header(
        "RateLimit", ", ".join(f'"{one.name}";r={one.left};t={math.ceil(one.renews_in)}' for one in standings)
    )
    # The limit of one handle says nothing about other handles, so it is shown only where it refused the call.
    shared = [one for one in standings if one.name == refused] or [one for one in standings if not one.per_subject]
    narrowest = min(shared or standings, key=lambda one: one.left)
    resp.set_header("RateLimit-Limit", str(narrowest.calls))
    resp.set_header("RateLimit-Remaining", str(narrowest.left))
    resp.set_header("RateLimit-Reset", str(math.ceil(narrowest.renews_in)))
