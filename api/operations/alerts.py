"""/v1/alerts: look at alerts and silence them."""

import msgspec
from falcon.asgi import Request, Response

from api.access import caller_of
from api.body import read
from api.calls import Call, Calls, answer, up_to
from api.operations.reasons import CHANGE, READ, Text
from api.parameters import row_id, switch, whole
from api.replies import send
from api.resource import Resource
from beat_actors import alerts


class Silence(msgspec.Struct, forbid_unknown_fields=True):
    reason: Text
    silenced: bool = True


class Alerts(Resource):
    """GET: the open alerts, the gravest first; with `?resolved=true` also the resolved ones."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "List open alerts, the most severe first.",
            {200: answer("AlertList", alerts=list[alerts.AlertView])},
            query={"resolved": bool, "limit": up_to(1000, least=1)},
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        limit, resolved = whole(req, "limit", default=200, most=1000), switch(req, "resolved")
        async with self._provider.services.database.transaction() as transaction:
            found = await alerts.list_alerts(transaction, resolved=resolved, limit=limit)
        send(resp, {"alerts": found})


class AlertSilence(Resource):
    """POST: stop the notifications of an alert, or start them again with `silenced: false`."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call(
            "Mute or unmute an alert.", {200: answer("Silenced", id=int, key=str, silenced=bool)}, body=Silence
        )
    }

    async def on_post(self, req: Request, resp: Response, alert_id: str) -> None:
        given, number = await read(req, Silence), row_id(alert_id, "alert_id")
        async with self._provider.services.database.transaction() as transaction:
            key = await alerts.silence(
                transaction, number, silenced=given.silenced, actor=caller_of(req).actor, reason=given.reason
            )
        send(resp, {"id": number, "key": key, "silenced": given.silenced})
