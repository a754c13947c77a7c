"""Quarantined payloads and messages."""

import msgspec

from beat_actors.cli import operators
from beat_actors.quarantine import Payload, QuarantineCluster, QuarantinedEntry, ReplayPlan, Selection

MOST = 1000
"""Clusters among which the newest entry is looked for."""


class ClusterList(msgspec.Struct):
    clusters: list[QuarantineCluster]


class Resolved(msgspec.Struct):
    resolved: int


class There(operators.There):
    async def clusters(self, limit: int) -> list[QuarantineCluster]:
        return (await self.client.fetch("/v1/quarantine", ClusterList, {"limit": limit})).clusters

    async def entry(self, entry: int) -> QuarantinedEntry:
        return await self.client.fetch(f"/v1/quarantine/{entry}", QuarantinedEntry)

    async def payload(self, entry: int) -> Payload:
        return await self.client.fetch(f"/v1/quarantine/{entry}/payload", Payload)

    async def resolve(self, selection: Selection, *, reason: str) -> int:
        body = _cluster(selection) | {"reason": reason}
        return (await self.client.send("POST", "/v1/quarantine/resolve", Resolved, body)).resolved

    async def replay(self, selection: Selection, *, rate: float, stop_at: float, reason: str) -> ReplayPlan:
        body = _cluster(selection) | {"reason": reason, "rate": rate, "stop_at": stop_at}
        return await self.client.send("POST", "/v1/quarantine/replay", ReplayPlan, body)


async def up_to_now(beat: There, selection: Selection, newest: int | None) -> Selection:
    """The selection up to `newest`, or up to the newest entry of now: what comes later has been seen by nobody."""
    if newest is None:
        newest = max((one.newest for one in await beat.clusters(MOST)), default=0)
    return msgspec.structs.replace(selection, newest=newest)


def _cluster(selection: Selection) -> dict[str, object]:
    return operators.named(**msgspec.structs.asdict(selection))
