"""/v1/credentials: look at credentials and change them."""

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
from beat_actors.credentials.info import CredentialEvent, CredentialInfo
from beat_actors.credentials.manager import CredentialManager
from beat_actors.errors import NotFound
from beat_actors.text import check_text


class NewCredential(msgspec.Struct, forbid_unknown_fields=True):
    """`secret`: the fields that the source needs, as `beat credentials add` asks for them. `account_id`: the account that is granted the
    credential's owner. `shared`: whether the credential also serves calls that need no owner. The default is to share it where no account
    is given."""

    source: str
    secret: dict[str, str]
    label: str = ""
    weight: int = 1
    account_id: str | None = None
    shared: bool | None = None


class NewSecret(msgspec.Struct, forbid_unknown_fields=True):
    secret: dict[str, str]
    reason: Text


class _Resource(Resource):
    def _manager(self, req: Request) -> CredentialManager:
        services = self._provider.services
        return CredentialManager(services.database, services.vault, actor=caller_of(req).actor)


class Credentials(_Resource):
    """GET: list credentials, without their secrets. POST: add one. Beat checks it within seconds."""

    scopes: Scopes = {**READ, **CHANGE}
    calls: Calls = {
        "GET": Call(
            "List credentials, without their secrets.",
            {200: answer("CredentialList", credentials=list[CredentialInfo])},
            query={"source": str},
        ),
        "POST": Call("Add a credential.", {200: CredentialInfo, 201: CredentialInfo}, body=NewCredential),
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        source = req.get_param("source")
        check_text(source or "", "source", longest=100)
        send(resp, {"credentials": await self._manager(req).overview(source)})

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, NewCredential)
        manager = self._manager(req)
        number, new = await manager.add(
            given.source,
            given.secret,
            label=given.label,
            weight=given.weight,
            account_id=given.account_id,
            shared=given.shared,
        )
        info = await manager.info(number)
        self._provider.wakeups.send([info.platform])
        resp.status = 201 if new else 200
        resp.set_header("Location", f"/v1/credentials/{number}")
        send(resp, info)


class Credential(_Resource):
    """GET: a credential and its history."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "Get a credential and its history.",
            {200: answer("CredentialHistory", credential=CredentialInfo, history=list[CredentialEvent])},
            query={"limit": up_to(1000, least=1)},
        )
    }

    async def on_get(self, req: Request, resp: Response, credential_id: str) -> None:
        manager, number = self._manager(req), row_id(credential_id, "credential_id")
        info = await manager.info(number)
        history = await manager.history(number, limit=whole(req, "limit", default=50, most=1000))
        send(resp, {"credential": info, "history": history})


class CredentialSecret(_Resource):
    """POST: give a credential a new secret. A dead one is used again when its check succeeds."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call(
            "Replace the secret of a credential.",
            {200: CredentialInfo},
            body=NewSecret,
            named="replace_credential_secret",
        )
    }

    async def on_post(self, req: Request, resp: Response, credential_id: str) -> None:
        given, number = await read(req, NewSecret), row_id(credential_id, "credential_id")
        manager = self._manager(req)
        await manager.replace(number, given.secret, reason=given.reason)
        info = await manager.info(number)
        self._provider.wakeups.send([info.platform])
        send(resp, info)


class CredentialKeys(_Resource):
    """POST: seal every secret again with the first key of the API's BEAT_VAULT_KEYS."""

    scopes: Scopes = {"POST": Scope.ADMIN}
    calls: Calls = {
        "POST": Call(
            "Encrypt all secrets with the first key of the vault.",
            {200: answer("Sealed", sealed=int)},
            named="rotate_credential_keys",
        )
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        send(resp, {"sealed": await self._manager(req).rotate_keys()})


class CredentialChange(_Resource):
    """POST: enable, disable, reset (end its cooldown), share (with calls that need no owner) or unshare a credential."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call(
            "Enable, disable, reset, share or unshare a credential.",
            {200: CredentialInfo},
            body=Reason,
            named="change_credential",
        )
    }

    async def on_post(self, req: Request, resp: Response, credential_id: str, change: str) -> None:
        manager = self._manager(req)
        changes = {
            "enable": manager.enable,
            "disable": manager.disable,
            "reset": manager.reset,
            "share": manager.share,
            "unshare": manager.unshare,
        }
        if change not in changes:
            raise NotFound(f"a credential can be changed by {', '.join(changes)}")
        given, number = await read(req, Reason), row_id(credential_id, "credential_id")
        await changes[change](number, reason=given.reason)
        info = await manager.info(number)
        self._provider.wakeups.send([info.platform])
        send(resp, info)
