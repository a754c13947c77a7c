"""Assets: their backlog, lists of them, and another try."""

from collections.abc import Sequence

from beat_actors.assets.upkeep import backlog, costs, forgetting, listing
from beat_actors.assets.upkeep.backlog import AssetBacklog
from beat_actors.assets.upkeep.costs import AssetCosts
from beat_actors.assets.upkeep.forgetting import SubjectAllowed, SubjectForgotten
from beat_actors.assets.upkeep.listing import AssetPage, Filter, WholeAsset
from beat_actors.cli.operators import here
from beat_actors.cli.session import who


class Here(here.Here):
    async def backlog(self) -> AssetBacklog:
        return await backlog.backlog(self.session.database)

    async def costs(self, days: int) -> AssetCosts:
        return await costs.costs(self.session.database, days)

    async def page(self, wanted: Filter) -> AssetPage:
        return await listing.page(self.session.database, wanted)

    async def one(self, asset: str) -> WholeAsset:
        return await listing.one(self.session.database, asset)

    async def again(self, assets: Sequence[str], *, reason: str) -> int:
        async with self.session.database.transaction() as transaction:
            return await listing.again(transaction, assets, actor=who(), reason=reason)

    async def forget(self, platform: str, name: str, kind: str, *, dry_run: bool, reason: str) -> SubjectForgotten:
        database = self.session.database
        return await forgetting.forget(database, platform, name, kind=kind, dry_run=dry_run, actor=who(), reason=reason)

    async def allow(self, platform: str, name: str, kind: str, *, reason: str) -> SubjectAllowed:
        return await forgetting.allow(self.session.database, platform, name, kind=kind, actor=who(), reason=reason)
