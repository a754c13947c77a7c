"""/v1/keys: the keys of the API. The text of a key is only in the answer that makes it."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from falcon.asgi import Request, Response

from api.access import Scopes, caller_of
from api.body import read
from api.calls import Call, Calls, answer, up_to
from api.parameters import whole
from api.replies import send
from api.resource import Resource
from beat_actors.access import keys, scopes
from beat_actors.access.keys import GRACE, LONGEST_LIFE, RATE_LIMIT, Created, KeyView, NewKey
from beat_actors.access.scopes import Scope
from beat_actors.errors import BadInput
from beat_actors.shapes import one_of

LONGEST = int(LONGEST_LIFE.total_seconds())


class NewApiKey(msgspec.Struct, forbid_unknown_fields=True):
    """The body that makes a key. `expires_in`: seconds."""

    name: str
    scopes: list[Annotated[str, one_of(Scope)]]
    account_id: str | None = None
    rate_limit: int = RATE_LIMIT
    expires_in: Annotated[int, msgspec.Meta(ge=1, le=LONGEST)] | None = None


HANDED_OVER: Any = answer("WebhookHandedOver", id=int, secret=str)
MADE_FIELDS: dict[str, Any] = {"id": int, "key": str, "prefix": str, "expires_at": datetime | None}
MADE = answer("KeyMade", **MADE_FIELDS)


class Keys(Resource):
    """GET: list the keys. POST: make one."""

    scopes: Scopes = {"GET": Scope.ADMIN, "POST": Scope.ADMIN}
    calls: Calls = {
        "GET": Call("List API keys, without their secret parts.", {200: answer("KeyList", keys=list[KeyView])}),
        "POST": Call("Create an API key. The key is in this answer only.", {201: MADE}, body=NewApiKey),
    }

    async def on_get(self, _req: Request, resp: Response) -> None:
        async with self._provider.services.database.transaction() as transaction:
            send(resp, {"keys": await keys.overview(transaction)})

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, NewApiKey)
        life = None if given.expires_in is None else timedelta(seconds=given.expires_in)
        new = NewKey(given.name, scopes.named(given.scopes), given.account_id, given.rate_limit, life)
        async with self._provider.services.database.transaction() as transaction:
            created = await keys.create(transaction, new, actor=caller_of(req).actor)
        resp.status = 201
        send(resp, _shown(created))


class Key(Resource):
    """DELETE: revoke a key, by its id or its prefix. The audit log keeps `?reason=`."""

    scopes: Scopes = {"DELETE": Scope.ADMIN}
    calls: Calls = {
        "DELETE": Call(
            "Revoke a key by its id, its prefix or its text.",
            {200: answer("Revoked", id=int, revoked=bool, was_alive=bool, webhooks_paused=list[int])},
            query={"reason": str},
            needs=frozenset({"reason"}),
            named="revoke_key",
        )
    }

    async def on_delete(self, req: Request, resp: Response, key: str) -> None:
        reason = req.get_param("reason")
        if not reason:
            raise BadInput("say why, as ?reason=…; it is kept in the audit log", field="reason")
        async with self._provider.services.database.transaction() as transaction:
            ended = await keys.revoke(transaction, key, reason=reason, actor=caller_of(req).actor)
        body = {"id": ended.id, "revoked": True, "was_alive": ended.was_alive, "webhooks_paused": ended.webhooks}
        send(resp, body)


class Rotation(Resource):
    """POST: make the successor of a key. The old key works for `?grace=` more seconds. Its webhooks become the successor's, with new secrets."""

    scopes: Scopes = {"POST": Scope.ADMIN}
    calls: Calls = {
        "POST": Call(
            "Create the successor of a key. The old key works for `grace` more seconds.",
            {
                201: answer(
                    "KeyRotated",
                    before=answer("KeyBefore", id=int, works_until=datetime),
                    webhooks=list[HANDED_OVER],
                    **MADE_FIELDS,
                )
            },
            query={"grace": up_to(LONGEST)},
        )
    }

    async def on_post(self, req: Request, resp: Response, key: str) -> None:
        grace = timedelta(seconds=whole(req, "grace", default=int(GRACE.total_seconds()), most=LONGEST))
        services = self._provider.services
        async with services.database.transaction() as transaction:
            rotated = await keys.rotate(transaction, services.vault, key, grace=grace, actor=caller_of(req).actor)
        resp.status = 201
        before = {"id": rotated.before, "works_until": rotated.works_until}
        webhooks = [{"id": one.id, "secret": one.secret} for one in rotated.webhooks]
        send(resp, _shown(rotated.created) | {"before": before, "webhooks": webhooks})


def _shown(created: Created) -> dict[str, Any]:
    return {
        "id": created.id,
        "key": created.minted.text,
        "prefix": created.minted.token.prefix,
        "expires_at": created.expires_at,
    }
