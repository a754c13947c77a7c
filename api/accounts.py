"""/v1/accounts/ACCOUNT/grants: which owners an account may use."""

import msgspec
from falcon.asgi import Request, Response

from api.access import Scopes, caller_of
from api.body import read
from api.calls import Call, Calls, answer, up_to
from api.parameters import whole
from api.replies import send
from api.resource import Resource
from beat_actors.access import grants
from beat_actors.access.grants import GrantView, Use
from beat_actors.access.scopes import Scope
from beat_actors.data import cursors
from beat_actors.errors import BadInput
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.text import check_text

GRANTS = answer("GrantList", grants=list[GrantView], next_cursor=str | None)
GRANTED = answer("Granted", account_id=str, platform=str, owner=str, granted=bool)


class NewGrant(msgspec.Struct, forbid_unknown_fields=True):
    """`owner`: of credentials, as a store's domain or the Graph API's id of an account."""

    platform: str
    owner: str
    reason: str


class Place(msgspec.Struct, frozen=True, array_like=True):
    """The last grant of a page."""

    platform: str
    owner: str


class AccountGrants(Resource):
    """GET: list the owners that an account may use. POST: grant one. DELETE: revoke one."""

    scopes: Scopes = {"GET": Scope.OPERATE, "POST": Scope.OPERATE, "DELETE": Scope.OPERATE}
    calls: Calls = {
        "GET": Call(
            "List the owners that an account may use.",
            {200: GRANTS},
            query={"limit": up_to(grants.MAX_PAGE, least=1), "cursor": str},
        ),
        "POST": Call("Grant an owner to an account.", {200: GRANTED, 201: GRANTED}, body=NewGrant),
        "DELETE": Call(
            "Revoke an owner from an account.",
            {200: answer("GrantRevoked", account_id=str, platform=str, owner=str, revoked=bool)},
            query={"platform": str, "owner": str, "reason": str},
            needs=frozenset({"platform", "owner", "reason"}),
        ),
    }

    async def on_get(self, req: Request, resp: Response, account: str) -> None:
        check_text(account, "account_id", longest=grants.LONGEST, one_line=True)
        limit = whole(req, "limit", default=100, most=grants.MAX_PAGE)
        cursor = req.get_param("cursor")
        place = None if cursor is None else cursors.read(cursor, Place)
        after = None if place is None else Use(account, place.platform, place.owner)
        async with self._provider.services.database.statements() as alone:
            found = await grants.overview(alone, account_id=account, after=after, limit=limit + 1)
        page = found[:limit]
        behind = cursors.write(Place(page[-1].platform, page[-1].owner)) if len(found) > limit else None
        send(resp, {"grants": page, "next_cursor": behind})

    async def on_post(self, req: Request, resp: Response, account: str) -> None:
        given = await read(req, NewGrant)
        use = Use(account, given.platform, given.owner)
        async with self._provider.services.database.transaction() as transaction:
            new = await grants.grant(transaction, use, reason=given.reason, actor=caller_of(req).actor)
        resp.status = 201 if new else 200
        send(resp, use._asdict() | {"granted": new})

    async def on_delete(self, req: Request, resp: Response, account: str) -> None:
        use = Use(account, _needed(req, "platform"), _needed(req, "owner"))
        reason = _needed(req, "reason")
        async with self._provider.services.database.transaction() as transaction:
            await grants.revoke(transaction, use, reason=reason, actor=caller_of(req).actor)
        send(resp, use._asdict() | {"revoked": True})


class Grants(Resource):
    """GET: the grants of all accounts, or those of an account, a platform or an owner."""

    scopes: Scopes = {"GET": Scope.OPERATE}
    calls: Calls = {
        "GET": Call(
            "List the grants of all accounts.",
            {200: answer("AllGrants", grants=list[GrantView])},
            query={"account": str, "platform": str, "owner": str, "limit": up_to(grants.MAX_PAGE, least=1)},
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        wanted = {name: req.get_param(name) for name in ("account", "platform", "owner")}
        for name, value in wanted.items():
            check_text(value or "", name, longest=grants.LONGEST, one_line=True)
        if wanted["platform"] is not None:
            platform_named(wanted["platform"])
        limit = whole(req, "limit", default=100, most=grants.MAX_PAGE) or 1
        async with self._provider.services.database.statements() as alone:
            found = await grants.overview(
                alone,
                account_id=wanted["account"],
                platform=wanted["platform"],
                owner=wanted["owner"],
                limit=limit,
            )
        send(resp, {"grants": found})


def _needed(req: Request, name: str) -> str:
    value = req.get_param(name)
    if not value:
        raise BadInput(f"{name} is needed, as ?{name}=…", field=name)
    return str(value)
