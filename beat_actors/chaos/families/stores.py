"""F5 and F6: Valkey or PostgreSQL is down, frozen, full, locked or empty, and then works again."""

import asyncio
import contextlib
import signal
import time

import psycopg
from psycopg.rows import TupleRow

from beat_actors.chaos.scene import Scene


async def redis_wiped(scene: Scene) -> None:
    """Delete all that Valkey holds, twenty times."""
    for _ in range(20):
        await scene.pause(0.02, 0.2)
        scene.rig.valkey().flushall()
    scene.heal()


async def redis_lost(scene: Scene) -> None:
    """Kill Valkey and delete its files, twice."""
    for _ in range(2):
        await scene.pause(0.3, 1.0)
        await asyncio.to_thread(scene.rig.lose_valkey)
    scene.heal()


async def redis_down(scene: Scene) -> None:
    """Keep Valkey down for a while."""
    await scene.pause(0.2, 0.8)
    await asyncio.to_thread(scene.rig.hold, "valkey")
    await asyncio.sleep(scene.timing.outage)
    await asyncio.to_thread(scene.rig.release, "valkey")
    scene.heal()


async def redis_hung(scene: Scene) -> None:
    """Freeze Valkey: the kernel accepts its connections, and nothing answers."""
    await scene.pause(0.2, 0.8)
    with scene.rig.frozen("valkey"):
        await asyncio.sleep(scene.timing.lock)
    scene.heal()


async def redis_full(scene: Scene) -> None:
    """Give Valkey so little memory that it refuses every write."""
    await scene.pause(0.2, 0.8)
    client = scene.rig.valkey()
    client.config_set("maxmemory", "1mb")
    await asyncio.sleep(scene.timing.lock)
    client.config_set("maxmemory", "0")
    scene.heal()


async def postgres_down(scene: Scene) -> None:
    """Stop PostgreSQL at once, and keep it down for a while."""
    await scene.pause(0.2, 0.8)
    await asyncio.to_thread(scene.rig.hold, "postgres", signal.SIGQUIT)
    await asyncio.sleep(scene.timing.outage)
    await asyncio.to_thread(scene.rig.release, "postgres")
    scene.heal()


async def postgres_hung(scene: Scene) -> None:
    """Freeze PostgreSQL: the kernel accepts its connections, and nothing answers."""
    await scene.pause(0.2, 0.8)
    with scene.rig.frozen_with_children("postgres"):
        await asyncio.sleep(scene.timing.lock)
    scene.heal()


async def postgres_restarted(scene: Scene) -> None:
    """Restart PostgreSQL three times."""
    for _ in range(3):
        await scene.pause(0.3, 0.9)
        await asyncio.to_thread(scene.rig.hold, "postgres", signal.SIGINT)
        await asyncio.to_thread(scene.rig.release, "postgres")
    scene.heal()


async def postgres_locked(scene: Scene) -> None:
    """Lock the table of the fetches, as a careless migration does."""
    await scene.pause(0.2, 0.8)
    async with await psycopg.AsyncConnection.connect(scene.rig.stack.postgres.url) as connection:
        await connection.execute("SET statement_timeout = 0")
        await connection.execute("SET idle_in_transaction_session_timeout = 0")
        await connection.execute("LOCK TABLE scrape_fetch IN ACCESS EXCLUSIVE MODE")
        await asyncio.sleep(scene.timing.lock)
    scene.heal()


async def postgres_full(scene: Scene) -> None:
    """Another program takes every connection. Beat's own connections are ended, and new ones are refused."""
    await scene.pause(0.2, 0.8)
    taken: list[psycopg.AsyncConnection[TupleRow]] = []
    url = scene.rig.stack.postgres.url
    try:
        deadline = time.monotonic() + scene.timing.lock
        while time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    taken.append(await psycopg.AsyncConnection.connect(url, autocommit=True))
            await taken[0].execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'beat %'"
            )
            await asyncio.sleep(0.05)
    finally:
        scene.extra["taken"] = len(taken)
        for connection in taken:
            await connection.close()
    scene.heal()
