"""/v1/webhooks: the endpoints that get events, and their deliveries, which can be sent again. A secret is only in the answer that makes it."""

from datetime import datetime
from typing import Annotated

import msgspec
from falcon.asgi import Request, Response

from api.access import Scopes, account_of, caller_of, operates
from api.body import read
from api.calls import Call, Calls, answer, up_to
from api.parameters import row_id, whole, word
from api.replies import send
from api.resource import Resource
from beat_actors.access.scopes import Scope
from beat_actors.errors import BadInput, Forbidden
from beat_actors.moments import in_utc
from beat_actors.shapes import one_of
from beat_actors.webhooks import endpoints
from beat_actors.webhooks.endpoints import EndpointView, Reader


class NewWebhook(msgspec.Struct, forbid_unknown_fields=True):
    """The body that adds an endpoint. `events`: types, or beginnings of types that end in `.*`."""

    url: str
    events: list[str] = msgspec.field(default_factory=lambda: ["*"])
    account_id: str | None = None


class WebhookChange(msgspec.Struct, forbid_unknown_fields=True):
    """A field that is left out does not change. `state`: active or paused."""

    url: str | None = None
    events: list[str] | None = None
    state: Annotated[str, one_of(("active", "paused"))] | None = None


class ResendFrom(msgspec.Struct, forbid_unknown_fields=True):
    """`since`: a time with its zone. The failed deliveries of events from then on are sent again."""

    since: Annotated[datetime, msgspec.Meta(tz=True)]


class MadeWebhook(EndpointView, frozen=True, kw_only=True):
    """An endpoint, with the secret that signs its deliveries."""

    secret: str


STATE = Annotated[str, one_of(endpoints.STATES)]
DELIVERY = answer("DeliveryId", delivery_id=int)


class _Resource(Resource):
    @property
    def _allow_private(self) -> bool:
        return self._provider.services.database.settings.webhook_allow_private


class Webhooks(_Resource):
    """GET: list the endpoints. POST: add one."""

    scopes: Scopes = {"GET": Scope.READ, "POST": Scope.SUBMIT}
    calls: Calls = {
        "GET": Call(
            "List endpoints, without their secrets.", {200: answer("WebhookList", webhooks=list[EndpointView])}
        ),
        "POST": Call("Create an endpoint. Its secret is in this answer only.", {201: MadeWebhook}, body=NewWebhook),
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        async with self._provider.services.database.transaction() as transaction:
            send(resp, {"webhooks": await endpoints.overview(transaction, _reader(req))})

    async def on_post(self, req: Request, resp: Response) -> None:
        given, caller = await read(req, NewWebhook), caller_of(req)
        _may_read(req)
        account_id = account_of(caller, given.account_id)
        if account_id is None and not operates(caller):
            raise Forbidden(
                "a webhook without an account gets everybody's events and the alerts: name an account_id, or use a key "
                "with the scope operate",
                scope=Scope.OPERATE,
            )
        services = self._provider.services
        async with services.database.transaction() as transaction:
            made, secret = await endpoints.create(
                transaction,
                services.vault,
                url=given.url,
                events=given.events,
                account_id=account_id,
                actor=caller.actor,
                api_key_id=caller.key_id,
                allow_private=self._allow_private,
            )
        resp.status = 201
        resp.set_header("Location", f"/v1/webhooks/{made.id}")
        send(resp, msgspec.to_builtins(made) | {"secret": secret})


class Webhook(_Resource):
    """GET: one endpoint. PATCH: change its URL or its events, pause or resume it. DELETE: delete it with its deliveries."""

    scopes: Scopes = {"GET": Scope.READ, "PATCH": Scope.SUBMIT, "DELETE": Scope.SUBMIT}
    calls: Calls = {
        "GET": Call("Get an endpoint.", {200: EndpointView}),
        "PATCH": Call(
            "Change the URL or the events of an endpoint, pause or resume it.", {200: EndpointView}, body=WebhookChange
        ),
        "DELETE": Call(
            "Delete an endpoint and its deliveries. The audit log keeps `reason`.",
            {200: answer("WebhookDeleted", id=int, deleted=bool)},
            query={"reason": str},
        ),
    }

    async def on_get(self, req: Request, resp: Response, webhook_id: str) -> None:
        async with self._provider.services.database.transaction() as transaction:
            send(resp, await endpoints.find(transaction, row_id(webhook_id, "webhook_id"), _reader(req)))

    async def on_patch(self, req: Request, resp: Response, webhook_id: str) -> None:
        given = await read(req, WebhookChange)
        _may_read(req)
        if given.state not in (None, "active", "paused"):
            raise BadInput("state can be set to active or paused", field="state")
        if given.url is None and given.events is None and given.state is None:
            raise BadInput("name at least one of url, events and state")
        async with self._provider.services.database.transaction() as transaction:
            changed = await endpoints.change(
                transaction,
                row_id(webhook_id, "webhook_id"),
                _reader(req),
                allow_private=self._allow_private,
                url=given.url,
                events=given.events,
                paused=None if given.state is None else given.state == "paused",
            )
        send(resp, changed)

    async def on_delete(self, req: Request, resp: Response, webhook_id: str) -> None:
        number = row_id(webhook_id, "webhook_id")
        async with self._provider.services.database.transaction() as transaction:
            await endpoints.delete(transaction, number, _reader(req), reason=req.get_param("reason"))
        send(resp, {"id": number, "deleted": True})


class SecretRotation(_Resource):
    """POST: give an endpoint a new secret. For 24 h, both secrets sign."""

    scopes: Scopes = {"POST": Scope.SUBMIT}
    calls: Calls = {
        "POST": Call(
            "Give an endpoint a new secret. For 24 h each delivery is signed with both secrets.",
            {200: answer("WebhookSecret", id=int, secret=str, old_secret_until=datetime)},
            named="rotate_webhook_secret",
        )
    }

    async def on_post(self, req: Request, resp: Response, webhook_id: str) -> None:
        services, number = self._provider.services, row_id(webhook_id, "webhook_id")
        _may_read(req)
        async with services.database.transaction() as transaction:
            secret, until = await endpoints.rotate(transaction, services.vault, number, _reader(req))
        send(resp, {"id": number, "secret": secret, "old_secret_until": until})


class TestEvent(_Resource):
    """POST: send an event of the type `beat.webhook.test` to this endpoint alone."""

    scopes: Scopes = {"POST": Scope.SUBMIT}
    calls: Calls = {"POST": Call("Send a test event to this endpoint only.", {202: DELIVERY})}

    async def on_post(self, req: Request, resp: Response, webhook_id: str) -> None:
        async with self._provider.services.database.transaction() as transaction:
            delivery = await endpoints.send_test(transaction, row_id(webhook_id, "webhook_id"), _reader(req))
        resp.status = 202
        send(resp, {"delivery_id": delivery})


class Deliveries(_Resource):
    """GET: list the deliveries, newest first: `?state=`, `?limit=`, `?cursor=`."""

    scopes: Scopes = {"GET": Scope.READ}
    calls: Calls = {
        "GET": Call(
            "List the deliveries of an endpoint, newest first.",
            {200: endpoints.DeliveryList},
            query={
                "state": STATE,
                "limit": up_to(endpoints.MAX_PAGE, least=1),
                "cursor": str,
            },
        )
    }

    async def on_get(self, req: Request, resp: Response, webhook_id: str) -> None:
        limit = whole(req, "limit", default=50, most=endpoints.MAX_PAGE)
        async with self._provider.services.database.transaction() as transaction:
            page = await endpoints.deliveries(
                transaction,
                row_id(webhook_id, "webhook_id"),
                _reader(req),
                state=word(req, "state", STATE),
                limit=limit,
                cursor=req.get_param("cursor"),
            )
        send(resp, page)


class Resend(_Resource):
    """POST: send one delivery again."""

    scopes: Scopes = {"POST": Scope.SUBMIT}
    calls: Calls = {"POST": Call("Send one delivery again.", {202: DELIVERY})}

    async def on_post(self, req: Request, resp: Response, webhook_id: str, delivery_id: str) -> None:
        delivery = row_id(delivery_id, "delivery_id")
        async with self._provider.services.database.transaction() as transaction:
            await endpoints.resend(transaction, row_id(webhook_id, "webhook_id"), delivery, _reader(req))
        resp.status = 202
        send(resp, {"delivery_id": delivery})


class ResendFailed(_Resource):
    """POST: send all failed deliveries of events since a time again, at most 10,000."""

    scopes: Scopes = {"POST": Scope.SUBMIT}
    calls: Calls = {
        "POST": Call(
            "Resend the failed deliveries of all events since a time.",
            {202: answer("Resent", resent=int)},
            body=ResendFrom,
            named="resend_failed_deliveries",
        )
    }

    async def on_post(self, req: Request, resp: Response, webhook_id: str) -> None:
        given = await read(req, ResendFrom)
        async with self._provider.services.database.transaction() as transaction:
            since = in_utc(given.since, "since")
            count = await endpoints.resend_failed(transaction, row_id(webhook_id, "webhook_id"), since, _reader(req))
        resp.status = 202
        send(resp, {"resent": count})


def _reader(req: Request) -> Reader:
    caller = caller_of(req)
    return Reader(caller.actor, caller.account_id, all=operates(caller), key_id=caller.key_id)


def _may_read(req: Request) -> None:
    """Raises `Forbidden` where the key may not read, since an endpoint gets what its owner may read."""
    if Scope.READ not in caller_of(req).scopes:
        raise Forbidden(
            "an endpoint receives data that its key may read: this call also needs the scope read", scope=Scope.READ
        )


ROUTES = {
    "/v1/webhooks": Webhooks,
    "/v1/webhooks/{webhook_id}": Webhook,
    "/v1/webhooks/{webhook_id}/rotate": SecretRotation,
    "/v1/webhooks/{webhook_id}/test": TestEvent,
    "/v1/webhooks/{webhook_id}/resend": ResendFailed,
    "/v1/webhooks/{webhook_id}/deliveries": Deliveries,
    "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/resend": Resend,
}
