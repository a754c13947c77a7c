"""What wrong observations have reached, and restores."""

from beat_actors.cli.operators import here
from beat_actors.cli.session import who
from beat_actors.restoring import jobs, worker
from beat_actors.restoring.blast import Blast, blast
from beat_actors.restoring.jobs import NewRestore, RestoreView
from beat_actors.restoring.selection import Selection

AT_ONCE = 2.0
"""Seconds that this process works before it looks again."""


class Here(here.Here):
    async def blast(self, selection: Selection) -> Blast:
        return await blast(self.session.database, selection)

    async def create(self, new: NewRestore) -> RestoreView:
        async with self.session.database.transaction() as transaction:
            return await jobs.create(transaction, new, actor=who())

    async def listing(self, limit: int) -> list[RestoreView]:
        async with self.session.database.transaction() as transaction:
            return await jobs.restores(transaction, limit=limit)

    async def get(self, restore: int) -> RestoreView:
        async with self.session.database.transaction() as transaction:
            return await jobs.restore(transaction, restore)

    async def apply(self, restore: int, *, reason: str) -> RestoreView:
        async with self.session.database.transaction() as transaction:
            return await jobs.apply(transaction, restore, actor=who(), reason=reason)

    async def cancel(self, restore: int, *, reason: str) -> RestoreView:
        async with self.session.database.transaction() as transaction:
            return await jobs.cancel(transaction, restore, actor=who(), reason=reason)

    async def undo(self, token: str, *, reason: str) -> RestoreView:
        async with self.session.database.transaction() as transaction:
            return await jobs.undo(transaction, token, actor=who(), reason=reason)

    async def work(self, restore: int) -> None:
        """Do a part of the work. The scheduler goes on with what this process leaves."""
        await worker.work(self.session.database, restore, seconds=AT_ONCE)
