"""The engine loses nothing and does nothing twice, whatever is killed or wiped under it."""

import asyncio
import os
import random
import signal

import psutil
import pytest
import redis

from actors.encoder import SignedEncoder
from actors.mailbox import INGEST, PROCESS, RETRIEVE
from beat_actors.settings import parse_keys
from tests.integration.engine.conftest import System

pytestmark = pytest.mark.timeout(240)


async def test_requests_end_complete_and_the_books_agree(system: System) -> None:
    ids = await system.submit(60)
    await system.all_ended(ids)
    system.assert_nothing_lost_or_doubled(ids)
    await system.assert_the_books_agree()


async def test_s1_6_and_s1_10_an_outage_is_answered_by_the_next_source(system: System) -> None:
    """The consumer sees one request, and which source answered."""
    await system.with_simulator(lambda simulator: simulator.add_fault("outage", "graphapi"))
    ids = await system.submit(40, start=100)
    await system.all_ended(ids)
    await system.with_simulator(lambda simulator: simulator.clear_faults())
    system.assert_nothing_lost_or_doubled(ids)
    outcomes = system.rows(
        "SELECT source, outcome FROM trace_log WHERE request_id = ANY(%s) AND operation = 'profile_by_handle' "
        "AND fetch_id IN (SELECT fetch_id FROM trace_log WHERE source = 'graphapi') ORDER BY at",
        ids,
    )
    assert ("graphapi", "upstream_down") in [tuple(row) for row in outcomes]
    assert ("arraybobo", "ok") in [tuple(row) for row in outcomes]
    sources = {
        row.source
        for row in system.rows("SELECT data->>'source' AS source FROM scrape_request_log WHERE id = ANY(%s)", ids)
    }
    assert "graphapi" not in sources
    await system.assert_the_books_agree()


async def test_s4_4_killing_workers_loses_and_duplicates_nothing(system: System) -> None:
    await system.with_simulator(lambda simulator: simulator.set_latency(0.15))
    dice = random.Random(4)
    ids = await system.submit(150, start=200)
    for _ in range(4):
        await asyncio.sleep(dice.uniform(0.2, 0.6))
        for victim in dice.sample(found := system.worker_processes(), k=min(1, len(found))):
            os.kill(victim, signal.SIGKILL)
        await system.until(
            lambda: any(s.name == "workers" and s.state == "up" for s in system.stack.supervisor.status())
        )
    await system.all_ended(ids)
    await system.with_simulator(lambda simulator: simulator.set_latency(0.0))
    system.assert_nothing_lost_or_doubled(ids)
    await system.assert_the_books_agree()


@pytest.mark.slow
async def test_a_restart_of_the_workers_breaks_off_no_call(system: System) -> None:
    """SIGTERM, as a deploy sends it: what runs ends first, so no call's outcome is unknown and no breaker opens."""
    system.forget_the_outage()
    unknown = "SELECT count(*) FROM trace_log WHERE outcome IN ('unknown', 'upstream_down')"
    before = system.value(unknown)
    await system.with_simulator(lambda simulator: simulator.set_latency(0.4))
    ids = await system.submit(100, start=800)
    for _ in range(2):
        await asyncio.sleep(0.6)
        (workers,) = [status for status in system.stack.supervisor.status() if status.name == "workers"]
        assert workers.pid is not None
        restarts = workers.restarts
        os.kill(workers.pid, signal.SIGTERM)
        await system.until(
            lambda seen=restarts: any(
                s.name == "workers" and s.state == "up" and s.restarts > seen for s in system.stack.supervisor.status()
            )
        )
    await system.all_ended(ids)
    await system.with_simulator(lambda simulator: simulator.set_latency(0.0))
    system.assert_nothing_lost_or_doubled(ids)
    assert system.value(unknown) == before
    assert system.value("SELECT count(*) FROM breaker WHERE open_until IS NOT NULL") == 0
    await system.assert_the_books_agree()


@pytest.mark.slow
async def test_a_master_that_is_killed_leaves_no_orphans(system: System) -> None:
    """Workers without a master would go on for days with the code of yesterday."""
    system.forget_the_outage()
    ids = await system.submit(50, start=900)
    await system.until(lambda: bool(system.worker_processes()))  # the test before has just started a master
    (workers,) = [status for status in system.stack.supervisor.status() if status.name == "workers"]
    assert workers.pid is not None
    children = system.worker_processes()
    os.kill(workers.pid, signal.SIGKILL)
    await system.until(lambda: not any(psutil.pid_exists(child) for child in children))
    await system.all_ended(ids)
    system.assert_nothing_lost_or_doubled(ids)


async def test_p1_wiping_valkey_loses_nothing(system: System) -> None:
    await system.with_simulator(lambda simulator: simulator.set_latency(0.1))
    client = redis.Redis.from_url(system.stack.valkey.url)
    ids = await system.submit(150, start=400)
    for _ in range(5):
        await asyncio.sleep(0.3)
        client.flushall()
    (valkey,) = [status for status in system.stack.supervisor.status() if status.name == "valkey"]
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGKILL)
    await system.all_ended(ids)
    await system.with_simulator(lambda simulator: simulator.set_latency(0.0))
    system.assert_nothing_lost_or_doubled(ids)
    await system.assert_the_books_agree()


async def test_s6_3_and_s6_4_and_s6_6_unreadable_answers_go_to_the_next_source_and_blame_no_credential(
    system: System,
) -> None:
    system.forget_the_outage()
    for variant in ("html", "truncated", "missing_key"):
        await system.with_simulator(lambda simulator, kind=variant: simulator.add_fault(kind, "graphapi", times=3))
    ids = await system.submit(12, start=600)
    await system.all_ended(ids)
    await system.with_simulator(lambda simulator: simulator.clear_faults())
    system.assert_nothing_lost_or_doubled(ids)
    quarantined = system.rows(
        "SELECT error, path FROM quarantine WHERE request_id = ANY(%s) AND kind = 'malformed'", ids
    )
    assert len(quarantined) == 9
    assert any(row.path and row.path != "$" for row in quarantined)
    assert system.value("SELECT count(*) FROM credential WHERE source = 'graphapi' AND disabled_till IS NOT NULL") == 0
    await system.assert_the_books_agree()


async def test_a_revoked_credential_is_out_at_once_and_nothing_fails(system: System) -> None:
    system.forget_the_outage()
    await system.with_simulator(lambda simulator: simulator.add_fault("revoked", "graphapi", credential="test-token-0"))
    ids = await system.submit(60, start=700)
    await system.all_ended(ids)
    await system.with_simulator(lambda simulator: simulator.clear_faults())
    system.assert_nothing_lost_or_doubled(ids)
    dead = system.rows("SELECT id, dead_reason FROM credential WHERE dead_at IS NOT NULL")
    assert len(dead) == 1
    assert (
        system.value("SELECT count(*) FROM credential_event WHERE credential_id = %s AND kind = 'dead'", dead[0].id)
        == 1
    )
    await system.assert_the_books_agree()


@pytest.mark.slow
async def test_p6_messages_replayed_forged_or_broken_change_nothing(system: System) -> None:
    """Old messages with a good signature, of every stage, for work that is done and for work that moves; and garbage among them."""
    system.forget_the_outage()
    await system.with_simulator(lambda simulator: simulator.set_latency(0.1))
    done = await system.submit(30, start=900)
    await system.all_ended(done)
    moving = await system.submit(60, start=930)
    client = redis.Redis.from_url(system.stack.valkey.url)
    encoder = SignedEncoder(parse_keys(system.stack.env["BEAT_MESSAGE_KEYS"]))
    garbage = 0
    for n in range(5):
        await asyncio.sleep(0.2)
        fetches = [
            row.id for row in system.rows("SELECT id FROM scrape_fetch WHERE request_id = ANY(%s)", [*done, *moving])
        ]
        for stage in (RETRIEVE, INGEST, PROCESS):
            fields = {"queue_name": stage, "actor_name": stage, "args": (fetches,), "kwargs": {}, "options": {}}
            old = encoder.encode(fields | {"message_id": "a", "message_timestamp": 1})
            for copy in range(3):
                _put(client, stage, f"replayed-{n}-{copy}", old)
            for copy, broken in enumerate((old[:-1], old.replace(b"[[", b"[[1,"), b"{not json")):
                _put(client, stage, f"broken-{n}-{copy}", broken)
                garbage += 1
    await system.all_ended([*done, *moving])
    await system.with_simulator(lambda simulator: simulator.set_latency(0.0))
    queues = [f"dramatiq:{stage}.msgs" for stage in (RETRIEVE, INGEST, PROCESS)]
    await system.until(lambda: not client.exists(*queues))
    system.assert_nothing_lost_or_doubled([*done, *moving])
    assert system.value("SELECT count(*) FROM quarantine WHERE kind = 'message'") == garbage
    await system.assert_the_books_agree()


def _put(client: redis.Redis, queue: str, redis_id: str, data: bytes) -> None:
    client.hset(f"dramatiq:{queue}.msgs", redis_id, data)  # type: ignore[arg-type]
    client.rpush(f"dramatiq:{queue}", redis_id)


async def test_p8_no_secret_leaves_the_vault(system: System) -> None:
    """After all of the above: not in any log, not in a dump of the database, not in Valkey."""
    logs = b"".join(log.read_bytes() for log in system.stack.home.logs.glob("*.log*"))
    dump = system.dump()
    client = redis.Redis.from_url(system.stack.valkey.url)
    messages = b"".join(bytes(client.dump(key) or b"") + key for key in client.scan_iter(count=1000))
    assert b"trace_log" in dump
    keys = tuple(
        ring.partition(":")[2].encode()
        for ring in (system.stack.env["BEAT_VAULT_KEYS"], system.stack.env["BEAT_MESSAGE_KEYS"])
    )
    for canary in (
        *keys,
        b"test-token-",
        b"test-arraybobo-",
        b"test-jotucker-",
        b"test-lama-",
        b"test-bestsolutions-",
    ):
        assert canary not in logs
        assert canary not in dump
        assert canary not in messages
