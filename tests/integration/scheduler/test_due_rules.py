"""Rules are due when there is evidence for them, one alert explains another, and what has not changed is not written."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import psycopg
import pytest

from actors.mailbox import Mailbox
from beat_actors.alerts import Alert
from beat_actors.database import Database
from beat_actors.database.reporting import Reporter
from beat_actors.engine import Engine
from beat_actors.own_trouble import OwnTrouble
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.swept import Swept
from beat_actors.settings import Settings
from beat_actors.watch import WATCHES
from beat_actors.watch.by_hand import FORGOTTEN
from beat_actors.watch.database import SLOW_QUERY
from beat_actors.watch.requests import IDLE_BROKER
from beat_actors.watch.rule import Reports
from scheduler import daemon
from scheduler.daemon import JOBS, LOOKS, Job, Workers, sweep_until
from scheduler.evidence import DUE_BY, Evidence
from tests.worlds import TOY, MovableClock, ScriptedClient, answer, engine_with, registered

INSERT = (
    "INSERT INTO quarantine (kind, platform, source, operation, error) VALUES (%s, 'toy', 'toy-first', 'look', 'why')"
)


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    engine = engine_with(settings, ScriptedClient(lambda source, call: answer()))
    with registered(TOY):
        yield engine
    await engine.close()


@pytest.fixture
def rows(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def announced(rows: psycopg.Connection) -> list[str]:
    found = rows.execute("SELECT subject FROM event WHERE type = 'beat.alert.opened' ORDER BY id").fetchall()
    return [subject.removeprefix("alert/") for (subject,) in found]


async def test_a_parser_that_cannot_read_a_source_explains_what_of_it_is_in_quarantine(
    engine: Engine, rows: psycopg.Connection
) -> None:
    rows.execute(
        "INSERT INTO breaker (platform, source, operation, kind, open_until, since) "
        "VALUES ('toy', 'toy-first', 'look', 'parser', now() + interval '1 min', now())"
    )
    for kind in (*["malformed"] * 5, "poison"):
        rows.execute(INSERT, (kind,))
    situations = next(one for one in WATCHES if one.name == "situations")
    await situations.run(engine.database)
    assert sorted(announced(rows)) == ["parser:toy-first", "quarantine:poison:toy-first:look"]
    rows.execute("UPDATE breaker SET open_until = NULL")
    await situations.run(engine.database)
    assert announced(rows)[-1] == "quarantine:malformed:toy-first:look"


async def test_a_leader_reports_once_that_nothing_stands_and_a_new_one_once_more(
    database: Database, rows: psycopg.Connection
) -> None:
    stands = [Alert(key="toy:1", severity="info", cause="a", impact="b", automatic="c", action="d")]
    reports, again = Reports(), "UPDATE alert SET resolved_at = NULL"
    rows.execute("INSERT INTO leader (name, epoch, holder) VALUES ('scheduler', 5, 'me')")
    assert [await reports(database, "toy", each, 5) for each in (stands, [], [])] == [1, 1, 0]
    rows.execute(again)
    assert await reports(database, "toy", [], 5) == 0  # nobody else opens its alerts
    assert await reports(database, "toy", [], 5, repeat=True) == 1
    rows.execute(again)
    rows.execute("UPDATE leader SET epoch = 6")
    assert await reports(database, "toy", [], 6) == 1
    assert [await reports(database, "toy", each, 6) for each in (stands, [])] == [1, 1]


def test_what_is_brought_forward_are_jobs() -> None:
    assert set(DUE_BY) == set(Evidence._fields)
    assert {job for jobs in DUE_BY.values() for job, _ in jobs} <= {job.name for job in JOBS}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - polling is the test
            await asyncio.sleep(0.05)


async def quarantined(database: Database, rows: psycopg.Connection) -> None:
    rows.execute(INSERT, ("malformed",))


async def in_trouble(database: Database, rows: psycopg.Connection) -> None:
    """A process reports at once what is new of it."""
    trouble = OwnTrouble()
    reporter = Reporter(database, name="worker", own_trouble=trouble)
    await reporter.report()
    trouble.lowered("it has few descriptors")
    await reporter.report()


async def slow(database: Database, rows: psycopg.Connection) -> None:
    """A process reports slow statements."""
    reporter = Reporter(database, name="worker")
    await reporter.report()
    rows.execute("UPDATE process SET statement_p99 = %s", (SLOW_QUERY,))


async def forgotten(database: Database, rows: psycopg.Connection) -> None:
    """Nothing is written when the hour is over."""
    rows.execute(
        "INSERT INTO flow_setting (platform, flow, paused, changed_at) VALUES ('toy', 'flow', true, now() - make_interval(secs => %s))",
        (FORGOTTEN - 1,),
    )


async def distrusted(database: Database, rows: psycopg.Connection) -> None:
    """Nothing is written when the hour is over."""
    rows.execute(
        "INSERT INTO trust_cohort (platform, source, operation, parser_version, cohort, breaker, by_hand, open_since) "
        "VALUES ('toy', 'toy-first', 'look', 1, '', '', true, now() - make_interval(secs => %s))",
        (FORGOTTEN - 1,),
    )


def due_by(happens: Callable[[Database, psycopg.Connection], Awaitable[None]]) -> str:
    """The evidence that changes."""
    return "forgotten" if happens is distrusted else happens.__name__


@pytest.mark.slow
@pytest.mark.parametrize("happens", [quarantined, in_trouble, slow, forgotten, distrusted])
async def test_evidence_brings_the_rules_that_it_is_for_forward(
    settings: Settings,
    process_url: str,
    database: Database,
    rows: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[Database, psycopg.Connection], Awaitable[None]],
) -> None:
    monkeypatch.setattr("beat_actors.leadership.BEAT", 0.05)
    monkeypatch.setattr(daemon, "RECORD_EVERY", 0.1)
    ran: dict[str, int] = {}
    terms: set[int] = set()

    def seldom(name: str) -> Job:
        async def sweep(_database: Database, _mailbox: Mailbox, epoch: int) -> Swept:
            ran[name] = ran.get(name, 0) + 1
            terms.add(epoch)
            return Swept()

        return Job(name, sweep, every=3600, deadline=5)

    async def often(_database: Database, _mailbox: Mailbox, _epoch: int) -> Swept:
        ran["often"] = ran.get("often", 0) + 1
        return Swept()

    names = list(dict.fromkeys(job for jobs in DUE_BY.values() for job, _ in jobs))
    jobs = (*map(seldom, [*names, "other"]), Job("often", often, every=0.05, deadline=5))
    direct = settings.model_copy(update={"database_direct_url": process_url})
    stopped = asyncio.Event()
    task = asyncio.create_task(sweep_until(stopped, direct, jobs))
    try:
        # The first look of a leader finds everything new.
        await until(lambda: all(ran.get(name, 0) >= 1 for name in names) and ran.get("often", 0) > 20)
        wanted = [job for job, _ in DUE_BY[due_by(happens)]]
        before = dict(ran)
        await happens(database, rows)
        await until(lambda: all(ran[name] > before[name] for name in wanted))
        assert ran["other"] <= len(terms)  # a busy machine may elect its leader anew
    finally:
        stopped.set()
        await task


async def test_that_no_dispatch_cycle_runs_is_not_announced_before_that_no_worker_does(
    engine: Engine, rows: psycopg.Connection, settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "WORKERS", Workers())
    claims = next(job for job in JOBS if job.name == "watch_claims")
    mailbox, clock = Mailbox(settings), MovableClock(database_url)
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": "n"})])
    clock.advance(IDLE_BROKER + 1)
    for look in range(1, LOOKS + 1):
        await daemon.WORKERS(engine.database, mailbox, None)  # type: ignore[arg-type]
        await claims.sweep(engine.database, mailbox, None)  # type: ignore[arg-type]
        assert announced(rows) == (["workers:none"] if look == LOOKS else [])
    # Workers that run and make no dispatch cycle are another situation.
    monkeypatch.setattr(Mailbox, "listeners", lambda self: 1)
    await daemon.WORKERS(engine.database, mailbox, None)  # type: ignore[arg-type]
    await claims.sweep(engine.database, mailbox, None)  # type: ignore[arg-type]
    assert announced(rows) == ["workers:none", "claims:toy"]
    clock.close()
    mailbox.close()
