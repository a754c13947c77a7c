"""The scorecard of sources."""

from beat_actors.cli.operators import here
from beat_actors.scores.card import Scorecard, scorecard


class Here(here.Here):
    async def scorecard(self, weeks: int, platform: str | None) -> Scorecard:
        return await scorecard(self.session.database, weeks=weeks, platform=platform)
