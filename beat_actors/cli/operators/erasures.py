"""Erasures of persons' data."""

import asyncio
from collections.abc import Callable

import msgspec

from beat_actors.cli import operators
from beat_actors.cli.operators import segment
from beat_actors.privacy.erasures import Erasure, Lifted

EVERY = 1.0
"""Seconds between two looks."""


class ErasureList(msgspec.Struct):
    erasures: list[Erasure]


class There(operators.There):
    async def begin(self, platform: str, subject: str, *, dry_run: bool, reason: str) -> Erasure:
        body = {"platform": platform, "subject": subject, "dry_run": dry_run, "reason": reason}
        return await self.client.send("POST", "/v1/erasures", Erasure, body)

    async def one(self, erasure: int) -> Erasure:
        return await self.client.fetch(f"/v1/erasures/{segment(erasure)}", Erasure)

    async def finish(self, erasure: int, told: Callable[[Erasure], None]) -> Erasure:
        """Wait until it has ended, which the scheduler there sees to. `told`: gets it after each look."""
        while True:
            found = await self.one(erasure)
            if found.ended_at is not None:
                return found
            told(found)
            await asyncio.sleep(EVERY)

    async def newest(self, limit: int) -> list[Erasure]:
        return (await self.client.fetch("/v1/erasures", ErasureList, {"limit": limit})).erasures

    async def lift(self, platform: str, subject: str, *, reason: str) -> Lifted:
        body = {"platform": platform, "subject": subject, "reason": reason}
        return await self.client.send("POST", "/v1/erasures/lift", Lifted, body)
