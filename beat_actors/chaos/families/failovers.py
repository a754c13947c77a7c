"""F5 and F6: another server of Valkey or PostgreSQL takes over. The old one refuses writes, or does not come back."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import psycopg
import redis

from beat_actors.chaos.scene import Scene
from beat_actors.chaos.waiting import ChaosError, until
from beat_actors.local.servers import PostgresServer, ValkeyServer

FILLER, KEYS = "chaos-filler", 200
FOLLOWER = {"replica-serve-stale-data": "no", "key-load-delay": 50_000, "loading-process-events-interval-bytes": 1024}
"""Settings of the old primary. It answers MASTERDOWN while it finds no primary, and LOADING while it loads keys, at 50 ms for each."""
LOADS_FOR = 15.0
"""Seconds in which a client must meet the answer LOADING. Consumers try again every three seconds."""
REFUSALS = ("READONLY", "LOADING", "MASTERDOWN")
JUST_NOW = 2
"""Seconds after its last command in which a connection counts as in use."""
OLD_WRITERS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'beat %%' AND xact_start < %s"
BEHIND = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()"
STILL_USED = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name LIKE 'beat %' AND state_change > clock_timestamp() - interval '2 s'
"""


async def redis_failover(scene: Scene) -> None:
    """Promote the replica. The old primary keeps its connections and becomes a replica.

    It answers READONLY, MASTERDOWN while it finds no primary, and LOADING while it loads the new primary's data: it has a write of its own,
    so it cannot continue from where the new primary began.
    """
    old, new = scene.rig.primary, _replica(scene)
    await scene.pause(0.2, 0.8)
    with _client(old) as first, _client(new) as second:
        await asyncio.to_thread(first.mset, {f"{FILLER}:{n}": "x" * 2000 for n in range(KEYS)})
        await until(lambda: bool(second.exists(f"{FILLER}:{KEYS - 1}")), within=10, what="the replica did not follow")
        for name, value in {**FOLLOWER, "masterauth": old.password}.items():
            first.config_set(name, value)
        second.config_set("repl-diskless-sync-delay", 0)
        before = _refusals(first)
        async with _readiness(scene, "redis"):
            second.replicaof("NO", "ONE")
            first.set(FILLER, "the new primary does not have this")
            with socket.create_server(("127.0.0.1", 0)) as nobody:
                first.replicaof("127.0.0.1", nobody.getsockname()[1])
                await asyncio.sleep(scene.timing.outage / 2)
            first.replicaof("127.0.0.1", new.port)
            with contextlib.suppress(ChaosError):  # the missing answer is reported below, after the fault is healed
                await until(
                    lambda: _refusals(first)["LOADING"] > before["LOADING"], within=LOADS_FOR, what="it loads unseen"
                )
            refused = {kind: count - before[kind] for kind, count in _refusals(first).items()}
            _lead_to(scene, new)
        scene.extra |= {kind.lower(): count for kind, count in refused.items()}
        for kind, count in refused.items():
            scene.complain(not count, f"nobody was answered {kind}")
        await scene.drained()
        with contextlib.suppress(ChaosError):
            await until(lambda: not _uses(first), within=scene.timing.store_budget, what="it is still used")
        uses = _uses(first)
        scene.complain(bool(uses), f"the old primary is still used or listened to, by: {', '.join(uses)}")


async def redis_killed(scene: Scene) -> None:
    """Kill the primary for good and promote the replica. What the primary had not sent to the replica is lost."""
    new, mark = _replica(scene), scene.rig.mark()
    await scene.pause(0.2, 0.8)
    async with _readiness(scene, "redis"):
        await asyncio.to_thread(scene.rig.hold, "valkey")
        await asyncio.sleep(scene.timing.outage)
        with _client(new) as second:
            second.replicaof("NO", "ONE")
        _lead_to(scene, new)
    await scene.drained()
    scene.complain_of_broken_off(mark)


async def postgres_failover(scene: Scene) -> None:
    """Kill the primary for good and promote the standby, which has all that the primary confirmed."""
    standby = _standby(scene)
    await scene.pause(0.2, 0.8)
    async with _readiness(scene, "database"):
        await asyncio.to_thread(scene.rig.hold, "postgres", signal.SIGQUIT)
        await asyncio.sleep(scene.timing.outage)
        await _promote(scene, standby)
    await scene.drained()


async def postgres_switchover(scene: Scene) -> None:
    """Make the primary read only under its connections, and promote the standby when it has all that was written."""
    old, standby = scene.rig.stack.postgres, _standby(scene)
    await scene.pause(0.2, 0.8)
    async with await psycopg.AsyncConnection.connect(old.url, autocommit=True) as first:
        async with _readiness(scene, "database"):
            await first.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            await first.execute("SELECT pg_reload_conf()")
            await asyncio.sleep(GRACE_OF_RELOAD)
            now = await _value(first, "SELECT clock_timestamp()")
            await _reached(first, OLD_WRITERS, 0, "transactions went on writing on the old primary", now)
            await _reached(first, BEHIND, 1, "the standby did not catch up")
            await asyncio.sleep(scene.timing.outage)
            await _promote(scene, standby)
        await scene.drained()
        await _reached(first, STILL_USED, 0, "processes went on using the old primary")


GRACE_OF_RELOAD = 1.0
"""Seconds in which every session reads the settings again."""


async def _reached(connection: psycopg.AsyncConnection[Any], sql: str, wanted: int, what: str, *params: Any) -> None:
    """Wait until the query returns `wanted`. Raises `ChaosError` with `what` after ten seconds."""
    deadline = asyncio.get_running_loop().time() + 10.0
    while await _value(connection, sql, *params) != wanted:
        if asyncio.get_running_loop().time() > deadline:
            raise ChaosError(f"{what} within 10 s")
        await asyncio.sleep(0.1)


async def _value(connection: psycopg.AsyncConnection[Any], sql: str, *params: Any) -> Any:
    row = await (await connection.execute(sql.encode(), params or None)).fetchone()
    return row[0] if row else None


async def _promote(scene: Scene, standby: PostgresServer) -> None:
    """Promote the standby, and return when it takes writes."""
    async with await psycopg.AsyncConnection.connect(standby.url_of("postgres"), autocommit=True) as connection:
        promoted = await _value(connection, "SELECT pg_promote(true, 30)")
    scene.complain(not promoted, "the standby was not promoted")
    scene.rig.spent = True


@contextlib.asynccontextmanager
async def _readiness(scene: Scene, dependency: str) -> AsyncIterator[None]:
    """Around a fault that ends with the block: `/readyz` must report the dependency during the block, and report it well after the block.

    Without the database the API is not ready (503). Without Redis it is ready, and says that Redis is missing.
    """
    seen: set[tuple[int, bool]] = set()
    watch = asyncio.create_task(_watch(scene, dependency, seen))
    expected = (503 if dependency == "database" else 200, False)
    try:
        yield
        scene.heal()
        scene.complain(expected not in seen, f"/readyz said nothing of the {dependency} that takes no writes")
        seen.clear()
        try:
            await until(lambda: (200, True) in seen, within=scene.timing.store_budget, what="/readyz did not come back")
        except ChaosError as error:
            scene.complaints.append(str(error))
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def _watch(scene: Scene, dependency: str, seen: set[tuple[int, bool]]) -> None:
    """Collect each pair of the status of `/readyz` and whether it reported the dependency as well."""
    timeout = aiohttp.ClientTimeout(total=5.0)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with http.get(f"{scene.rig.stack.api_url}/readyz") as response:
                    checks = (await response.json())["checks"]
                    seen.add((response.status, checks[dependency] == "ok"))
            await asyncio.sleep(0.2)


def _lead_to(scene: Scene, new: ValkeyServer) -> None:
    """Lead new connections to the new primary."""
    assert scene.rig.proxies is not None
    scene.rig.proxies.valkey.lead_to(new.port)
    scene.rig.primary = new
    scene.rig.spent = True


def _replica(scene: Scene) -> ValkeyServer:
    assert scene.rig.replica is not None
    return scene.rig.replica


def _standby(scene: Scene) -> PostgresServer:
    assert scene.rig.standby is not None
    return scene.rig.standby


def _client(server: ValkeyServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, socket_timeout=5.0, socket_connect_timeout=1.0)


def _uses(client: redis.Redis) -> list[str]:
    """The connections of other clients that subscribe, or that had a command answered just now. Those of replication are not among them."""
    own = str(client.client_id())
    found: Any = client.client_list(_type="normal") + client.client_list(_type="pubsub")
    return [
        f"{one['user']} {one['cmd']}"
        for one in found
        if one["id"] != own and (one["sub"] != "0" or int(one["idle"]) < JUST_NOW)
    ]


def _refusals(client: redis.Redis) -> Mapping[str, int]:
    """How often the server answered with each error of a server that takes no writes."""
    found: Any = client.info("errorstats")
    return {kind: int(found.get(f"errorstat_{kind}", {}).get("count", 0)) for kind in REFUSALS}
