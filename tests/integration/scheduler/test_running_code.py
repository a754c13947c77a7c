"""What is newer than the running processes is told with the restart that it wants: by an alert, by `why`, and by the pure rule behind both."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from beat_actors import running_code
from beat_actors.alerts import AlertView, list_alerts
from beat_actors.database.processes import Code, Process
from beat_actors.database.reporting import Reporter
from beat_actors.engine import Engine
from beat_actors.own_trouble import OwnTrouble
from beat_actors.requests import intake
from beat_actors.requests.explain import why
from beat_actors.requests.intake import NewRequest
from beat_actors.running_code import RESTART, own, stale
from beat_actors.settings import Settings
from beat_actors.watch import requests as requests_rules
from beat_actors.watch.rule import Watch
from tests.worlds import TOY, MovableClock, ScriptedClient, answer, engine_with, registered

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def process(name: str, code: Code | None, pid: int = 1) -> Process:
    said = {} if code is None else {"version": code.version, "revision": code.revision}
    return Process(
        name=name, host="h", pid=pid, started_at=NOW, seen_at=NOW, statements=0, statement_p99=0, pool_used=0, pool_most=1,
        pool_exhausted=0, claims=0, claim_p50=0, claim_p99=0, **said,
        platforms=None if code is None or code.platforms is None else list(code.platforms),
    )  # fmt: skip


BEFORE = Code("0.9.0", "0050", ("instagram",))
AFTER = Code("0.10.0", "0051", ("instagram", "mastodon"))


def test_each_thing_that_is_newer_names_the_processes_that_lack_it() -> None:
    living = [
        process("worker", BEFORE),
        process("worker", AFTER, 2),
        process("deliverer", BEFORE._replace(platforms=None), 3),
    ]
    found = {one.kind: one for one in stale(living, {"mastodon", "instagram"}, "0051")}
    assert {kind: one.lacking for kind, one in found.items()} == {
        "platform mastodon": ("worker h:1",),
        "schema": ("worker h:1", "deliverer h:3"),
        "version": ("worker h:1", "deliverer h:3"),  # 0.10 comes after 0.9
    }
    assert not found["platform mastodon"].nobody
    assert stale(living[:1], {"mastodon"}, "0050")[0].nobody


def test_nothing_is_said_where_all_are_the_same_or_say_nothing() -> None:
    assert stale([process("worker", AFTER), process("api", AFTER, 2)], {"mastodon"}, "0051", "0.10.0") == []
    assert stale([process("worker", None)], {"mastodon"}, "0051") == []
    # One that says nothing is older than one that does.
    assert [one.kind for one in stale([process("worker", None), process("api", AFTER, 2)], (), "0051")] == ["version"]
    # What was installed after all of them were started.
    assert [one.kind for one in stale([process("worker", AFTER)], (), "0051", "0.11.0")] == ["version"]


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


async def _alerts(engine: Engine) -> dict[str, AlertView]:
    await Watch("code", running_code.alerts).run(engine.database)
    await Watch("claims", requests_rules.standstill).run(engine.database)
    async with engine.database.statements() as alone:
        return {one.key: one for one in await list_alerts(alone)}


@pytest.mark.parametrize("operator", [True, False])
async def test_a_platform_that_is_newer_than_the_workers_is_the_cause_that_is_reported(
    engine: Engine, clock: MovableClock, operator: bool
) -> None:
    (accepted,) = await intake.accept(engine.database, [NewRequest("toy", "look", {"name": "n"})])
    here = own()
    old = Reporter(
        engine.database, name="worker", own_trouble=OwnTrouble(), code=here._replace(platforms=("instagram",))
    )
    clock.advance(requests_rules.IDLE_BROKER + 1)
    await old.report()
    found = await _alerts(engine)
    assert list(found) == ["code:platform toy"]  # and no second one that the broker stands still
    alert = found["code:platform toy"]
    assert (alert.severity, alert.action) == ("critical", RESTART)
    assert "no running worker has it" in alert.cause
    async with engine.database.statements() as alone:
        told = await why(alone, accepted.id, operator=operator)
    assert (told.eta, told.next_attempt_at) == (None, None)
    assert "no running worker has the platform toy" in told.summary
    assert ("restart the workers" in told.summary) == operator

    # A worker that has it was started beside the old one.
    new = Reporter(engine.database, name="worker", own_trouble=OwnTrouble(), code=here._replace(platforms=("toy",)))
    await new.report()
    found = await _alerts(engine)
    assert found["code:platform toy"].severity == "warning"
    assert "claims:toy" in found
    async with engine.database.statements() as alone:
        told = await why(alone, accepted.id, operator=operator)
    assert "no running worker" not in told.summary


def test_the_code_of_a_process_is_that_of_its_files() -> None:
    from beat_actors.database import migrate

    here = own()
    assert here.revision == migrate.head()
    assert here.platforms is not None
    assert replace(
        running_code.Stale("schema", "x", ("a",) * 9), lacking=("a", "b", "c", "d", "e", "f")
    ).sentence.endswith("a, b, c, d and 2 more")
