"""Alerts, the page of what is wrong, the audit log and requests that run long."""

from datetime import datetime

from beat_actors import alerts, audit
from beat_actors.alerts import AlertView
from beat_actors.audit import AuditEntry
from beat_actors.cli.operators import here
from beat_actors.cli.session import who
from beat_actors.observe.brief import brief
from beat_actors.observe.overview import overview
from beat_actors.observe.page import Brief
from beat_actors.observe.past import past
from beat_actors.observe.picture import Picture
from beat_actors.requests import stuck
from beat_actors.requests.stuck import Stuck, Taken


class Here(here.Here):
    async def alerts(self, *, resolved: bool) -> list[AlertView]:
        async with self.session.database.transaction() as transaction:
            return await alerts.list_alerts(transaction, resolved=resolved)

    async def silence(self, alert: int, *, silenced: bool, reason: str) -> str:
        async with self.session.database.transaction() as transaction:
            return await alerts.silence(transaction, alert, silenced=silenced, actor=who(), reason=reason)

    async def brief(self, since: datetime | None, until: datetime | None) -> Brief:
        if since is None:
            return await brief(self.session.database)
        return await past(self.session.database, since, until)

    async def overview(self) -> Picture:
        return await overview(self.session.database)

    async def audited(self, target: str | None, actor: str | None, limit: int) -> list[AuditEntry]:
        async with self.session.database.transaction() as transaction:
            return await audit.entries(transaction, target=target, actor=actor, limit=limit)

    async def stuck(self, seconds: float) -> list[Stuck]:
        return await stuck.stuck(self.session.database, seconds=seconds)

    async def reclaim(self, seconds: float, *, reason: str) -> Taken:
        return await stuck.requeue(self.session.database, seconds=seconds, actor=who(), reason=reason)
