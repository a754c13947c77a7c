"""Quarantined payloads and messages."""

from beat_actors import quarantine
from beat_actors.cli.operators import here
from beat_actors.cli.session import who
from beat_actors.quarantine import Payload, QuarantineCluster, QuarantinedEntry, ReplayPlan, Selection


class Here(here.Here):
    async def clusters(self, limit: int) -> list[QuarantineCluster]:
        async with self.session.database.transaction() as transaction:
            return await quarantine.clusters(transaction, limit=limit)

    async def entry(self, entry: int) -> QuarantinedEntry:
        async with self.session.database.transaction() as transaction:
            return await quarantine.entry(transaction, entry)

    async def payload(self, entry: int) -> Payload:
        return await quarantine.payload(self.session.database, entry)

    async def resolve(self, selection: Selection, *, reason: str) -> int:
        async with self.session.database.transaction() as transaction:
            return await quarantine.resolve(transaction, selection, actor=who(), reason=reason)

    async def replay(self, selection: Selection, *, rate: float, stop_at: float, reason: str) -> ReplayPlan:
        async with self.session.database.transaction() as transaction:
            return await quarantine.replay(
                transaction, selection, actor=who(), reason=reason, rate=rate, stop_at=stop_at
            )
