"""/v1/assets: the backlog of assets, lists of them, and another try for those that were given up."""

from typing import Annotated

import msgspec
from falcon.asgi import Request, Response

from api.access import caller_of
from api.body import read
from api.calls import Call, Calls, answer, up_to
from api.operations.reasons import CHANGE, READ, Text
from api.parameters import page_of, whole, word
from api.replies import send
from api.resource import Resource
from beat_actors.assets.upkeep import backlog, costs, forgetting, listing
from beat_actors.shapes import one_of

STATUS = Annotated[str, one_of(listing.STATUSES)]
CLASS = Annotated[str, one_of(listing.CLASSES)]


class AssetsToRetry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Assets, by their ids, that are tried again at once."""

    assets: Annotated[list[str], msgspec.Meta(min_length=1, max_length=listing.MOST_AGAIN)]
    reason: Text


class SubjectToForget(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A profile, or another thing of `kind`, by its id or name. `dry_run`: nothing is deleted; the answer says what would be."""

    platform: str
    name: str
    kind: str = forgetting.PROFILES
    dry_run: bool = False
    reason: Text


class SubjectToAllow(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A profile, or another thing of `kind`, by its id or name."""

    platform: str
    name: str
    kind: str = forgetting.PROFILES
    reason: Text


class Assets(Resource):
    """GET: assets, newest first."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "List assets, newest first. A page may have fewer assets than `limit`, and a `next_cursor`.",
            {200: listing.AssetPage},
            query={
                "platform": str,
                "status": STATUS,
                "class": CLASS,
                "account": str,
                "failure": str,
                "limit": up_to(listing.MAX_PAGE, least=1),
                "cursor": str,
            },
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        limit, cursor = page_of(req, listing.MAX_PAGE, default=50)
        wanted = listing.Filter(
            platform=req.get_param("platform"),
            status=word(req, "status", STATUS),
            asset_class=word(req, "class", CLASS),
            account_id=req.get_param("account"),
            failure=req.get_param("failure"),
            cursor=cursor,
            limit=limit,
        )
        send(resp, await listing.page(self._provider.services.database, wanted))


class Asset(Resource):
    """GET: one asset."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "Get an asset, its object, and what happens to it next.", {200: listing.WholeAsset}, named="show_asset"
        )
    }

    async def on_get(self, _req: Request, resp: Response, asset_id: str) -> None:
        send(resp, await listing.one(self._provider.services.database, asset_id))


class AssetBacklog(Resource):
    """GET: what waits to be stored, and when it is done."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "Get the backlog of assets by class: number, age, pace, bytes and end.", {200: backlog.AssetBacklog}
        )
    }

    async def on_get(self, _req: Request, resp: Response) -> None:
        send(resp, await backlog.backlog(self._provider.services.database))


class AssetCosts(Resource):
    """GET: what assets cost, by account and class."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "Get what assets took in the last days by account and class, with an estimate of the price.",
            {200: costs.AssetCosts},
            query={"days": up_to(costs.LONGEST, least=1)},
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        days = whole(req, "days", default=30, most=costs.LONGEST)
        send(resp, await costs.costs(self._provider.services.database, days))


class AssetsRetry(Resource):
    """POST: try assets again that were given up."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call(
            "Try assets again that were given up or that wait for a later try.",
            {200: answer("AssetsRetried", retried=int)},
            body=AssetsToRetry,
        )
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, AssetsToRetry)
        async with self._provider.services.database.transaction() as transaction:
            count = await listing.again(transaction, given.assets, actor=caller_of(req).actor, reason=given.reason)
        send(resp, {"retried": count})


class AssetsForget(Resource):
    """POST: forget the media of a subject, and store them no more."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call(
            "Forget the media of a subject: assets, objects that nobody else has, smaller pictures, the CDN's copies. They are not stored again.",
            {200: forgetting.SubjectForgotten},
            body=SubjectToForget,
        )
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, SubjectToForget)
        found = await forgetting.forget(
            self._provider.services.database,
            given.platform,
            given.name,
            kind=given.kind,
            dry_run=given.dry_run,
            actor=caller_of(req).actor,
            reason=given.reason,
        )
        send(resp, found)


class AssetsAllow(Resource):
    """POST: store the media of a subject again."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call(
            "Store the media of a subject again, from its next observation on.",
            {200: forgetting.SubjectAllowed},
            body=SubjectToAllow,
        )
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        given = await read(req, SubjectToAllow)
        found = await forgetting.allow(
            self._provider.services.database,
            given.platform,
            given.name,
            kind=given.kind,
            actor=caller_of(req).actor,
            reason=given.reason,
        )
        send(resp, found)
