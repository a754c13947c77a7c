"""/v1/held: records that have to be confirmed before they are written, and what a person decides about them."""

from falcon.asgi import Request, Response

from api.access import caller_of
from api.body import read
from api.calls import Call, Calls, answer, up_to
from api.operations.reasons import CHANGE, READ, Reason
from api.parameters import row_id, whole
from api.replies import send
from api.resource import Resource
from beat_actors.holds import operators
from beat_actors.holds.operators import HeldView
from beat_actors.pipeline.deciding import decide


class HeldRecords(Resource):
    """GET: the records that are held, those that wait for a person first."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "List records that have to be confirmed before they are written.",
            {200: answer("HeldRecordList", held=list[HeldView])},
            query={"state": str, "platform": str, "limit": up_to(1000, least=1)},
            named="list_held_records",
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        limit = whole(req, "limit", default=100, most=1000)
        state, platform = req.get_param("state"), req.get_param("platform")
        async with self._provider.services.database.transaction() as transaction:
            found = await operators.listed(transaction, state=state, platform=platform, limit=limit)
        send(resp, {"held": found})


class OneHeldRecord(Resource):
    """GET: one of them, with the served and the held values."""

    scopes = READ
    calls: Calls = {"GET": Call("Get a held record.", {200: HeldView}, named="get_held_record")}

    async def on_get(self, _req: Request, resp: Response, held_id: str) -> None:
        async with self._provider.services.database.transaction() as transaction:
            send(resp, await operators.one(transaction, row_id(held_id, "held_id")))


class DecideHeldRecord(Resource):
    """POST: accept or reject a held record."""

    scopes = CHANGE
    accept: bool

    async def on_post(self, req: Request, resp: Response, held_id: str) -> None:
        given, number = await read(req, Reason), row_id(held_id, "held_id")
        async with self._provider.services.database.transaction() as transaction:
            await decide(transaction, number, accept=self.accept, actor=caller_of(req).actor, reason=given.reason)
            send(resp, await operators.one(transaction, number))


class AcceptHeldRecord(DecideHeldRecord):
    """POST: write a held record."""

    accept = True
    calls: Calls = {
        "POST": Call("Accept a held record: it is written.", {200: HeldView}, body=Reason, named="accept_held_record")
    }


class RejectHeldRecord(DecideHeldRecord):
    """POST: drop a held record."""

    accept = False
    calls: Calls = {
        "POST": Call(
            "Reject a held record: the known values stay.", {200: HeldView}, body=Reason, named="reject_held_record"
        )
    }
