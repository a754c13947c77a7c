"""/v1/quarantine: list what could not be processed, resolve it, or replay it."""

from typing import Annotated

from falcon.asgi import Request, Response

from api.access import caller_of
from api.body import read
from api.calls import Call, Calls, answer, up_to
from api.operations.reasons import CHANGE, READ, Text
from api.parameters import row_id, whole
from api.replies import send
from api.resource import Resource
from beat_actors import quarantine
from beat_actors.shapes import one_of


class ClusterToResolve(quarantine.Selection, frozen=True, kw_only=True):
    """A cluster of the quarantine, as the caller saw it: no entry after `newest` is resolved. A field that is left out matches any value.
    An empty `path` matches entries without one."""

    reason: Text


class ClusterToReplay(quarantine.Selection, frozen=True, kw_only=True):
    """A cluster that is read again, as the caller saw it. `rate`: entries a second. `stop_at`: the share of payloads, of more than 0 and
    at most 1, that may still be unreadable before the rest is left as it is."""

    reason: Text
    kind: Annotated[str, one_of(quarantine.REPLAYABLE)]
    rate: float = 10.0
    stop_at: float = quarantine.STOP_AT


class Quarantine(Resource):
    """GET: the entries of the quarantine, in clusters of similar ones."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "List quarantined payloads, grouped by error.",
            {200: answer("ClusterList", clusters=list[quarantine.QuarantineCluster])},
            query={"limit": up_to(1000, least=1)},
            named="list_quarantine_clusters",
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        limit = whole(req, "limit", default=100, most=1000)
        async with self._provider.services.database.transaction() as transaction:
            send(resp, {"clusters": await quarantine.clusters(transaction, limit=limit)})


class QuarantineEntry(Resource):
    """GET: one entry."""

    scopes = READ
    calls: Calls = {"GET": Call("Get a quarantine entry.", {200: quarantine.QuarantinedEntry})}

    async def on_get(self, _req: Request, resp: Response, entry_id: str) -> None:
        async with self._provider.services.database.transaction() as transaction:
            send(resp, await quarantine.entry(transaction, row_id(entry_id, "entry_id")))


class QuarantinePayload(Resource):
    """GET: what the provider answered, as text, cut at a million characters."""

    scopes = READ
    calls: Calls = {"GET": Call("Get the payload of a quarantine entry.", {200: quarantine.Payload})}

    async def on_get(self, _req: Request, resp: Response, entry_id: str) -> None:
        send(resp, await quarantine.payload(self._provider.services.database, row_id(entry_id)))


class QuarantineResolve(Resource):
    """POST: take a cluster off the list, once its cause is fixed."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call(
            "Resolve a cluster: it leaves the list and is not replayed.",
            {200: answer("Resolved", resolved=int)},
            body=ClusterToResolve,
        )
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, ClusterToResolve)
        async with self._provider.services.database.transaction() as transaction:
            count = await quarantine.resolve(
                transaction,
                given,
                actor=caller_of(req).actor,
                reason=given.reason,
            )
        send(resp, {"resolved": count})


class QuarantineReplay(Resource):
    """POST: have a cluster read again, some entries a second. Beat asks the provider only for entries whose payload is not kept."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call("Replay a cluster at `rate` entries a second.", {202: quarantine.ReplayPlan}, body=ClusterToReplay)
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, ClusterToReplay)
        async with self._provider.services.database.transaction() as transaction:
            found = await quarantine.replay(
                transaction,
                given,
                rate=given.rate,
                stop_at=given.stop_at,
                actor=caller_of(req).actor,
                reason=given.reason,
            )
        resp.status = 202
        send(resp, found)
