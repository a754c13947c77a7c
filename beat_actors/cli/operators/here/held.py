"""Held records."""

from beat_actors.cli.operators import here
from beat_actors.cli.session import who
from beat_actors.holds import operators
from beat_actors.holds.operators import HeldView


class Here(here.Here):
    async def held(self, state: str | None, platform: str | None, limit: int) -> list[HeldView]:
        async with self.session.database.transaction() as transaction:
            return await operators.listed(transaction, state=state, platform=platform, limit=limit)

    async def one(self, held: int) -> HeldView:
        async with self.session.database.transaction() as transaction:
            return await operators.one(transaction, held)

    async def decide(self, held: int, *, accept: bool, reason: str) -> HeldView:
        from beat_actors.pipeline.deciding import decide  # loads what a stage needs

        async with self.session.database.transaction() as transaction:
            await decide(transaction, held, accept=accept, actor=who(), reason=reason)
            return await operators.one(transaction, held)
