"""The limits on on-demand requests."""

from beat_actors.cli.operators import here
from beat_actors.cli.operators.limits import Foreseen
from beat_actors.cli.session import who
from beat_actors.quotas import foreseen, overview, pools
from beat_actors.quotas.limiter import StackedLimiter
from beat_actors.quotas.overview import LimitView
from beat_actors.requests.backlog import backlogs


class Here(here.Here):
    async def limits(self) -> list[LimitView]:
        async with StackedLimiter(self.session.database) as limiter:
            return await overview.overview(limiter)

    async def forecast(self) -> Foreseen:
        async with StackedLimiter(self.session.database) as limiter:
            budgets = await foreseen.foresee(self.session.database, limiter)
        found = await foreseen.accuracy(self.session.database)
        return Foreseen(
            budgets, found, await pools.foresee(self.session.database), await backlogs(self.session.database)
        )

    async def reset(self, name: str, *, reason: str) -> int:
        async with StackedLimiter(self.session.database) as limiter:
            return await overview.reset(self.session.database, limiter, name, actor=who(), reason=reason)
