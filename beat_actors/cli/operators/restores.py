"""What wrong observations have reached, and restores."""

import msgspec

from beat_actors.cli import operators
from beat_actors.restoring.blast import Blast
from beat_actors.restoring.jobs import NewRestore, RestoreView
from beat_actors.restoring.selection import Selection


class RestoreList(msgspec.Struct):
    restores: list[RestoreView]


class There(operators.There):
    async def blast(self, selection: Selection) -> Blast:
        return await self.client.send("POST", "/v1/blast", Blast, _body(selection))

    async def create(self, new: NewRestore) -> RestoreView:
        return await self.client.send("POST", "/v1/restores", RestoreView, _body(new))

    async def listing(self, limit: int) -> list[RestoreView]:
        return (await self.client.fetch("/v1/restores", RestoreList, {"limit": limit})).restores

    async def get(self, restore: int) -> RestoreView:
        return await self.client.fetch(f"/v1/restores/{restore}", RestoreView)

    async def apply(self, restore: int, *, reason: str) -> RestoreView:
        return await self.client.send("POST", f"/v1/restores/{restore}/apply", RestoreView, {"reason": reason})

    async def cancel(self, restore: int, *, reason: str) -> RestoreView:
        return await self.client.send("POST", f"/v1/restores/{restore}/cancel", RestoreView, {"reason": reason})

    async def undo(self, token: str, *, reason: str) -> RestoreView:
        return await self.client.send("POST", "/v1/restores/undo", RestoreView, {"token": token, "reason": reason})

    async def work(self, restore: int) -> None:
        """Do a part of the work. Over the API the scheduler does it."""


def _body(given: Selection) -> dict[str, object]:
    return operators.named(**msgspec.to_builtins(given))
