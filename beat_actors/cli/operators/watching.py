"""Alerts, the page of what is wrong, the audit log and requests that run long."""

from datetime import datetime

import msgspec

from beat_actors.alerts import AlertView
from beat_actors.audit import AuditEntry
from beat_actors.cli import operators
from beat_actors.cli.operators import named, segment
from beat_actors.observe.page import Brief
from beat_actors.observe.picture import Picture
from beat_actors.requests.stuck import Stuck, Taken


class AlertList(msgspec.Struct):
    alerts: list[AlertView]


class AuditLog(msgspec.Struct):
    entries: list[AuditEntry]


class StuckList(msgspec.Struct):
    requests: list[Stuck]


class Silenced(msgspec.Struct):
    key: str


class There(operators.There):
    async def alerts(self, *, resolved: bool) -> list[AlertView]:
        return (await self.client.fetch("/v1/alerts", AlertList, {"resolved": resolved})).alerts

    async def silence(self, alert: int, *, silenced: bool, reason: str) -> str:
        body = {"reason": reason, "silenced": silenced}
        return (await self.client.send("POST", f"/v1/alerts/{segment(alert)}/silence", Silenced, body)).key

    async def brief(self, since: datetime | None, until: datetime | None) -> Brief:
        return await self.client.fetch("/v1/brief", Brief, named(since=since, until=until))

    async def overview(self) -> Picture:
        return await self.client.fetch("/v1/overview", Picture)

    async def audited(self, target: str | None, actor: str | None, limit: int) -> list[AuditEntry]:
        wanted = {"target": target, "actor": actor, "limit": limit}
        return (await self.client.fetch("/v1/audit", AuditLog, wanted)).entries

    async def stuck(self, seconds: float) -> list[Stuck]:
        return (await self.client.fetch("/v1/stuck", StuckList, {"seconds": round(seconds)})).requests

    async def reclaim(self, seconds: float, *, reason: str) -> Taken:
        return await self.client.send("POST", "/v1/stuck/requeue", Taken, {"seconds": seconds, "reason": reason})
