"""/v1/blast and /v1/restores: whom wrong observations have reached, and how entities are set right from their logs."""

from typing import Annotated

import msgspec
from falcon.asgi import Request, Response

from api.access import Scopes, caller_of
from api.body import read
from api.calls import Call, Calls, answer, up_to
from api.operations.reasons import CHANGE, READ, Reason, Text
from api.parameters import row_id, whole
from api.replies import send
from api.resource import Resource
from beat_actors.access.scopes import Scope
from beat_actors.restoring import jobs
from beat_actors.restoring.blast import Blast, blast
from beat_actors.restoring.selection import Selection

BOTH: Scopes = {"GET": Scope.OPERATE, "POST": Scope.OPERATE}
Restored = answer("RestoreList", restores=list[jobs.RestoreView])


class RestoreBody(jobs.NewRestore, frozen=True, kw_only=True):
    """A selection of wrong observations, and whether entities are set right at once (`apply`) or what would change is only said."""

    reason: Text


class UndoToken(Reason, kw_only=True):
    """The `token` of a restore."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class BlastRadius(Resource):
    """POST: which entities, fields and consumers wrong observations have reached. It changes nothing."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call(
            "Say which entities and consumers the selected observations have reached.",
            {200: Blast},
            body=Selection,
            named="get_blast_radius",
        )
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        send(resp, await blast(self._provider.services.database, await read(req, Selection)))


class Restores(Resource):
    """GET: restores, the newest first. POST: plan one, or apply it at once."""

    scopes = BOTH
    calls: Calls = {
        "GET": Call(
            "List restores, the newest first.", {200: Restored}, query={"limit": up_to(jobs.MOST_LISTED, least=1)}
        ),
        "POST": Call(
            "Plan a restore of the entities that wrong observations have changed, or apply it at once.",
            {202: jobs.RestoreView},
            body=RestoreBody,
        ),
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        limit = whole(req, "limit", default=50, most=jobs.MOST_LISTED)
        async with self._provider.services.database.transaction() as transaction:
            send(resp, {"restores": await jobs.restores(transaction, limit=limit)})

    async def on_post(self, req: Request, resp: Response) -> None:
        new = await read(req, RestoreBody)
        async with self._provider.services.database.transaction() as transaction:
            made = await jobs.create(transaction, new, actor=caller_of(req).actor)
        resp.status = 202
        send(resp, made)


class Restore(Resource):
    """GET: one restore, with what it changes."""

    scopes = READ
    calls: Calls = {"GET": Call("Get a restore.", {200: jobs.RestoreView})}

    async def on_get(self, _req: Request, resp: Response, restore_id: str) -> None:
        async with self._provider.services.database.transaction() as transaction:
            send(resp, await jobs.restore(transaction, row_id(restore_id, "restore_id")))


class RestoreApply(Resource):
    """POST: do what was planned."""

    scopes = CHANGE
    calls: Calls = {"POST": Call("Apply a planned restore.", {202: jobs.RestoreView}, body=Reason)}

    async def on_post(self, req: Request, resp: Response, restore_id: str) -> None:
        given = await read(req, Reason)
        async with self._provider.services.database.transaction() as transaction:
            found = await jobs.apply(
                transaction, row_id(restore_id, "restore_id"), actor=caller_of(req).actor, reason=given.reason
            )
        resp.status = 202
        send(resp, found)


class RestoreCancel(Resource):
    """POST: stop. What was set right stays, and can be undone."""

    scopes = CHANGE
    calls: Calls = {"POST": Call("Stop a restore.", {200: jobs.RestoreView}, body=Reason)}

    async def on_post(self, req: Request, resp: Response, restore_id: str) -> None:
        given = await read(req, Reason)
        async with self._provider.services.database.transaction() as transaction:
            found = await jobs.cancel(
                transaction, row_id(restore_id, "restore_id"), actor=caller_of(req).actor, reason=given.reason
            )
        send(resp, found)


class RestoresUndo(Resource):
    """POST: put back what a restore changed."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call("Put back what a restore changed.", {202: jobs.RestoreView}, body=UndoToken, named="undo_restore")
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, UndoToken)
        async with self._provider.services.database.transaction() as transaction:
            found = await jobs.undo(transaction, given.token, actor=caller_of(req).actor, reason=given.reason)
        resp.status = 202
        send(resp, found)
