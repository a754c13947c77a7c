"""What the stages promise between one fetch and its rows, on Instagram's chain of five, with a simulated provider."""

import asyncio
import dataclasses
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.errors import NoAvailableSources, SecretMissing
from beat_actors.fetches import completion
from beat_actors.fetches.claims import ISOLATE_AFTER, claim_ingested
from beat_actors.payloads.structure import structure_of
from beat_actors.pipeline import isolation
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.isolation import run_isolated
from beat_actors.pipeline.process import process
from beat_actors.pipeline.records import unpack, unpack_records
from beat_actors.pipeline.writing import write
from beat_actors.platforms.instagram import platform
from beat_actors.requests import explain, intake
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.lifecycle import cancel
from beat_actors.settings import Settings
from beat_actors.simulator import SimulatorClient
from tests.events import LIVES, lives
from tests.observing import rows
from tests.stages import retrieve
from tests.worlds import MovableClock, ScriptedClient, engine_with

WAITING_FOR_A_LOCK = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
CHAIN = platform.chains["profile_by_handle"]
FLOW = "refresh_profile_by_handle"


@pytest.fixture
def clock(database_url: str) -> Iterator[MovableClock]:
    clock = MovableClock(database_url)
    yield clock
    clock.close()


async def accept(engine: Engine, handle: str = "creator_000001") -> int:
    wanted = NewRequest("instagram", FLOW, {"handle": handle, "posts": 0})
    ((accepted),) = await intake.accept(engine.database, [wanted])
    return accepted.id


async def to_the_last_stage(engine: Engine, reader: Engine | None = None) -> list[int]:
    """The fetches that are read and not yet processed."""
    for _ in range(10):
        retrieved = await retrieve(engine, (await turn(engine.database, platform)).leased)
        ingested = await ingest(reader or engine, retrieved.next)
        if ingested.next:
            return list(ingested.next)
    raise AssertionError("nothing was read")


@pytest.mark.parametrize("refusals", range(len(CHAIN)))
async def test_s1_7_and_s1_10_the_call_that_a_source_refuses_goes_to_the_next(
    engine: Engine, admin: SimulatorClient, refusals: int
) -> None:
    """The request has one end, and its consumer is told which source answered and nothing of the others."""
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


async def test_what_providers_answered_is_read_without_a_key_of_the_vault_or_of_messages(
    engine: Engine, settings: Settings
) -> None:
    request = await accept(engine)
    reader = engine_with(settings.model_copy(update={"vault_keys": None, "message_keys": None}), ScriptedClient(never))
    with pytest.raises(SecretMissing):
        reader.vault.require()
    try:
        await process(reader, await to_the_last_stage(engine, reader))
    finally:
        await reader.close()
    assert await status_of(engine, request) == "COMPLETE"


def never(source: Any, _call: Any) -> Any:
    raise AssertionError(f"{source.name} was called")


async def test_the_process_for_isolated_fetches_is_started_without_secrets(
    engine: Engine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        f"import os\nopen({str(tmp_path / 'seen')!r}, 'w').write(chr(10).join(os.environ))"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("BEAT_DATABASE_URL", str(settings.database_url))
    monkeypatch.setenv("BEAT_REDIS_URL", str(settings.redis_url))
    for name in ("BEAT_VAULT_KEYS", "BEAT_MESSAGE_KEYS", "BEAT_DATABASE_OWNER_URL", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "not a key")  # the child would not start with it
    request = await accept(engine)
    await run_isolated(await to_the_last_stage(engine))
    assert await status_of(engine, request) == "COMPLETE"
    seen = set((tmp_path / "seen").read_text().splitlines())
    assert "BEAT_DATABASE_URL" in seen
    assert not seen & isolation.WITHHELD


async def test_s2_1_each_claim_is_measured_from_when_the_work_was_handed_over(engine: Engine) -> None:
    await accept(engine)
    await process(engine, await to_the_last_stage(engine))
    claims = engine.database.metrics.claims
    assert len(claims) == 3  # by retrieve, ingest and process
    assert 0 < claims.quantile(1.0) < 30


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
    ((began, *middle, end),) = lives(await rows(engine.database, LIVES)).values()
    assert (began, end, {*middle} - {"processing", "waiting"}, middle.count("processing")) == (
        "accepted",
        "complete",
        set(),
        1,
    )


async def step(engine: Engine) -> None:
    """One turn, and the stages over what it leased."""
    retrieved = await retrieve(engine, (await turn(engine.database, platform)).leased)
    await process(engine, (await ingest(engine, retrieved.next)).next)


async def status_of(engine: Engine, request: int) -> Any:
    ((status,),) = await rows(engine.database, "SELECT status FROM scrape_request_log WHERE id = %s", (request,))
    return status


async def test_s1_9_and_s3_2_with_all_five_down_a_request_waits_and_is_answered_when_one_is_back(
    clock: MovableClock, engine: Engine, admin: SimulatorClient
) -> None:
    """The fifth case; the test of S1.7 has the other four."""
    for source in CHAIN:
        await admin.add_fault("outage", source)
    requests = [await accept(engine, f"creator_{n:06d}") for n in range(5)]
    for _ in range(10):  # the last of them takes two calls a second
        await step(engine)
        clock.advance(1.1)
    down = "SELECT DISTINCT source FROM breaker WHERE kind = 'upstream' AND open_until > clock_timestamp()"
    assert {source for (source,) in await rows(engine.database, down)} == set(CHAIN)
    await step(engine)
    waiting = "SELECT DISTINCT stage FROM scrape_fetch"
    assert await rows(engine.database, waiting) == [("WAITING",)]
    assert {await status_of(engine, request) for request in requests} == {"PROCESSING"}
    with pytest.raises(NoAvailableSources, match=r"^No source is available at the moment$") as nothing:
        await engine.credentials.get_enabled_cred("instagram", "profile_by_handle")
    assert nothing.value.earliest_at is not None
    assert {reason["source"] for reason in nothing.value.reasons} == set(CHAIN)
    async with engine.database.transaction() as transaction:
        found = await explain.why(transaction, requests[0])
    assert found.next_attempt_at is not None
    # One that has no time to wait for them is told at once.
    soon = datetime.fromtimestamp(clock.now() + 2, UTC)
    hurried = NewRequest("instagram", FLOW, {"handle": "creator_000040", "posts": 0}, expires_at=soon)
    ((accepted),) = await intake.accept(engine.database, [hurried])
    await step(engine)
    assert await status_of(engine, accepted.id) == "FAILED"
    await admin.clear_faults()
    for _ in range(12):
        clock.advance(40)
        await step(engine)
    assert {await status_of(engine, request) for request in requests} == {"COMPLETE"}


async def test_s1_2_each_call_is_one_row_with_all_that_was_seen_of_it_and_no_secret(
    settings: Settings, engine: Engine, admin: SimulatorClient
) -> None:
    """Redis is away the whole time: what is recorded goes with the fetch, into the same transaction."""
    away = engine.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    engine = dataclasses.replace(engine, settings=away)
    await admin.add_fault("outage", CHAIN[0])
    await admin.add_fault("html", CHAIN[1])
    await admin.reset_ledger()
    request = await accept(engine)
    await process(engine, await to_the_last_stage(engine))
    traced = await rows(
        engine.database,
        "SELECT source, method, status, outcome, request_id, credential_id, url, ms FROM trace_log ORDER BY at",
    )
    assert [row[:5] for row in traced] == [
        ("graphapi", "GET", 503, "upstream_down", request),
        ("arraybobo", "GET", 200, "ok", request),
        ("jotucker", "GET", 200, "ok", request),
    ]
    assert (await admin.ledger())["calls"] == len(traced)
    owners = dict(await rows(engine.database, "SELECT id, source FROM credential"))
    for source, *_, credential_id, url, ms in traced:
        assert owners[credential_id] == source
        assert url.startswith(f"{engine.settings.simulator_url}/{source}/")
        assert ms > 0
    assert "access_token=***" in traced[0][6]
    whole = await rows(engine.database, "SELECT t::text FROM trace_log t")
    for secret in ("own-token", *(f"{source}-1" for source in CHAIN)):
        assert not any(secret in row for (row,) in whole)


async def test_s6_1_what_cannot_be_read_is_kept_with_its_path_its_place_and_its_payload(
    engine: Engine, admin: SimulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is gone is named; a bug of the parser's says where it happened. The payload of either can be looked at."""
    await admin.add_fault("missing_key", CHAIN[0])
    broken = platform.sources[CHAIN[1]].endpoints["profile_by_handle"]

    def parse(*_: Any) -> Any:
        return {}["follower_count"]

    monkeypatch.setitem(  # type: ignore[misc]
        platform.sources[CHAIN[1]].endpoints,  # type: ignore[arg-type]
        "profile_by_handle",
        dataclasses.replace(broken, parse=parse),
    )
    request = await accept(engine)
    await process(engine, await to_the_last_stage(engine))
    kept = await rows(
        engine.database,
        "SELECT q.source, q.path, q.error, q.request_id, p.body, q.shape FROM quarantine q "
        "JOIN raw_payload p ON p.fetch_id = q.fetch_id AND p.created_at = q.payload_at ORDER BY q.id",
    )
    assert [(row[0], row[3]) for row in kept] == [(each, request) for each in CHAIN[:2]]
    assert [row[5] for row in kept] == [structure_of(unpack(row[4])) for row in kept]
    assert kept[0][1].startswith("$.business_discovery")
    assert re.fullmatch(r"KeyError: 'follower_count' \(parse, line \d+\)", kept[1][2])
    assert await status_of(engine, request) == "COMPLETE"


async def test_s6_2_when_no_source_can_be_read_the_request_fails_and_each_hop_is_on_record(
    engine: Engine, admin: SimulatorClient
) -> None:
    for source in CHAIN:
        await admin.add_fault("html", source)
    request = await accept(engine)
    for _ in range(len(CHAIN) + 1):
        await step(engine)
    ((status, error),) = await rows(engine.database, "SELECT status, data->'error' FROM scrape_request_log")
    assert (status, error["code"]) == ("FAILED", "malformed")
    last = f"the last call, to {CHAIN[-1]}, ended with malformed ($)"
    assert error["message"] == f"no source gave an answer that can be read; {last}"
    hops = "SELECT source FROM trace_log WHERE request_id = %s ORDER BY at"
    assert [source for (source,) in await rows(engine.database, hops, (request,))] == list(CHAIN)
    unread = "SELECT source, error FROM quarantine WHERE request_id = %s ORDER BY id"
    quarantined = await rows(engine.database, unread, (request,))
    assert [source for source, _ in quarantined] == list(CHAIN)
    assert all("is not JSON" in error for _, error in quarantined)


# One batch of the last stage, in a process of its own.
ALONE = """
import asyncio, sys
from beat_actors.engine import Engine
from beat_actors.pipeline.process import process
from beat_actors.pipeline.records import unpack_records
from beat_actors.pipeline.writing import write
from beat_actors.settings import load

async def main():
    engine = Engine.start(load(), name="alone")
    await process(engine, [int(number) for number in sys.argv[1:]])
    await engine.close()

asyncio.run(main())
"""
# The same of the stage before, with a parser whose version is the next one.
OF_TOMORROW = """
import asyncio, dataclasses, sys
from beat_actors.engine import Engine
from beat_actors.pipeline.ingest import ingest
from beat_actors.platforms.instagram import platform
from beat_actors.settings import load

async def main():
    endpoints = platform.sources["graphapi"].endpoints
    old = endpoints["profile_by_handle"]
    endpoints["profile_by_handle"] = dataclasses.replace(old, version=old.version + 1)
    engine = Engine.start(load(), name="tomorrow")
    await ingest(engine, [int(number) for number in sys.argv[1:]])
    await engine.close()

asyncio.run(main())
"""
WRITTEN = ("instagram_account", "instagram_post", "profile_log", "post_log", "event")


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
        "BEAT_ENVIRONMENT": "rehearsal",
        "BEAT_FAILPOINTS": failpoints,
    }


def process_alone(settings: Settings, fetches: list[int], failpoints: str = "", program: str = ALONE) -> int:
    command = [sys.executable, "-c", program, *map(str, fetches)]
    return subprocess.run(command, env=environment(settings, failpoints), timeout=60).returncode


def ingest_as_of_tomorrow(settings: Settings, fetches: list[int]) -> int:
    return process_alone(settings, fetches, program=OF_TOMORROW)


async def engine_without(engine: Engine, *tables: str) -> None:
    """What was written so far is gone."""
    async with engine.database.transaction() as transaction:
        for table in tables:
            await transaction.run(f"DELETE FROM {table}")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["RETRIEVED", pytest.param("INGESTED", marks=pytest.mark.exhaustive)])
async def test_p6_an_isolated_fetch_that_kills_its_process_harms_neither_its_neighbours_nor_the_worker(
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
        assert await transaction.run("UPDATE scrape_fetch SET stage_attempts = %s", (ISOLATE_AFTER,)) == len(requests)
    killers = requests[1], requests[2]
    if stage == "INGESTED":
        armed = ",".join(f"process.write~{request}=kill" for request in killers)
    else:
        armed = ",".join(f"ingest.parse~creator_{n:06d}=kill" for n in (1, 2))
    for name, value in environment(settings, armed).items():
        monkeypatch.setenv(name, value)
    result = await run_isolated(list(fetches.values()))
    left = await rows(engine.database, "SELECT request_id, stage, stage_attempts FROM scrape_fetch ORDER BY request_id")
    moved_to = {"RETRIEVED": "INGESTED", "INGESTED": "DONE"}[stage]
    assert [(request, at) for request, at, _ in left] == [
        (request, stage if request in killers else moved_to) for request in requests
    ]
    assert [tries for request, _, tries in left if request in killers] == [ISOLATE_AFTER + 1] * 2
    if stage == "RETRIEVED":
        assert sorted(result.next) == sorted(fetches[request] for request in requests if request not in killers)


def test_p6_an_isolated_fetch_that_takes_all_memory_is_refused_it() -> None:
    greedy = "from beat_actors.pipeline.isolation import limit_memory as limit\nlimit()\nbytearray(1 << 20)\nbytearray(1 << 31)"
    said = subprocess.run([sys.executable, "-c", greedy], capture_output=True, text=True, timeout=60, check=False)
    assert said.stderr.splitlines()[-1] == "MemoryError"


@pytest.mark.exhaustive
async def test_p6_an_isolated_fetch_that_never_ends_is_ended(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await accept(engine)
    read = (await retrieve(engine, (await turn(engine.database, platform)).leased)).next
    for name, value in environment(settings, "ingest.parse=pause:600").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(isolation, "DEADLINE", 20.0)
    assert (await run_isolated(read)).next == []
    ((stage, tries),) = await rows(engine.database, "SELECT stage, stage_attempts FROM scrape_fetch")
    assert (stage, tries) == ("RETRIEVED", 1)


POINTS = [
    pytest.param("process.after_claim", marks=pytest.mark.exhaustive),
    pytest.param("process.write", marks=pytest.mark.exhaustive),
    "process.before_commit",
]


@pytest.mark.parametrize("point", POINTS)
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
    await process(engine, fetches)
    after = await written(engine, request)
    assert after[-1] == [("COMPLETE", 13)]
    rows_of = dict(zip(WRITTEN, after, strict=False))
    # The events: accepted, processing, complete, and the changes of accounts and of posts.
    assert [rows_of[table] for table in ("profile_log", "post_log", "event")] == [[(1,)], [(12,)], [(5,)]]


async def test_a_request_is_cancelled_before_or_after_what_its_answer_changed(engine: Engine) -> None:
    """What an answer changed is an event of its request. Its id is drawn while nobody else publishes anything of the request, so that ids and
    commits have one order."""
    request = await accept(engine)
    claims = await claim_ingested(engine.database, await to_the_last_stage(engine), isolated=False)

    async def cancelling() -> list[int]:
        async with engine.database.transaction() as transaction:
            return await cancel(transaction, [request], reason="test")

    async with engine.database.transaction() as transaction:
        assert await completion.written(transaction, claims) == {claim.id for claim in claims}
        other = asyncio.create_task(cancelling())
        while not other.done() and not (await rows(engine.database, WAITING_FOR_A_LOCK))[0][0]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert not other.done()
        await write(transaction, [(claim, unpack_records(claim.records)) for claim in claims])
    assert await other == []
    events = await rows(
        engine.database, "SELECT type FROM event WHERE subject = %s ORDER BY id", (f"scrape_request/{request}",)
    )
    assert [kind for (kind,) in events][-2:] == ["beat.data.changed", "beat.scrape_request.complete"]


async def test_s6_11_every_row_names_the_parser_that_read_it_and_two_versions_run_at_once(
    engine: Engine, admin: SimulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As during a deploy: workers with the old parser read beside such with the new one."""
    requests = [await accept(engine, f"creator_{n:06d}") for n in range(10, 18)]
    read = (await retrieve(engine, (await turn(engine.database, platform)).leased)).next
    assert len(read) == len(requests)
    others = asyncio.to_thread(ingest_as_of_tomorrow, engine.settings, read[::2])
    (ours, died) = await asyncio.gather(ingest(engine, read[1::2]), others)
    assert (len(ours.next), died) == (4, 0)
    await process(engine, read)
    both = "SELECT parser_version - min(parser_version) OVER (), count(*) FROM profile_log GROUP BY parser_version ORDER BY 1"
    assert await rows(engine.database, both) == [(0, 4), (1, 4)]
    await engine_without(engine, "profile_log", "instagram_account")
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
