"""/v1/flows: look at flows, and change how many of their calls may be in flight."""

import msgspec
from falcon.asgi import Request, Response

from api.access import Scopes, caller_of
from api.body import read
from api.calls import Call, Calls, answer
from api.operations.reasons import READ, Text
from api.replies import send
from api.resource import Resource
from beat_actors.access.scopes import Scope
from beat_actors.broker import flows
from beat_actors.text import check_text


class FlowChange(msgspec.Struct, forbid_unknown_fields=True):
    """A field that is left out does not change. `null` for a number restores the number that the flow declares.

    `platform`: needed where several platforms have a flow of that name.
    """

    reason: Text
    workers: int | msgspec.UnsetType | None = msgspec.UNSET
    concurrency: int | msgspec.UnsetType | None = msgspec.UNSET
    paused: bool | None = None
    platform: str | None = None


class Flows(Resource):
    """GET: each flow with its concurrency limit, its calls in flight and its waiting fetches."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "List flows with their concurrency limits, calls in flight and waiting fetches.",
            {200: answer("FlowList", flows=list[flows.FlowView])},
            query={"platform": str},
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        platform = req.get_param("platform")
        check_text(platform or "", "platform", longest=100)
        if platform is not None:
            flows.check_platform(platform)
        send(resp, {"flows": await flows.overview(self._provider.services.database, platform=platform)})


class Flow(Resource):
    """PATCH: change the concurrency limit of a flow, or pause it. The change takes effect at once."""

    scopes: Scopes = {"PATCH": Scope.OPERATE}
    calls: Calls = {
        "PATCH": Call(
            "Change the concurrency limit of a flow, pause or resume it.", {200: flows.FlowView}, body=FlowChange
        )
    }

    async def on_patch(self, req: Request, resp: Response, flow: str) -> None:
        given, services = await read(req, FlowChange), self._provider.services
        check_text(flow, "flow", longest=100)
        view = await flows.change(
            services.database,
            flow,
            given.platform,
            workers=given.workers,
            concurrency=given.concurrency,
            paused=given.paused,
            actor=caller_of(req).actor,
            reason=given.reason,
        )
        self._provider.wakeups.send([view.platform])
        send(resp, view)
