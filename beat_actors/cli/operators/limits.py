"""The limits on on-demand requests."""

import msgspec

from beat_actors.cli import operators
from beat_actors.cli.operators import segment
from beat_actors.quotas.budgets import Accuracy, BudgetView, PoolView
from beat_actors.quotas.overview import LimitView
from beat_actors.requests.backlog import BacklogView


class LimitList(msgspec.Struct):
    limits: list[LimitView]


class Foreseen(msgspec.Struct):
    budgets: list[BudgetView]
    accuracy: list[Accuracy]
    pools: list[PoolView] = []
    backlogs: list[BacklogView] = []


class Emptied(msgspec.Struct):
    used_before: int


class There(operators.There):
    async def limits(self) -> list[LimitView]:
        return (await self.client.fetch("/v1/limits", LimitList)).limits

    async def forecast(self) -> Foreseen:
        return await self.client.fetch("/v1/forecast", Foreseen)

    async def reset(self, name: str, *, reason: str) -> int:
        path = f"/v1/limits/{segment(name)}/reset"
        return (await self.client.send("POST", path, Emptied, {"reason": reason})).used_before
