"""Erasures of persons' data."""

from collections.abc import Callable

from beat_actors.cli.operators import here
from beat_actors.cli.session import who
from beat_actors.privacy import erasures
from beat_actors.privacy.erasures import Erasure, Lifted

STEP = 5.0
"""Seconds of work between two looks."""


class Here(here.Here):
    async def begin(self, platform: str, subject: str, *, dry_run: bool, reason: str) -> Erasure:
        return await erasures.begin(
            self.session.database, platform, subject, dry_run=dry_run, actor=who(), reason=reason
        )

    async def one(self, erasure: int) -> Erasure:
        return await erasures.one(self.session.database, erasure)

    async def finish(self, erasure: int, told: Callable[[Erasure], None]) -> Erasure:
        """Carry it out, beside a scheduler that may do so too. `told`: gets it now and then."""
        while True:
            found = await erasures.run(self.session.database, erasure, budget=STEP)
            if found.ended_at is not None:
                return found
            told(found)

    async def newest(self, limit: int) -> list[Erasure]:
        return await erasures.newest(self.session.database, limit=limit)

    async def lift(self, platform: str, subject: str, *, reason: str) -> Lifted:
        return await erasures.lift(self.session.database, platform, subject, actor=who(), reason=reason)
