"""The metrics of an installation: whole, exact where they say so, and never lower than before, whoever dies."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from beat_actors.broker.turn import turn
from beat_actors.database import Database
from beat_actors.database.metrics import Metrics as OfProcess
from beat_actors.database.reporting import Reporter
from beat_actors.engine import Engine
from beat_actors.observe import families as declared
from beat_actors.observe import state, tally
from beat_actors.observe.counts import MOST_SETS
from beat_actors.observe.exposition import OPEN, PLAIN
from beat_actors.observe.metrics import Metrics, read
from beat_actors.pipeline.ingest import ingest
from beat_actors.requests import intake, lifecycle
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.states import Priority
from beat_actors.settings import Settings
from tests.integration.assets.backlog_rows import PENDING
from tests.integration.observe.scraped import decreased, families, of, samples, scrape
from tests.promtool import needs_promtool, promtool
from tests.stages import retrieve
from tests.worlds import TOY, ScriptedClient, answer, toy_engine


@pytest.fixture
def script() -> ScriptedClient:
    return ScriptedClient(lambda source, call: answer())


@pytest.fixture
async def engine(settings: Settings, script: ScriptedClient) -> AsyncIterator[Engine]:
    async with toy_engine(settings, script, "abc") as engine:
        await engine.credentials.add("toy-second", {"key": "d"})
        yield engine


async def accept(engine: Engine, count: int, priority: Priority = Priority.STANDARD) -> list[int]:
    wanted = [NewRequest("toy", "look", {"name": f"{priority.word} {n}"}, priority=priority) for n in range(count)]
    return [one.id for one in await intake.accept(engine.database, wanted)]


async def work(engine: Engine) -> None:
    """Until nothing can be leased."""
    while leased := (await turn(engine.database, TOY)).leased:
        retrieved = await retrieve(engine, leased)
        await ingest(engine, retrieved.next, go_on=True)
    await turn(engine.database, TOY)


def process_like(database: Database) -> Reporter:
    """The reporter of another process on the same database."""
    other = Database(database.settings, name="worker")
    return Reporter(other, name="worker")


async def forget_a_minute(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.run("UPDATE process SET seen_at = seen_at - interval '61 seconds'")


async def test_s1_3_calls_are_counted_by_source_operation_and_outcome(engine: Engine, script: ScriptedClient) -> None:
    script.script = lambda source, call: answer(500 if source.name == "toy-first" else 200)
    await accept(engine, 3)
    await work(engine)
    found = samples(await scrape(engine.database))
    assert of(found, "beat_upstream_calls_total") == len(script.calls)
    failed = {"platform": "toy", "source": "toy-first", "operation": "look", "outcome": "upstream_down"}
    assert of(found, "beat_upstream_calls_total", **failed) == 3
    assert of(found, "beat_upstream_calls_total", source="toy-second", outcome="ok") == 3


async def test_s2_1_the_interval_of_claims_is_a_histogram_of_each_stage(engine: Engine) -> None:
    await accept(engine, 2)
    leased = (await turn(engine.database, TOY)).leased
    retrieved = await retrieve(engine, leased)
    await ingest(engine, retrieved.next)
    await Reporter(engine.database, name="worker").report()
    found = samples(await scrape(engine.database))
    for stage in ("retrieve", "ingest"):
        assert of(found, "beat_claim_interval_seconds_count", stage=stage) == 2
        assert of(found, "beat_claim_interval_seconds_bucket", stage=stage, le="+Inf") == 2
        assert of(found, "beat_stage_batch_size_sum", stage=stage) == 2
        assert of(found, "beat_stage_duration_seconds_count", stage=stage) >= 1
    assert of(found, "beat_upstream_call_duration_seconds_count", source="toy-first") == 2


async def test_s2_3_depth_and_oldest_age_are_known_by_flow_and_priority(engine: Engine) -> None:
    await accept(engine, 4)
    await accept(engine, 2, Priority.BATCH)
    async with engine.database.transaction() as transaction:
        await transaction.run(
            "UPDATE scrape_fetch SET created_at = created_at - interval '90 seconds' WHERE priority = 3"
        )
    await state.sweep(engine.database)
    found = samples(await scrape(engine.database))
    labels = {"platform": "toy", "flow": "look"}
    assert of(found, "beat_queue_depth", **labels, priority="standard") == 4
    assert of(found, "beat_queue_depth", **labels, priority="batch") == 2
    assert of(found, "beat_queue_oldest_age_seconds", **labels, priority="batch") >= 90
    assert of(found, "beat_queue_oldest_age_seconds", **labels, priority="standard") < 90


async def test_why_groups_are_blocked_is_told_by_source_and_word(engine: Engine) -> None:
    async with engine.database.transaction() as transaction:
        await transaction.run("UPDATE credential SET enabled = false")
    await accept(engine, 1)
    await turn(engine.database, TOY)
    await state.sweep(engine.database)
    await Reporter(engine.database, name="worker").report()
    found = samples(await scrape(engine.database))
    assert of(found, "beat_dispatch_groups_blocked", source="toy-first", reason="disabled") == 1
    assert of(found, "beat_lease_waits_total", source="toy-first", reason="disabled") == 1
    assert of(found, "beat_lease_waits_total", source="toy-third", reason="no_credential") == 1
    assert of(found, "beat_credentials", source="toy-first", state="disabled") == 3


async def test_s2_9_and_s2_14_pools_and_slow_statements_are_known_by_kind_of_process(engine: Engine) -> None:
    metrics = engine.database.metrics
    metrics.out_of_connections(2.0)
    metrics.statements.note(4.0)
    await Reporter(engine.database, name="worker").report()
    found = samples(await scrape(engine.database))
    assert of(found, "beat_database_pool_exhausted_total", process="worker") == 1
    assert of(found, "beat_database_pool_limit", process="worker") == engine.settings.database_pool_size
    assert 0 <= of(found, "beat_database_pool_used", process="worker") <= engine.settings.database_pool_size
    assert of(found, "beat_database_statement_p99_seconds", process="worker") == 4.0
    assert of(found, "beat_database_statement_duration_seconds_count", process="worker") > 1
    assert of(found, "beat_processes", process="worker") == 1


async def test_s2_13_dead_rows_are_known_by_table_and_partitions_add_up(engine: Engine) -> None:
    await state.sweep(engine.database)
    tables = {
        labels["table"]
        for (name, pairs), _ in samples(await scrape(engine.database)).items()
        if name == "beat_database_table_dead_rows"
        for labels in [dict(pairs)]
    }
    assert 0 < len(tables) <= state.TABLES
    assert not [table for table in tables if any(character.isdigit() for character in table)]


async def test_s4_10_a_write_that_is_fenced_out_is_counted(engine: Engine) -> None:
    await accept(engine, 1)
    leased = (await turn(engine.database, TOY)).leased

    async def taken_over(*_: object) -> None:
        async with engine.database.transaction() as transaction:
            await transaction.run("UPDATE scrape_fetch SET fence = fence + 1")

    client: ScriptedClient = engine.client  # type: ignore[assignment]
    exchange = client.exchange

    async def late(source, call):
        await taken_over()
        return await exchange(source, call)

    client.exchange = late  # type: ignore[method-assign]
    assert (await retrieve(engine, leased)).zombies == 1
    await Reporter(engine.database, name="worker").report()
    assert of(samples(await scrape(engine.database)), "beat_fenced_writes_total", stage="retrieve") == 1


async def test_s7_1_assets_that_wait_are_counted_by_class(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.run(PENDING, (40,))
        await transaction.run("UPDATE asset_log SET status = 'FAILED', failure = 'type' WHERE entity_key = '8'")
    await state.sweep(database)
    found = samples(await scrape(database))
    by_class = {dict(pairs)["class"]: value for (name, pairs), value in found.items() if name == "beat_assets_pending"}
    assert by_class == {"avatar": 9, "thumbnail": 10, "story": 10, "other": 10}
    assert of(found, "beat_assets", status="failed") == 1


async def test_requests_are_counted_from_the_log_once_each(engine: Engine) -> None:
    await tally.sweep(engine.database)
    ids = await accept(engine, 5)
    async with engine.database.transaction() as transaction:
        await lifecycle.cancel(transaction, ids[:2], reason="not wanted")
    await work(engine)
    for _ in range(3):
        await tally.sweep(engine.database)
    found = samples(await scrape(engine.database))
    labels = {"platform": "toy", "flow": "look", "priority": "standard"}
    assert of(found, "beat_requests_accepted_total", **labels) == 5
    assert of(found, "beat_requests_total", **labels, status="complete") == 3
    assert of(found, "beat_requests_total", **labels, status="cancelled") == 2
    assert of(found, "beat_request_duration_seconds_count", priority="standard") == 3
    assert of(found, "beat_request_duration_seconds_bucket", priority="standard", le="300.0") == 3
    assert of(found, "beat_events_total", type="beat.scrape_request.accepted") == 5


async def test_a_fetch_that_leaves_a_source_is_a_fallback(engine: Engine, script: ScriptedClient) -> None:
    script.script = lambda source, call: answer(500 if source.name == "toy-first" else 200)
    await accept(engine, 1)
    await work(engine)
    await Reporter(engine.database, name="worker").report()
    found = samples(await scrape(engine.database))
    assert of(found, "beat_fallbacks_total", platform="toy", source="toy-first", reason="upstream_down") == 1


@pytest.mark.timeout(300)
async def test_500_killed_workers_leave_no_trace_and_no_counter_decreases(database: Database) -> None:
    """A killed process is one whose row stays and whose reports end. What it had reported is kept, once."""
    last, series = "", set[int]()
    for batch in range(10):
        for _ in range(50):
            metrics = OfProcess()
            reporter = Reporter(_With(database, metrics), name="worker")  # type: ignore[arg-type]
            metrics.counts.add(declared.LEASES, "toy", by=3)
            metrics.counts.observe(declared.CLAIM_INTERVAL, "retrieve", value=0.2)
            await reporter.report()
            metrics.counts.add(declared.LEASES, "toy", by=1000)  # in the interval that it does not live to report
        now = await scrape(database)
        assert of(samples(now), "beat_leases_total", platform="toy") == 150 * (batch + 1)
        assert not decreased(last, now)
        series.add(len(samples(now)))
        await forget_a_minute(database)
        if batch % 2:
            await tally.ended(database)
        last = await scrape(database)
        assert not decreased(now, last)
    assert len(series) == 1
    while await tally.ended(database):
        pass
    await forget_a_minute(database)
    found = samples(await scrape(database))
    assert of(found, "beat_leases_total", platform="toy") == 1500
    assert of(found, "beat_claim_interval_seconds_count", stage="retrieve") == 500
    assert of(found, "beat_claim_interval_seconds_bucket", stage="retrieve", le="0.25") == 500


class _With:
    """The database, as another process counts on it."""

    def __init__(self, database: Database, metrics: OfProcess) -> None:
        self._database, self.metrics = database, metrics

    def __getattr__(self, name: str) -> object:
        return getattr(self._database, name)


async def test_a_process_that_was_taken_for_dead_counts_on_and_nothing_counts_twice(database: Database) -> None:
    reporter, counts = Reporter(database, name="worker"), database.metrics.counts
    counts.add(declared.LEASES, "toy", by=5)
    await reporter.report()
    for gone in (False, True):
        before = await scrape(database)
        await forget_a_minute(database)
        await tally.ended(database)
        if gone:
            async with database.transaction() as transaction:
                await transaction.run("DELETE FROM process")
        counts.add(declared.LEASES, "toy", by=2)
        await reporter.report()  # it learns of it
        await reporter.report()
        after = await scrape(database)
        assert not decreased(before, after)
        assert of(samples(after), "beat_leases_total", platform="toy") == (9 if gone else 7)


async def test_a_process_that_ends_leaves_its_last_sums_before_anybody_keeps_them(database: Database) -> None:
    other = Database(database.settings, name="worker")
    reporter = Reporter(other, name="worker").start()
    await reporter.report()
    other.metrics.counts.add(declared.LEASES, "toy", by=4)
    await reporter.close()
    await other.close()
    for _ in range(2):
        found = samples(await scrape(database))
        assert of(found, "beat_leases_total", platform="toy") == 4
        assert of(found, "beat_processes", process="worker") == 0
        await tally.ended(database)


async def test_two_formats_hold_the_same_and_are_what_their_parsers_accept(engine: Engine) -> None:
    await accept(engine, 1)
    await work(engine)
    await Reporter(engine.database, name="worker").report()
    await tally.sweep(engine.database)
    await state.sweep(engine.database)
    sums = Metrics(engine.database)
    plain, open_metrics = await sums.text(PLAIN), await sums.text(OPEN)
    assert samples(plain) == samples(open_metrics, OPEN)
    assert {one.type for one in families(plain)} == {"counter", "gauge", "histogram"}
    assert open_metrics.endswith("# EOF\n")


async def test_many_readers_cost_one_query(database: Database) -> None:
    sums = Metrics(database)
    await sums.text(PLAIN)
    asked = len(database.metrics.statements)
    texts = await asyncio.gather(*(sums.text(random.choice((PLAIN, OPEN))) for _ in range(50)))
    assert len(database.metrics.statements) == asked
    assert len(set(texts)) <= 2


async def test_a_label_never_grows_with_what_is_asked_for(database: Database) -> None:
    for n in range(10 * MOST_SETS):
        database.metrics.counts.add(declared.API_REQUESTS, f"/handle-{n}", "GET", "200")
    await Reporter(database, name="api").report()
    found = samples(await scrape(database))
    known = [pairs for name, pairs in found if name == "beat_api_requests_total"]
    assert len(known) == MOST_SETS + 1
    assert of(found, "beat_api_requests_total") == 10 * MOST_SETS


async def test_gauges_that_nobody_measures_any_more_are_left_out(database: Database) -> None:
    await state.sweep(database)
    assert of(samples(await scrape(database)), "beat_database_connections_limit") > 0
    async with database.transaction() as transaction:
        await transaction.run("UPDATE metric_sum SET at = at - interval '10 minutes' WHERE name = 'state'")
    found = samples(await scrape(database))
    assert not [name for name, _ in found if name.startswith("beat_database_connections")]
    assert of(found, "beat_state_timestamp_seconds") > 0


@pytest.mark.exhaustive
async def test_a_thousand_credentials_and_150_processes_are_below_2000_series(engine: Engine) -> None:
    async with engine.database.transaction() as transaction:
        await transaction.run(
            "INSERT INTO credential (platform, source, label, secret, key_id, fingerprint) "
            "SELECT platform, source, label || n, secret, key_id, sha256((label || n)::bytea) FROM credential, generate_series(1, 250) n"
        )
    await accept(engine, 20)
    await work(engine)
    for _ in range(150):
        await Reporter(engine.database, name="worker").report()
    await tally.sweep(engine.database)
    await state.sweep(engine.database)
    assert len(await read(engine.database)) < 600
    assert len(samples(await scrape(engine.database))) < 2000


@needs_promtool
async def test_promtool_finds_no_fault_in_the_metrics(engine: Engine) -> None:
    await accept(engine, 2)
    await work(engine)
    await tally.sweep(engine.database)
    await state.sweep(engine.database)
    engine.database.metrics.counts.add(declared.API_REQUESTS, "/v1/alerts", "GET", "200")
    await Reporter(engine.database, name="worker").report()
    promtool("check", "metrics", stdin=await scrape(engine.database))
