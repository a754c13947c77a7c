"""One alert for one situation: a platform at a standstill, why a source fails, an outage that is over, and what a person forgot."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from beat_actors.alerts import Alert, list_alerts, report, resolve_alerts
from beat_actors.broker import flows, sources
from beat_actors.broker.turn import turn
from beat_actors.database import Database
from beat_actors.database.metrics import AWAY, Metrics, Outage
from beat_actors.database.reporting import Reporter
from beat_actors.engine import Engine
from beat_actors.errors import StorageUnavailable
from beat_actors.moments import moment
from beat_actors.platforms.interface import Answer, Call, Source
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from beat_actors.watch import WATCHES, by_hand
from beat_actors.watch import database as database_rules
from beat_actors.watch import platforms as platforms_rules
from beat_actors.watch import requests as requests_rules
from beat_actors.watch import sources as sources_rules
from beat_actors.watch.rule import InOrder, Watch
from tests.stages import retrieve
from tests.worlds import TOY, MovableClock, ScriptedClient, answer, engine_with, registered

STANDSTILL = Watch("platform", platforms_rules.at_a_standstill)
SITUATIONS = next(one for one in WATCHES if one.name == "situations")


def refuses(source: Source, call: Call) -> Answer:
    del source, call
    return answer(503)


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    engine = engine_with(settings, ScriptedClient(refuses))
    with registered(TOY):
        yield engine
    await engine.close()


@pytest.fixture
def clock(database_url: str) -> MovableClock:
    clock = MovableClock(database_url)
    yield clock
    clock.close()


async def execute(engine: Engine, sql: str, *params: object) -> None:
    async with engine.database.transaction() as transaction:
        await transaction.run(sql, params)


async def standing(engine: Engine) -> dict[str, bool]:
    """The keys of the open alerts, and whether each is silenced."""
    async with engine.database.statements() as alone:
        return {one.key: one.silenced for one in await list_alerts(alone)}


async def cool_down(engine: Engine, seconds: float) -> None:
    await execute(
        engine,
        "UPDATE credential SET disabled_till = clock_timestamp() + make_interval(secs => %s), disabled_reason = 'rate_limited 429'",
        seconds,
    )


async def test_a_platform_at_a_standstill_has_one_alert_above_those_of_its_credentials(
    engine: Engine, clock: MovableClock
) -> None:
    for source in TOY.sources:
        await engine.credentials.add(source, {"key": "a"})
    await cool_down(engine, 600)
    wanted = [NewRequest("toy", "look", {"name": f"n{i}"}, account_id=f"a{i % 2}") for i in range(5)]
    accepted = await intake.accept(engine.database, wanted)
    assert await STANDSTILL.run(engine.database) == 0  # no dispatch cycle has looked at them
    await turn(engine.database, TOY)
    assert await SITUATIONS.run(engine.database) == 4
    assert await standing(engine) == {
        "platform:toy": False,
        **{f"credentials:{source}": True for source in TOY.sources},
    }
    async with engine.database.statements() as alone:
        said = next(one for one in await list_alerts(alone) if one.key == "platform:toy")
        first = await alone.value("SELECT min(blocked_until) FROM lane")
    assert said.severity == "critical"
    assert f"5 requests of 2 accounts wait, the first can be served at {moment(first)}" in said.cause
    assert f"Blocked: {', '.join(TOY.chains['look'])} (cooling down: " in said.cause
    assert f"`beat why {accepted[0].id}`" in said.action
    # When the block is about to end the alert stands; when the work can be done it is resolved, and the credentials speak for themselves.
    clock.advance(595)
    assert await STANDSTILL.run(engine.database) == 0
    await execute(engine, "UPDATE credential SET disabled_till = NULL WHERE source = 'toy-first'")
    await execute(engine, "UPDATE lane SET blocked_until = NULL, reasons = NULL")
    assert await STANDSTILL.run(engine.database) == 1
    assert "platform:toy" not in await standing(engine)


async def test_a_wait_for_an_ordinary_limit_is_no_standstill(engine: Engine) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await cool_down(engine, platforms_rules.LASTS - 5)
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": "n"})])
    await turn(engine.database, TOY)
    assert await STANDSTILL.run(engine.database) == 0


async def test_a_source_that_fails_is_named_with_its_error_rate_and_codes(engine: Engine) -> None:
    for key in "abcdef":
        await engine.credentials.add("toy-first", {"key": key})
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": f"n{i}"}) for i in range(6)])
    result = await turn(engine.database, TOY)
    await retrieve(engine, result.leased)
    await turn(engine.database, TOY)
    assert await Watch("source", sources_rules.sources_down).run(engine.database) == 1
    async with engine.database.statements() as alone:
        (said,) = await list_alerts(alone)
    count = len(result.leased)
    assert said.cause == f"toy-first is failing: {count} of {count} calls failed within a minute (HTTP 503), of look"


async def test_a_source_without_another_says_how_many_calls_wait(engine: Engine) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": f"n{i}"}) for i in range(3)])
    await execute(engine, "UPDATE lane SET sources = '{toy-first}'")
    await execute(
        engine,
        "INSERT INTO breaker (platform, source, operation, kind, trips, open_until)"
        " VALUES ('toy', 'toy-first', 'look', 'upstream', 1, clock_timestamp() + interval '30 seconds')",
    )
    (row,) = await sources_rules._open(engine.database, "upstream")
    assert (row.waiting, row.opened_by) == (3, [])


async def test_an_alert_reports_at_its_end_how_long_it_lasted_and_the_last_resolved_comes_first(
    engine: Engine, clock: MovableClock
) -> None:
    fields = {"severity": "warning", "cause": "c", "impact": "i", "automatic": "a", "action": "do"}
    async with engine.database.statements() as alone:
        await report(alone, "toy", [Alert(key=key, **fields) for key in ("toy:a", "toy:b", "toy:c")])
        clock.advance(60)
        await resolve_alerts(alone, ["toy:b"])
        clock.advance(60)
        await resolve_alerts(alone, ["toy:a"])
        assert [one.key for one in await list_alerts(alone, resolved=True)] == ["toy:c", "toy:a", "toy:b"]
        lasted = await alone.rows(
            "SELECT subject, (data->>'seconds')::int AS seconds FROM event WHERE type = 'beat.alert.resolved' ORDER BY id",
            (),
        )
    assert [(row.subject, row.seconds // 60) for row in lasted] == [("alert/toy:b", 1), ("alert/toy:a", 2)]


async def test_an_outage_of_postgresql_is_reported_when_it_is_over_and_pools_are_not_blamed(engine: Engine) -> None:
    rule = Watch("database", database_rules.slow_database)
    until = datetime.now(UTC)
    since = until - timedelta(seconds=22)
    databases = [Database(engine.settings, name="worker") for _ in range(3)]
    for database in databases:
        database.metrics._outages.append((database.metrics._answered, Outage(since, until)))
        database.metrics.exhausted.note(2.0)
    await Reporter(databases[0], name="worker").report()
    others = [Reporter(Database(engine.settings, name="api"), name="api") for _ in range(2)]
    for other in others:
        await other.report()
    await rule.run(engine.database)
    assert "database:outage" not in await standing(engine)  # one process of three: its own network's
    for database in databases[1:]:
        await Reporter(database, name="worker").report()
    await rule.run(engine.database)
    async with engine.database.statements() as alone:
        found = {one.key: one for one in await list_alerts(alone)}
    assert "database:pool" not in found
    assert (
        f"from {moment(since)} to {moment(until)} (22 s), as 3 of 5 processes saw it" in found["database:outage"].cause
    )
    for database in databases:
        await database.close()


async def test_a_server_that_does_not_answer_is_an_outage_that_ends_with_the_next_answer(settings: Settings) -> None:
    away = Database(
        settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:9/none", "database_role": None}),
        name="test",
    )
    with pytest.raises(StorageUnavailable):
        async with away.statements():
            pass
    assert away.metrics._since is not None
    await away.close()


def test_attempts_without_an_answer_are_one_outage_and_a_call_that_was_broken_off_is_none() -> None:
    now = 1000.0
    metrics = Metrics(lambda: now)
    for _ in range(3):  # a caller gives up after two seconds, or a connection does not come about
        began = now
        now += 2.0
        metrics.unanswered(began)
        now += 1.0
    metrics.answered(now)
    (outage,) = metrics.outages()
    assert (outage.until - outage.since).total_seconds() == pytest.approx(9.0, abs=0.1)
    began, now = now, now + 0.5
    metrics.unanswered(began)  # its caller went away
    now += 60.0
    metrics.answered(now)
    assert metrics.outages() == [outage]
    began, now = now, now + AWAY
    metrics.answered(began)  # a server that was frozen
    assert len(metrics.outages()) == 2
    began, now = now, now + AWAY
    metrics.answered(now)
    metrics.answered(began)  # a long statement beside others that were answered
    assert len(metrics.outages()) == 2


async def test_sweeps_are_not_late_for_an_outage(engine: Engine, clock: MovableClock) -> None:
    rule = Watch("sweep", requests_rules.late_sweeps)
    await execute(engine, "INSERT INTO sweep (name, every, deadline) VALUES ('due', 2, 10)")
    clock.advance(22)
    until = datetime.now(UTC)
    engine.database.metrics._outages.append(
        (engine.database.metrics._answered, Outage(until - timedelta(seconds=20), until))
    )
    assert await rule.run(engine.database) == 0
    clock.advance(17)
    assert await rule.run(engine.database) == 1
    assert await standing(engine) == {"sweep:due": False}


async def test_an_error_of_a_statement_is_an_answer(engine: Engine) -> None:
    async with engine.database.statements() as alone:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await alone.rows("SELECT FROM nowhere", ())
    assert engine.database.metrics._since is None


async def test_what_a_person_stopped_is_reported_after_an_hour(engine: Engine, clock: MovableClock) -> None:
    rule = Watch("hand", by_hand.stopped_by_hand)
    await flows.change(engine.database, "look", platform="toy", paused=True, actor="test", reason="later")
    await sources.open_breaker(engine.database, "toy-first", None, seconds=7200, actor="test", reason="later")
    clock.advance(by_hand.FORGOTTEN - 60)
    assert await rule.run(engine.database) == 0
    clock.advance(120)
    assert await rule.run(engine.database) == 2
    assert set(await standing(engine)) == {"hand:flow:toy:look", "hand:source:toy-first"}
    await flows.change(engine.database, "look", platform="toy", paused=False, actor="test", reason="done")
    await sources.close_breaker(engine.database, "toy-first", None, actor="test", reason="done")
    assert await rule.run(engine.database) == 2
    assert await standing(engine) == {}


async def test_a_rule_that_fails_stops_none_of_those_after_it(engine: Engine) -> None:
    async def fails(_database: Database) -> list[Alert]:
        raise ValueError("a rule with a fault")

    fields = {"severity": "warning", "cause": "c", "impact": "i", "automatic": "a", "action": "do"}

    async def works(_database: Database) -> list[Alert]:
        return [Alert(key="works:a", **fields)]

    with pytest.raises(ValueError, match="a rule with a fault"):
        await InOrder("both", (Watch("fails", fails), Watch("works", works))).run(engine.database)
    assert await standing(engine) == {"works:a": False}
