"""/v1/brief: what is wrong now and why, or the timeline of a span of time."""

from datetime import datetime

from falcon.asgi import Request, Response

from api.access import caller_of
from api.calls import Call, Calls
from api.operations.reasons import READ
from api.parameters import moment
from api.replies import send
from api.resource import Resource
from beat_actors.access.scopes import Scope
from beat_actors.errors import BadInput
from beat_actors.observe.brief import brief
from beat_actors.observe.page import Brief
from beat_actors.observe.past import past


class BriefPage(Resource):
    """GET: the page. Only a key that may read the audit log is told who did what, and why."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "Tell what is wrong now, since when, why and who is affected, the root cause first; with `since`, the timeline of that time.",
            {200: Brief},
            query={"since": datetime, "until": datetime},
            named="get_brief",
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        since, until = moment(req, "since"), moment(req, "until")
        if until is not None and since is None:
            raise BadInput("until needs since", field="since")
        database = self._provider.services.database
        actors = Scope.ADMIN in caller_of(req).scopes
        if since is None:
            send(resp, await brief(database, actors=actors))
        else:
            send(resp, await past(database, since, until, actors=actors))
