"""Held records."""

import msgspec

from beat_actors.cli import operators
from beat_actors.holds.operators import HeldView


class HeldRecordList(msgspec.Struct):
    held: list[HeldView]


class There(operators.There):
    async def held(self, state: str | None, platform: str | None, limit: int) -> list[HeldView]:
        query = operators.named(state=state, platform=platform, limit=limit)
        return (await self.client.fetch("/v1/held", HeldRecordList, query)).held

    async def one(self, held: int) -> HeldView:
        return await self.client.fetch(f"/v1/held/{held}", HeldView)

    async def decide(self, held: int, *, accept: bool, reason: str) -> HeldView:
        verb = "accept" if accept else "reject"
        return await self.client.send("POST", f"/v1/held/{held}/{verb}", HeldView, {"reason": reason})
