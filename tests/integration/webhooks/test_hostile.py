"""A tenant that does all it can to the deliverer, beside a scheduler and a deliverer as they run in production."""

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import Any

import pytest

from beat_actors.database import Database
from tests.integration.webhooks.hostile import endless_headers, endless_interim, raw, trickle
from tests.integration.webhooks.world import add, listed, process, tell, until

ENDPOINTS, EVENTS, ROUNDS = 30, 100, 4
SWEEPS = "SELECT name, ended_at, error FROM sweep WHERE every <= 2"


async def sweeps(database: Database) -> dict[str, Any]:
    async with database.statements() as alone:
        return {row.name: row for row in await alone.rows(SWEEPS)}


@pytest.mark.exhaustive
async def test_a_hostile_tenant_stops_no_sweep_and_no_other_tenant(database, process_url, settings, receiver) -> None:
    """30 endpoints of endless 102s, endless headers and trickles, and 100 events for each of them."""
    async with AsyncExitStack() as stack:
        hostile = [
            await stack.enter_async_context(raw(answer)) for answer in (endless_interim, endless_headers, trickle)
        ]
        for number in range(ENDPOINTS):
            await add(database, f"{hostile[number % 3].url}/{number}")
        mine, _ = await add(database, receiver.url, account_id="globex")
        await tell(database, count=EVENTS)
        scheduler = await stack.enter_async_context(process(settings, process_url, "scheduler"))
        deliverer = await stack.enter_async_context(process(settings, process_url, "scheduler.deliverer"))

        async def under_way() -> bool:
            return all(server.heads for server in hostile) and len(await sweeps(database)) >= 5

        await until(under_way)
        for round_ in range(1, ROUNDS + 1):
            before = await sweeps(database)
            await tell(database, "globex")

            async def served(count: int = round_, before: dict[str, Any] = before) -> bool:
                """My event arrived, and each of the frequent sweeps ended well once more."""
                arrived = [one for one in await listed(database, mine) if one.state == "delivered"]
                now = await sweeps(database)
                return len(arrived) == count and all(now[name].ended_at > before[name].ended_at for name in before)

            await until(served)
            assert {row.error for row in (await sweeps(database)).values()} == {None}
        async with database.statements() as alone:
            assert await alone.value("SELECT epoch FROM leader WHERE name = 'scheduler'") == 1
            states = await alone.rows(
                "SELECT DISTINCT d.state FROM webhook_delivery d JOIN webhook_endpoint e ON e.id = d.endpoint_id WHERE e.account_id = 'acme'"
            )
            assert {row.state for row in states} == {"pending"}  # none counts as delivered
            assert await alone.value("SELECT count(*) FROM process WHERE name = 'deliverer'") == 1
        deliverer.send_signal(signal.SIGTERM)
        scheduler.send_signal(signal.SIGTERM)
        assert [await deliverer.wait(), await scheduler.wait()] == [0, 0]
        async with database.statements() as alone:
            assert (
                await alone.value("SELECT count(*) FROM webhook_delivery WHERE lease_until IS NOT NULL") == 0
            )  # all is settled
            assert await alone.value("SELECT count(*) FROM process") == 0


@pytest.mark.slow
async def test_a_deliverer_ends_with_its_calls_settled(database, process_url, settings, receiver) -> None:
    """SIGTERM while calls are out: they are waited for, nothing new is begun, and the exit is clean."""
    number, _ = await add(database, receiver.url)
    receiver.gate = asyncio.Event()
    async with process(settings, process_url, "scheduler.deliverer") as deliverer:
        await tell(database, count=3)

        async def out() -> bool:
            return len(receiver.calls) == 3

        await until(out)
        deliverer.send_signal(signal.SIGTERM)
        await tell(database, count=3)
        receiver.gate.set()
        assert await deliverer.wait() == 0
    assert [one.state for one in await listed(database, number)] == ["delivered"] * 3
