"""The scorecard of sources."""

from beat_actors.cli import operators
from beat_actors.scores.card import Scorecard


class There(operators.There):
    async def scorecard(self, weeks: int, platform: str | None) -> Scorecard:
        return await self.client.fetch("/v1/scorecard", Scorecard, operators.named(weeks=weeks, platform=platform))
