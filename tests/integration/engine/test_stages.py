"""What the stages promise between one fetch and its rows, on Instagram's chain of five, with a simulated provider."""

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from beat_actors.credentials.turn import turn
from beat_actors.engine import Engine
from beat_actors.pipeline import alone
from beat_actors.pipeline.alone import try_alone
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.pipeline.retrieve import retrieve
from beat_actors.platforms.instagram import platform
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.lifecycle import SUSPECT
from beat_actors.settings import Settings
from beat_actors.simulator import SimulatorClient, SimulatorConfig, running
from beat_actors.transport.http import ProviderClient
from tests.observing import rows
from tests.worlds import engine_with

CHAIN = platform.chains["profile_by_handle"]
FLOW = "refresh_profile_by_handle"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running(SimulatorConfig(profiles=50, seed=1, drift_seconds=0)) as url:
        yield url


@pytest.fixture
async def admin(url: str) -> AsyncIterator[SimulatorClient]:
    async with SimulatorClient(url) as client:
        await client.set_limits(enabled=False)
        yield client


@pytest.fixture
async def engine(settings: Settings, url: str, admin: SimulatorClient) -> AsyncIterator[Engine]:
    del admin
    settings = settings.model_copy(update={"simulator_url": url})
    engine = engine_with(settings, ProviderClient(settings))
    for source in CHAIN:
        secret = (
            {"token": "own-token", "user_id": "17841400000000001"} if source == "graphapi" else {"key": f"{source}-1"}
        )
        await engine.credentials.add(source, secret)
    yield engine
    await engine.close()


async def accept(engine: Engine, handle: str = "creator_000001") -> int:
    wanted = NewRequest("instagram", FLOW, {"handle": handle, "posts": 0})
    ((accepted),) = await intake.accept(engine.database, [wanted])
    return accepted.id


async def to_the_last_stage(engine: Engine) -> list[int]:
    """The fetches that are read and not yet processed."""
    for _ in range(10):
        retrieved = await retrieve(engine, (await turn(engine.database, platform)).leased)
        ingested = await ingest(engine, retrieved.next)
        if ingested.next:
            return list(ingested.next)
    raise AssertionError("nothing was read")


@pytest.mark.parametrize("refusals", range(len(CHAIN)))
async def test_s1_7_the_call_that_a_source_refuses_goes_to_the_next(
    engine: Engine, admin: SimulatorClient, refusals: int
) -> None:
    """Also S1.10: it is one request with one end, and its consumer is told who answered and nothing of who did not."""
    for source in CHAIN[:refusals]:
        await admin.add_fault("outage", source)
    request = await accept(engine)
    await process(engine, await to_the_last_stage(engine))
    asked = await rows(
        engine.database, "SELECT source, outcome FROM trace_log WHERE request_id = %s ORDER BY at", (request,)
    )
    assert asked == [*((source, "upstream_down") for source in CHAIN[:refusals]), (CHAIN[refusals], "ok")]
    told = await rows(
        engine.database, "SELECT status, data - 'items' FROM scrape_request_log WHERE id = %s", (request,)
    )
    assert told == [("COMPLETE", {"source": CHAIN[refusals]})]


@pytest.mark.parametrize("refusals", [0, 2])
async def test_s1_10_the_chain_is_walked_within_one_request_with_one_end(
    engine: Engine, admin: SimulatorClient, refusals: int
) -> None:
    for source in CHAIN[:refusals]:
        await admin.add_fault("outage", source)
    request = await accept(engine)
    await process(engine, await to_the_last_stage(engine))
    assert await rows(engine.database, "SELECT id FROM scrape_request_log") == [(request,)]
    assert await rows(engine.database, "SELECT count(*) FROM scrape_fetch WHERE request_id = %s", (request,)) == [(1,)]
    ends = "SELECT subject FROM outbox_event WHERE subject LIKE 'scrape_request/%%'"
    assert await rows(engine.database, ends) == [(f"scrape_request/{request}",)]


# One batch of the last stage, in a process of its own.
ALONE = """
import asyncio, sys
from beat_actors.engine import Engine
from beat_actors.pipeline.process import process
from beat_actors.settings import load

async def main():
    engine = Engine.start(load(), name="alone")
    await process(engine, [int(number) for number in sys.argv[1:]])
    await engine.close()

asyncio.run(main())
"""
WRITTEN = ("instagram_account", "instagram_post", "profile_log", "post_log", "change_log", "outbox_event")


async def written(engine: Engine, request: int) -> list[Any]:
    counts = [await rows(engine.database, f"SELECT count(*) FROM {table}") for table in WRITTEN]
    return [
        *counts,
        await rows(engine.database, "SELECT status, items FROM scrape_request_log WHERE id = %s", (request,)),
    ]


def environment(settings: Settings, failpoints: str = "") -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("BEAT_")},
        "BEAT_DATABASE_URL": str(settings.database_url),
        "BEAT_DATABASE_PREPARED_STATEMENTS": str(settings.database_prepared_statements).lower(),
        "BEAT_REDIS_URL": str(settings.redis_url),
        "BEAT_VAULT_KEYS": settings.vault_keys.get_secret_value(),
        "BEAT_MESSAGE_KEYS": settings.message_keys.get_secret_value(),
        "BEAT_FAILPOINTS": failpoints,
    }


def process_alone(settings: Settings, fetches: list[int], failpoints: str = "") -> int:
    command = [sys.executable, "-c", ALONE, *map(str, fetches)]
    return subprocess.run(command, env=environment(settings, failpoints), timeout=60).returncode


@pytest.mark.parametrize("stage", ["RETRIEVED", "INGESTED"])
async def test_p6_a_suspect_that_kills_its_process_harms_neither_its_neighbours_nor_the_worker(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """They were tried together until nobody knows which of them it is; then each dies, or does not, by itself."""
    requests = [await accept(engine, f"creator_{n:06d}") for n in range(5)]
    for _ in range(10):
        read = (await retrieve(engine, (await turn(engine.database, platform)).leased)).next
        if stage == "INGESTED":
            await ingest(engine, read)
    fetches = dict(await rows(engine.database, "SELECT request_id, id FROM scrape_fetch"))
    async with engine.database.transaction() as transaction:
        assert await transaction.run("UPDATE scrape_fetch SET stage_attempts = %s", (SUSPECT,)) == len(requests)
    killers = requests[1], requests[2]
    if stage == "INGESTED":
        armed = ",".join(f"process.write~{request}=kill" for request in killers)
    else:
        armed = ",".join(f"ingest.parse~creator_{n:06d}=kill" for n in (1, 2))
    for name, value in environment(settings, armed).items():
        monkeypatch.setenv(name, value)
    result = await try_alone(list(fetches.values()))
    left = await rows(engine.database, "SELECT request_id, stage, stage_attempts FROM scrape_fetch ORDER BY request_id")
    moved_to = {"RETRIEVED": "INGESTED", "INGESTED": "DONE"}[stage]
    assert [(request, at) for request, at, _ in left] == [
        (request, stage if request in killers else moved_to) for request in requests
    ]
    assert [tries for request, _, tries in left if request in killers] == [SUSPECT + 1] * 2
    if stage == "RETRIEVED":
        assert sorted(result.next) == sorted(fetches[request] for request in requests if request not in killers)


async def test_p6_a_suspect_that_never_ends_is_ended(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await accept(engine)
    read = (await retrieve(engine, (await turn(engine.database, platform)).leased)).next
    for name, value in environment(settings, "ingest.parse=pause:600").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(alone, "PATIENCE", 5.0)
    assert (await try_alone(read)).next == []
    ((stage, tries),) = await rows(engine.database, "SELECT stage, stage_attempts FROM scrape_fetch")
    assert (stage, tries) == ("RETRIEVED", 1)


@pytest.mark.parametrize("point", ["process.after_claim", "process.write", "process.before_commit"])
async def test_s6_5_a_worker_that_is_killed_while_it_processes_leaves_no_row_changed(
    engine: Engine, settings: Settings, point: str
) -> None:
    request = await accept(engine)
    fetches = await to_the_last_stage(engine)
    before = await written(engine, request)
    died = await asyncio.to_thread(process_alone, settings, fetches, f"{point}=kill")
    assert died == -signal.SIGKILL
    assert await written(engine, request) == before
    async with engine.database.transaction() as transaction:
        await transaction.run("UPDATE scrape_fetch SET lease_until = clock_timestamp() - interval '1 second'")
    assert await asyncio.to_thread(process_alone, settings, fetches) == 0
    after = await written(engine, request)
    assert after[-1] == [("COMPLETE", 13)]
    rows_of = dict(zip(WRITTEN, after, strict=False))
    assert [rows_of[table] for table in ("profile_log", "post_log", "outbox_event")] == [[(1,)], [(12,)], [(1,)]]


async def test_s6_11_every_row_names_the_parser_that_read_it_and_two_versions_run_at_once(
    engine: Engine, admin: SimulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As during a deploy: workers with the old parser read beside such with the new one."""
    endpoints = platform.sources[CHAIN[0]].endpoints
    old = endpoints["profile_by_handle"]
    new = dataclasses.replace(old, version=old.version + 1)
    for endpoint in (old, new, old):
        monkeypatch.setitem(endpoints, "profile_by_handle", endpoint)  # type: ignore[arg-type]
        await accept(engine)
        await process(engine, await to_the_last_stage(engine))
    read_by = "SELECT parser_version FROM profile_log ORDER BY request_id"
    assert await rows(engine.database, read_by) == [(old.version,), (new.version,), (old.version,)]
    assert await rows(engine.database, "SELECT parser_version FROM instagram_account") == [(old.version,)]
    monkeypatch.setitem(endpoints, "profile_by_handle", new)  # type: ignore[arg-type]
    await admin.add_fault("missing_key", CHAIN[0], times=1)
    await accept(engine)
    await process(engine, await to_the_last_stage(engine))
    unreadable = "SELECT source, parser_version FROM quarantine"
    assert await rows(engine.database, unreadable) == [(CHAIN[0], new.version)]


async def test_p6_a_deadline_that_python_cannot_hold_stops_no_stage(engine: Engine) -> None:
    """A row of an earlier version, or of another hand; what follows up inherits the deadline in SQL."""
    wanted = NewRequest("instagram", FLOW, {"handle": "creator_000001", "posts": 50})
    ((accepted),) = await intake.accept(engine.database, [wanted])
    far = "UPDATE scrape_fetch SET expires_at = '10000-01-01T13:59:59Z' RETURNING 1"
    await rows(engine.database, far)
    for _ in range(10):
        leased = (await turn(engine.database, platform)).leased
        retrieved = await retrieve(engine, leased)
        await process(engine, (await ingest(engine, retrieved.next)).next)
    ((status, fetches, deadlines),) = await rows(
        engine.database,
        f"SELECT (SELECT status FROM scrape_request_log WHERE id = {accepted.id}), "
        "count(*) AS fetches, count(DISTINCT expires_at) AS deadlines FROM scrape_fetch",
    )
    assert (status, deadlines) == ("COMPLETE", 1)
    assert fetches > 1
