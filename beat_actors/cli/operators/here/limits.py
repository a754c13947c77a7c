"""The limits on on-demand requests."""

from beat_actors.cli.operators import here
from beat_actors.cli.operators.limits import Foreseen
from beat_actors.cli.session import who
from beat_actors.quotas import foreseen, overview
from beat_actors.quotas.limiter import StackedLimiter
from beat_actors.quotas.overview import LimitView


class Here(here.Here):
    async def limits(self) -> list[LimitView]:
        limiter = StackedLimiter(self.session.database)
        try:
            return await overview.overview(limiter)
        finally:
            await limiter.close()

    async def forecast(self) -> Foreseen:
        limiter = StackedLimiter(self.session.database)
        try:
            budgets = await foreseen.foresee(self.session.database, limiter)
        finally:
            await limiter.close()
        return Foreseen(budgets, await foreseen.accuracy(self.session.database))

    async def reset(self, name: str, *, reason: str) -> int:
        limiter = StackedLimiter(self.session.database)
        try:
            return await overview.reset(self.session.database, limiter, name, actor=who(), reason=reason)
        finally:
            await limiter.close()
