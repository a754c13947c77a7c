"""Assets: their backlog, lists of them, and another try."""

from collections.abc import Sequence

import msgspec

from beat_actors.assets.upkeep.backlog import AssetBacklog
from beat_actors.assets.upkeep.costs import AssetCosts
from beat_actors.assets.upkeep.forgetting import SubjectAllowed, SubjectForgotten
from beat_actors.assets.upkeep.listing import AssetPage, Filter, WholeAsset
from beat_actors.cli import operators
from beat_actors.cli.operators import segment


class Retried(msgspec.Struct):
    retried: int


class There(operators.There):
    async def backlog(self) -> AssetBacklog:
        return await self.client.fetch("/v1/assets/backlog", AssetBacklog)

    async def costs(self, days: int) -> AssetCosts:
        return await self.client.fetch("/v1/assets/costs", AssetCosts, {"days": days})

    async def page(self, wanted: Filter) -> AssetPage:
        query = {
            "platform": wanted.platform,
            "status": wanted.status,
            "class": wanted.asset_class,
            "account": wanted.account_id,
            "failure": wanted.failure,
            "cursor": wanted.cursor,
            "limit": wanted.limit,
        }
        return await self.client.fetch("/v1/assets", AssetPage, query)

    async def one(self, asset: str) -> WholeAsset:
        return await self.client.fetch(f"/v1/assets/{segment(asset)}", WholeAsset)

    async def again(self, assets: Sequence[str], *, reason: str) -> int:
        body = {"assets": list(assets), "reason": reason}
        return (await self.client.send("POST", "/v1/assets/retry", Retried, body)).retried

    async def forget(self, platform: str, name: str, kind: str, *, dry_run: bool, reason: str) -> SubjectForgotten:
        body = {"platform": platform, "name": name, "kind": kind, "dry_run": dry_run, "reason": reason}
        return await self.client.send("POST", "/v1/assets/forget", SubjectForgotten, body)

    async def allow(self, platform: str, name: str, kind: str, *, reason: str) -> SubjectAllowed:
        body = {"platform": platform, "name": name, "kind": kind, "reason": reason}
        return await self.client.send("POST", "/v1/assets/allow", SubjectAllowed, body)
