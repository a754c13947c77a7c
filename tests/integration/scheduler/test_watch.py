"""Alerts: opened once, kept up to date, resolved when the cause is gone, and nobody is told twice."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import psycopg
import pytest

from beat_actors.alerts import Alert, list_alerts, open_alert, report, resolve_alerts, silence
from beat_actors.broker import flows
from beat_actors.broker.turn import turn
from beat_actors.database import Database
from beat_actors.database.processes import processes
from beat_actors.database.reporting import Reporter
from beat_actors.engine import Engine
from beat_actors.errors import StorageUnavailable
from beat_actors.moments import moment
from beat_actors.process_alerts import processes_in_trouble
from beat_actors.requests import intake, lifecycle
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.states import Priority
from beat_actors.settings import Settings
from beat_actors.watch import assets as assets_rules
from beat_actors.watch import credentials as credentials_rules
from beat_actors.watch import database as database_rules
from beat_actors.watch import quarantine as quarantine_rules
from beat_actors.watch import requests as requests_rules
from beat_actors.watch import sources as sources_rules
from beat_actors.watch import usage as usage_rules
from beat_actors.watch.rule import Watch
from tests.worlds import TOY, MovableClock, ScriptedClient, answer, engine_with, lost_log_lines, registered


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    engine = engine_with(settings, ScriptedClient(lambda source, call: answer()))
    with registered(TOY):
        yield engine
    await engine.close()


@pytest.fixture
def clock(database_url: str) -> MovableClock:
    clock = MovableClock(database_url)
    yield clock
    clock.close()


PRIORITIES = (("b", Priority.BATCH), ("s", Priority.STANDARD))


def alert(key: str, **fields) -> Alert:
    known = {"severity": "warning", "cause": "c", "impact": "i", "automatic": "a", "action": "do"}
    return Alert(key=key, **{**known, **fields})


async def open_keys(engine: Engine) -> list[str]:
    async with engine.database.statements() as alone:
        return sorted(one.key for one in await list_alerts(alone))


async def severities(engine: Engine) -> dict[str, str]:
    async with engine.database.statements() as alone:
        return {one.key: one.severity for one in await list_alerts(alone)}


async def events(engine: Engine) -> list[str]:
    async with engine.database.statements() as alone:
        rows = await alone.rows("SELECT type, subject FROM event WHERE type LIKE 'beat.alert%%' ORDER BY id", ())
    return [f"{row.type.rpartition('.')[2]} {row.subject.removeprefix('alert/')}" for row in rows]


async def execute(engine: Engine, sql: str, *params) -> None:
    async with engine.database.transaction() as transaction:
        await transaction.run(sql, params)


async def test_an_alert_is_reported_once_at_each_end(engine: Engine) -> None:
    async with engine.database.statements() as alone:
        assert await report(alone, "toy", [alert("toy:a", cause="one"), alert("toy:b")]) == 2
        assert await report(alone, "toy", [alert("toy:a", cause="two")]) == 1
        assert await report(alone, "toy", [alert("toy:a", cause="two")]) == 0
        (standing,) = await list_alerts(alone)
        assert (standing.key, standing.cause) == ("toy:a", "two")
        assert await report(alone, "other", []) == 0
        await resolve_alerts(alone, ["toy:a"])
        await open_alert(alone, alert("toy:a"))
        await open_alert(alone, alert("toy:a"))
    assert await events(engine) == ["opened toy:a", "opened toy:b", "resolved toy:b", "resolved toy:a", "opened toy:a"]
    with pytest.raises(ValueError, match="not of the rule"):
        await report(alone, "toy", [alert("source:x")])


async def test_a_providers_alert_silences_its_credentials(engine: Engine) -> None:
    async with engine.database.statements() as alone:
        await report(alone, "source", [alert("source:lama", source="lama")])
        await report(
            alone, "credentials", [alert("credentials:lama", source="lama"), alert("credentials:x", source="x")]
        )
        silenced = {one.key: one.silenced for one in await list_alerts(alone)}
        assert silenced == {"source:lama": False, "credentials:lama": True, "credentials:x": False}
        await report(alone, "credentials", [])
    assert await events(engine) == ["opened source:lama", "opened credentials:x", "resolved credentials:x"]


async def test_a_leader_that_was_replaced_reports_nothing(engine: Engine) -> None:
    async with engine.database.statements() as alone:
        assert await report(alone, "toy", [alert("toy:a")], epoch=3) == 0
        assert await list_alerts(alone) == []


async def test_a_leader_that_was_replaced_changes_nothing(engine: Engine) -> None:
    async with engine.database.statements() as alone:
        await report(alone, "toy", [alert("toy:a", cause="now")])
        await report(alone, "toy", [alert("toy:a", cause="long ago")], epoch=3)
        (standing,) = await list_alerts(alone)
    assert standing.cause == "now"


async def test_what_an_alert_says_is_kept_up_to_date(engine: Engine) -> None:
    async with engine.database.statements() as alone:
        await report(alone, "toy", [alert("toy:a", automatic="back at 12:00")])
        assert await report(alone, "toy", [alert("toy:a", automatic="back at 18:00", action="wait")]) == 0
        (standing,) = await list_alerts(alone)
    assert (standing.automatic, standing.action) == ("back at 18:00", "wait")
    assert await events(engine) == ["opened toy:a"]


async def test_a_rise_in_severity_is_reported_once_and_a_fall_is_not(engine: Engine) -> None:
    async with engine.database.statements() as alone:
        for severity in ("info", "warning", "info", "warning", "critical", "warning"):
            await report(alone, "toy", [alert("toy:a", severity=severity)])
        (standing,) = await list_alerts(alone)
    assert standing.severity == "warning"
    assert await events(engine) == ["opened toy:a", "escalated toy:a", "escalated toy:a"]


async def test_what_was_silenced_by_a_providers_alert_is_reported_when_that_is_over(engine: Engine) -> None:
    source, credentials = alert("source:lama", source="lama"), alert("credentials:lama", source="lama")
    async with engine.database.statements() as alone:
        await report(alone, "source", [source])
        await report(alone, "credentials", [credentials])
        await report(alone, "source", [])
        for _ in range(2):
            await report(alone, "credentials", [credentials])
        assert [one.silenced for one in await list_alerts(alone)] == [False]
        # It was told before the provider's: it is not told again after it.
        await report(alone, "source", [source])
        await report(alone, "credentials", [credentials])
        assert {one.key: one.silenced for one in await list_alerts(alone)} == {
            "source:lama": False,
            "credentials:lama": True,
        }
        await report(alone, "source", [])
        await report(alone, "credentials", [credentials])
        await report(alone, "credentials", [])
    told = [one for one in await events(engine) if one.endswith("credentials:lama")]
    assert told == ["opened credentials:lama", "resolved credentials:lama"]


async def test_what_a_person_silenced_stays_silent(engine: Engine) -> None:
    source, credentials = alert("source:lama", source="lama"), alert("credentials:lama", source="lama")
    async with engine.database.statements() as alone:
        await report(alone, "source", [source])
        await report(alone, "credentials", [credentials])
        (number,) = [one.id for one in await list_alerts(alone) if one.key == "credentials:lama"]
        await silence(alone, number, silenced=True, actor="test", reason="known")
        await report(alone, "source", [])
        await report(alone, "credentials", [credentials])
        assert [one.silenced for one in await list_alerts(alone)] == [True]
        await silence(alone, number, silenced=False, actor="test", reason="not any more")
        await report(alone, "credentials", [credentials])
    assert (await events(engine))[-1] == "opened credentials:lama"


async def test_s3_12_more_than_half_of_a_sources_credentials_are_out(engine: Engine) -> None:
    ids = [(await engine.credentials.add("toy-first", {"key": key}))[0] for key in "abcd"]
    credentials = Watch("credentials", credentials_rules.credentials_out)

    async def out(count: int) -> int:
        await execute(
            engine,
            "UPDATE credential SET disabled_till = CASE WHEN id = ANY(%s) THEN clock_timestamp() + interval '1 hour' END",
            ids[:count],
        )
        return await credentials.run(engine.database)

    assert await out(2) == 0
    assert await out(3) == 1
    assert await credentials.run(engine.database) == 0
    assert await open_keys(engine) == ["credentials:toy-first"]
    async with engine.database.statements() as alone:
        (said,) = await list_alerts(alone)
        back = await alone.value("SELECT min(disabled_till) FROM credential")
    assert f"retries the first credential at {moment(back)}" in said.automatic
    assert await out(2) == 1
    assert await events(engine) == ["opened credentials:toy-first", "resolved credentials:toy-first"]


async def test_s1_3_a_source_that_fails_opens_one_alert_for_all_of_its_operations(
    engine: Engine, clock: MovableClock
) -> None:
    for key in "ab":
        await engine.credentials.add("toy-first", {"key": key})
    await execute(
        engine,
        "INSERT INTO breaker (platform, source, operation, kind, trips, open_until)"
        " SELECT 'toy', 'toy-first', o, 'upstream', 1, clock_timestamp() + interval '30 seconds' FROM unnest(%s::text[]) o",
        ["look", "stare"],
    )
    rule = Watch("source", sources_rules.sources_down)
    assert await rule.run(engine.database) == 1
    async with engine.database.statements() as alone:
        (standing,) = await list_alerts(alone)
    assert standing.cause == "toy-first is failing: look, stare"
    assert "other sources" in standing.impact
    await execute(engine, "UPDATE breaker SET open_until = NULL")
    assert await rule.run(engine.database) == 1
    assert await open_keys(engine) == []


@pytest.mark.parametrize(("used", "levels"), [(14, []), (15, ["info"]), (23, ["info"]), (24, ["warning"])])
async def test_s9_10_half_and_four_fifths_of_a_daily_limit(engine: Engine, used: int, levels: list[str]) -> None:
    credential, _ = await engine.credentials.add("toy-third", {"key": "a"})
    await execute(
        engine,
        "INSERT INTO credential_usage (subject, limit_name, head, counts)"
        " VALUES (%s, 'day', extract(epoch FROM date_trunc('day', clock_timestamp()))::bigint, ARRAY[%s])",
        f"credential:{credential}",
        used,
    )
    quota = Watch("quota", usage_rules.quotas)
    assert await quota.run(engine.database) == len(levels)
    async with engine.database.statements() as alone:
        assert [one.severity for one in await list_alerts(alone)] == levels
    await execute(engine, "UPDATE credential_usage SET counts = ARRAY[0]")
    await quota.run(engine.database)
    await execute(engine, "UPDATE credential_usage SET counts = ARRAY[%s]", used)
    assert await quota.run(engine.database) == 0  # once in a window


async def test_s9_10_a_quota_that_fills_rises_and_does_not_read_as_healed(engine: Engine) -> None:
    credential, _ = await engine.credentials.add("toy-third", {"key": "a"})
    subject = f"credential:{credential}"
    await execute(
        engine,
        "INSERT INTO credential_usage (subject, limit_name, head, counts)"
        " VALUES (%s, 'day', extract(epoch FROM date_trunc('day', clock_timestamp()))::bigint, ARRAY[16])",
        subject,
    )
    quota = Watch("quota", usage_rules.quotas)
    for used in (16, 25, 0, 16, 25):
        await execute(engine, "UPDATE credential_usage SET counts = ARRAY[%s]", used)
        await quota.run(engine.database)
    assert [one.partition(" ")[0] for one in await events(engine)] == ["opened", "escalated", "resolved"]


async def test_s9_10_four_fifths_are_reported_also_after_a_half_was_over(engine: Engine) -> None:
    async with engine.database.statements() as alone:
        half, more = (alert("toy:a", severity=severity, again_after=3600) for severity in ("info", "warning"))
        for standing in ([half], [], [half], [more], [], [more]):
            await report(alone, "toy", standing)
    assert await events(engine) == ["opened toy:a", "resolved toy:a", "opened toy:a", "resolved toy:a"]


@pytest.mark.slow
async def test_s7_9_the_backlog_alert_does_not_flutter(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (assets_rules.BACKLOG_OPENS, assets_rules.BACKLOG_RESOLVES) == (50_000, 40_000)
    backlog = Watch("backlog", assets_rules.waiting)

    async def pending(count: int) -> int:
        await execute(engine, "DELETE FROM asset_log")
        await execute(
            engine,
            "INSERT INTO asset_log (platform, entity, entity_key, field, url)"
            " SELECT 'toy', 'post', n::text, 'image', 'https://x.invalid/' || n FROM generate_series(1, %s) n",
            count,
        )
        return await backlog.run(engine.database)

    assert await pending(49_999) == 0
    assert await pending(50_000) == 1
    assert await pending(40_000) == 0
    assert await open_keys(engine) == ["backlog:assets"]
    assert await pending(39_999) == 1
    assert await pending(49_999) == 0


async def test_s2_2_a_broker_that_stands_still_is_noticed(engine: Engine, clock: MovableClock) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": "n"})])
    rule = Watch("claims", requests_rules.standstill)
    assert await rule.run(engine.database) == 0
    clock.advance(requests_rules.IDLE_BROKER + 1)
    assert await rule.run(engine.database) == 1
    assert await open_keys(engine) == ["claims:toy"]
    await turn(engine.database, TOY)
    assert await rule.run(engine.database) == 1
    assert await open_keys(engine) == []


async def test_a_broker_whose_room_is_all_taken_does_not_stand_still(
    engine: Engine, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": f"n{i}"}) for i in range(6)])
    monkeypatch.setattr(
        engine.database, "settings", engine.database.settings.model_copy(update={"broker_in_flight": 2})
    )
    assert len((await turn(engine.database, TOY)).leased) == 2
    clock.advance(requests_rules.IDLE_BROKER + 2)
    for _ in range(3):
        assert (await turn(engine.database, TOY)).leased == []
    assert await Watch("claims", requests_rules.standstill).run(engine.database) == 0
    async with engine.database.statements() as alone:
        assert await alone.value("SELECT count(*) FROM broker_decision") == 2
    clock.advance(requests_rules.IDLE_BROKER + 2)
    assert await Watch("claims", requests_rules.standstill).run(engine.database) == 1


async def test_a_sweep_has_time_to_run_under_a_new_leader(engine: Engine, clock: MovableClock) -> None:
    rule = Watch("sweep", requests_rules.late_sweeps)
    elect = (
        "INSERT INTO leader (name, epoch, elected_at) VALUES ('scheduler', 1, clock_timestamp())"
        " ON CONFLICT (name) DO UPDATE SET elected_at = excluded.elected_at"
    )
    await execute(engine, "INSERT INTO sweep (name, every, deadline) VALUES ('due', 2, 10)")
    clock.advance(3600)
    await execute(engine, elect)
    assert await rule.run(engine.database) == 0
    clock.advance(17)
    assert await rule.run(engine.database) == 1
    await execute(engine, elect)
    assert await rule.run(engine.database) == 0
    assert await open_keys(engine) == ["sweep:due"]
    await execute(engine, "UPDATE sweep SET ended_at = clock_timestamp()")
    assert await rule.run(engine.database) == 1


async def test_s2_3_what_waits_long_is_noticed_with_its_blockers_and_batch_work_is_not(
    engine: Engine, clock: MovableClock
) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await execute(engine, "UPDATE credential SET disabled_till = clock_timestamp() + interval '1 day'")
    wanted = [NewRequest("toy", "look", {"name": name}, priority=priority) for name, priority in PRIORITIES]
    ((batch,), (standard,)) = [await intake.accept(engine.database, [one]) for one in wanted]
    await turn(engine.database, TOY)
    rule = Watch("waiting", requests_rules.waiting)
    clock.advance(requests_rules.LONG_WAIT - 60)
    assert await rule.run(engine.database) == 0
    clock.advance(61)
    assert await rule.run(engine.database) == 1
    async with engine.database.statements() as alone:
        (said,) = await list_alerts(alone)
    assert said.key == "waiting:toy:look"
    assert "the oldest request has waited for 10 min (toy-first: " in said.cause
    assert f"`beat why {standard.id}`" in said.action
    (flow,) = await flows.overview(engine.database, platform="toy")
    assert (flow.waiting, flow.waiting_for) == (2, pytest.approx(601, abs=20))
    async with engine.database.transaction() as transaction:
        await lifecycle.cancel(transaction, [standard.id], reason="no longer wanted")
    assert await rule.run(engine.database) == 1
    assert await open_keys(engine) == []
    assert batch.id < standard.id


async def test_s2_14_slow_statements_are_noticed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any process: a worker notices what the scheduler's own statements do not show."""
    rule = Watch("database", database_rules.slow_database)
    worker = Database(engine.settings, name="worker")
    reporter = Reporter(worker, name="worker")
    await reporter.report()
    assert await rule.run(engine.database) == 0
    monkeypatch.setattr(database_rules, "SLOW_QUERY", 0.05)
    async with worker.statements() as alone:
        await alone.rows("SELECT pg_sleep(0.1)")
    assert await rule.run(engine.database) == 0
    await reporter.report()
    assert await rule.run(engine.database) == 1
    async with engine.database.statements() as alone:
        (said,) = await list_alerts(alone)
    assert said.key == "database:slow"
    assert f"(1 of worker; {socket.gethostname()}:{os.getpid()})" in said.cause
    await reporter.start().close()  # a process that ends is nobody's trouble any more
    assert await rule.run(engine.database) == 1
    assert await open_keys(engine) == []
    await worker.close()


async def test_s2_14_a_pool_that_is_exhausted_is_noticed(engine: Engine) -> None:
    rule = Watch("database", database_rules.slow_database)
    settings = engine.settings.model_copy(
        update={"database_pool_size": 1, "database_max_overflow": 0, "database_pool_timeout": 0.1}
    )
    api = Database(settings, name="api")
    reporter = Reporter(api, name="api")
    async with api.statements() as alone:
        await alone.value("SELECT 1")
        with pytest.raises(StorageUnavailable):
            async with api.statements():
                pass
        assert api.pool() == (1, 1)
    await reporter.report()
    (told,) = await processes(engine.database)
    assert (told.name, told.pid, told.pool_most, told.pool_exhausted) == ("api", os.getpid(), 1, 1)
    assert await rule.run(engine.database) == 1
    assert await open_keys(engine) == ["database:pool"]
    await api.close()


async def test_s2_2_work_that_lies_until_a_worker_takes_it_up_is_noticed(engine: Engine) -> None:
    rule = Watch("database", database_rules.slow_database)
    reporter = Reporter(engine.database, name="worker")
    for _ in range(database_rules.FEW_CLAIMS - 1):
        engine.database.metrics.claims.note(10.0)
    await reporter.report()
    assert await rule.run(engine.database) == 0
    engine.database.metrics.claims.note(10.0)
    await reporter.report()
    assert await rule.run(engine.database) == 1
    assert await open_keys(engine) == ["database:claims"]


async def test_a_process_that_cannot_report_works_on_and_ends_in_order(engine: Engine) -> None:
    """As one does that was deployed before its migration."""
    with psycopg.connect(engine.settings.owner_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE process RENAME TO later")
    reporter = Reporter(engine.database, name="worker").start()
    statements = engine.database.metrics.statements
    before = len(statements)
    while len(statements) == before:  # noqa: ASYNC110 - what is waited for is in the metrics
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    await reporter.close()
    with psycopg.connect(engine.settings.owner_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE later RENAME TO process")
    assert await processes(engine.database) == []


async def test_a_process_that_was_killed_is_forgotten(engine: Engine) -> None:
    await Reporter(engine.database, name="worker").report()
    async with engine.database.statements() as alone:
        await alone.run("UPDATE process SET seen_at = seen_at - interval '31 seconds'")
    assert await processes(engine.database) == []
    async with engine.database.statements() as alone:
        await alone.run("UPDATE process SET seen_at = seen_at - interval '1 hour'")
    await Reporter(engine.database, name="worker").report()
    async with engine.database.statements() as alone:
        assert await alone.value("SELECT count(*) FROM process") == 1


async def test_s2_14_connections_that_are_nearly_used_up_are_noticed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = Watch("connections", database_rules.connections)
    assert await rule.run(engine.database) == 0
    monkeypatch.setattr(database_rules, "CONNECTIONS_SHARE", 0.001)
    assert await rule.run(engine.database) == 1
    async with engine.database.statements() as alone:
        (said,) = await list_alerts(alone)
    assert said.key == "connections:postgresql"
    assert "beat test " in said.cause


async def test_poison_is_noticed_at_once_and_a_single_malformed_payload_within_seconds(engine: Engine) -> None:
    rule = Watch("quarantine", quarantine_rules.quarantined)
    insert = "INSERT INTO quarantine (kind, platform, source, operation, error) VALUES (%s, 'toy', 'toy-first', 'look', 'why')"
    malformed, poison = (f"quarantine:{kind}:toy-first:look" for kind in ("malformed", "poison"))
    await execute(engine, insert, "malformed")
    assert await rule.run(engine.database) == 0  # if all of them are, the breaker's alert is about to open
    await execute(engine, "UPDATE quarantine SET at = at - interval '5 seconds'")
    assert await rule.run(engine.database) == 1
    assert await severities(engine) == {malformed: "info"}
    for _ in range(3):
        await execute(engine, insert, "malformed")
    assert await rule.run(engine.database) == 0
    await execute(engine, insert, "malformed")
    await execute(engine, insert, "poison")
    assert await rule.run(engine.database) == 2
    assert await severities(engine) == {malformed: "warning", poison: "critical"}
    await execute(engine, "UPDATE quarantine SET at = at - interval '2 hours'")
    assert await rule.run(engine.database) == 1
    assert await severities(engine) == {poison: "critical"}
    await execute(engine, "UPDATE quarantine SET resolved_at = clock_timestamp()")
    assert await rule.run(engine.database) == 1
    assert await severities(engine) == {}


async def test_lost_log_lines_are_noticed(engine: Engine, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        lost_log_lines(admin)
    (said,) = await processes_in_trouble(engine.database)
    assert (said.key, said.cause) == ("process:logs", "worker h:1: 3 lines of its log could not be written")
    assert "free disk space" in said.action
