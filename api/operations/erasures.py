"""/v1/erasures: erase a person's data, follow an erasure, and lift it."""

import msgspec
from falcon.asgi import Request, Response

from api.access import caller_of
from api.body import read
from api.calls import Call, Calls, answer, up_to
from api.operations.reasons import CHANGE, READ, Text
from api.parameters import row_id, whole
from api.replies import send
from api.resource import Resource
from beat_actors.privacy import erasures


class PersonToErase(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A person of a platform, by an id or a handle. `dry_run`: count what would be erased, and change nothing."""

    platform: str
    subject: str
    dry_run: bool = True
    reason: Text


class PersonToLift(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An erased person of a platform, by an id or a handle that he had when he was erased."""

    platform: str
    subject: str
    reason: Text


class Erasures(Resource):
    """POST: begin an erasure, which the scheduler carries out. GET: erasures, newest first."""

    scopes = {**CHANGE, **READ}
    calls: Calls = {
        "POST": Call(
            "Erase a person's data from all tables and buckets, or count them (`dry_run`, the default). The scheduler carries it out: get it by its id.",
            {202: erasures.Erasure},
            body=PersonToErase,
            named="begin_erasure",
        ),
        "GET": Call(
            "List erasures, newest first. None says whom it was about.",
            {200: answer("ErasureList", erasures=list[erasures.Erasure])},
            query={"limit": up_to(1000, least=1)},
        ),
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, PersonToErase)
        begun = await erasures.begin(
            self._provider.services.database,
            given.platform,
            given.subject,
            dry_run=given.dry_run,
            actor=caller_of(req).actor,
            reason=given.reason,
        )
        resp.status = 202
        resp.set_header("Location", f"/v1/erasures/{begun.id}")
        send(resp, begun)

    async def on_get(self, req: Request, resp: Response) -> None:
        limit = whole(req, "limit", default=50, most=1000)
        send(resp, {"erasures": await erasures.newest(self._provider.services.database, limit=limit)})


class Erasure(Resource):
    """GET: one erasure."""

    scopes = READ
    calls: Calls = {"GET": Call("Get an erasure: how far it is, and what it erased by table.", {200: erasures.Erasure})}

    async def on_get(self, _req: Request, resp: Response, erasure_id: str) -> None:
        send(resp, await erasures.one(self._provider.services.database, row_id(erasure_id, "erasure_id")))


class ErasureLift(Resource):
    """POST: let a person's data be collected again."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call(
            "Lift the erasures of a person: the data are collected again from the next request on. What was erased stays erased.",
            {200: erasures.Lifted},
            body=PersonToLift,
            named="lift_erasure",
        )
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, PersonToLift)
        send(
            resp,
            await erasures.lift(
                self._provider.services.database,
                given.platform,
                given.subject,
                actor=caller_of(req).actor,
                reason=given.reason,
            ),
        )
