"""/v1/stuck: requests that run long, and the way to reclaim them from their worker."""

import msgspec
from falcon.asgi import Request, Response

from api.access import caller_of
from api.body import read
from api.calls import Call, Calls, answer, up_to
from api.operations.reasons import CHANGE, READ, Text
from api.parameters import whole
from api.replies import send
from api.resource import Resource
from beat_actors.requests import stuck


class Reclaim(msgspec.Struct, forbid_unknown_fields=True):
    """`seconds`: for how long a worker must have held work that is taken from it."""

    reason: Text
    seconds: float = stuck.SECONDS


class StuckRequests(Resource):
    """GET: requests that started `?seconds=` ago and have not ended, with what blocks each."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "List long-running requests and what blocks them.",
            {200: answer("StuckRequestList", requests=list[stuck.Stuck])},
            query={"seconds": up_to(stuck.LONGEST, least=1)},
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        seconds = whole(req, "seconds", default=int(stuck.SECONDS), most=stuck.LONGEST)
        send(resp, {"requests": await stuck.stuck(self._provider.services.database, seconds=seconds)})


class StuckRequeue(Resource):
    """POST: take work from workers that have held it for long. Other workers continue it."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call(
            "Reclaim long-running work from its workers.",
            {200: answer("Reclaimed", fetches=int, requests=list[int])},
            body=Reclaim,
        )
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, Reclaim)
        taken = await stuck.requeue(
            self._provider.services.database, seconds=given.seconds, actor=caller_of(req).actor, reason=given.reason
        )
        send(resp, {"fetches": taken.fetches, "requests": list(taken.requests)})
