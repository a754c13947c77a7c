"""Breakers judge calls by the time at which these began, and one owner's trouble is its own."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from beat_actors.broker import sources
from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.interface import Answer, Call, Source
from beat_actors.requests import intake, sweeps
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from beat_actors.watch.quarantine import quarantined
from beat_actors.watch.sources import owners_out
from tests.integration.broker.test_shared_calls import CROWD, rows, script
from tests.stages import retrieve
from tests.worlds import TOY, ScriptedClient, answer, engine_with, registered

OPEN = "SELECT source, operation, kind, owner FROM owner_breaker WHERE open_until > clock_timestamp() ORDER BY 3, 4"
EVERYBODYS = "SELECT kind FROM breaker WHERE open_until > clock_timestamp()"


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    engine = engine_with(settings, ScriptedClient(script))
    with registered(CROWD), registered(TOY):
        yield engine
    await engine.close()


async def ask(engine: Engine, owner: str, *names: str) -> list[int]:
    wanted = [NewRequest("crowd", "own", {"id": owner + name, "owner": owner}) for name in names]
    return [one.id for one in await intake.accept(engine.database, wanted)]


async def run(engine: Engine, platform: Any = CROWD) -> None:
    retrieved = await retrieve(engine, (await turn(engine.database, platform)).leased)
    await process(engine, (await ingest(engine, retrieved.next)).next)
    await turn(engine.database, platform)


@pytest.mark.parametrize("every_tenth", [answer(503), answer(200, b"not json")], ids=["down", "unreadable"])
async def test_one_call_in_ten_that_fails_opens_no_breaker(engine: Engine, every_tenth: Answer) -> None:
    for n in range(3):
        await engine.credentials.add("toy-third", {"key": f"k{n}"})
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": f"n{n}"}) for n in range(50)])
    calls = iter(range(1, 1000))
    engine.client.script = lambda _source, _call: every_tenth if next(calls) % 10 == 0 else answer()
    await run(engine, TOY)
    assert await rows(engine, "SELECT count(*) FROM trace_log") == [(50,)]
    assert await rows(engine, EVERYBODYS) == []


@pytest.mark.parametrize(
    ("bad", "kind"), [(answer(503), "upstream"), (answer(200, b"not json"), "parser")], ids=["down", "unreadable"]
)
async def test_an_owner_whose_calls_fail_holds_up_nobody_else(engine: Engine, bad: Answer, kind: str) -> None:
    def one_is_bad(source: Source, call: Call) -> Answer:
        return bad if call.query["id"].startswith("A") else script(source, call)

    engine.client.script = one_is_bad
    for key in "ab":
        await engine.credentials.add("things", {"key": key})
    await ask(engine, "A", *"abcdef")
    await run(engine)
    assert await rows(engine, OPEN) == [("things", "own", kind, "A")]
    assert await rows(engine, EVERYBODYS) == []

    await ask(engine, "A", "later")
    wanted = await ask(engine, "B", *"abc")
    await run(engine)
    ended = await rows(engine, "SELECT status FROM scrape_request_log WHERE id = ANY(%s)", wanted)
    assert ended == [("COMPLETE",)] * 3
    ((reasons,),) = await rows(engine, "SELECT reasons FROM lane WHERE owner = 'A' AND reasons IS NOT NULL LIMIT 1")
    assert "A" in reasons[0]["why"]

    (view,) = await sources.overview(engine.database, "things")
    assert {(b.owner, b.kind, b.state) for b in view.breakers if b.state != "closed"} == {("A", kind, "open")}
    (alert,) = await owners_out(engine.database)
    assert "A" in alert.cause
    await sources.close_breaker(engine.database, "things", "own", actor="ops", reason="looked at")
    assert await rows(engine, OPEN) == []
    assert await owners_out(engine.database) == []


async def test_an_owners_probe_closes_its_breaker_and_a_lost_one_is_made_again(engine: Engine) -> None:
    engine.client.script = lambda _source, _call: answer(503)
    await engine.credentials.add("things", {"key": "a"})
    await ask(engine, "A", *"abcdef")
    await run(engine)
    over = "UPDATE owner_breaker SET open_until = clock_timestamp() - interval '1 second', probing = true "
    over += "WHERE open_until IS NOT NULL RETURNING 1"
    await rows(engine, over)
    await rows(engine, "UPDATE scrape_fetch SET not_before = NULL RETURNING 1")
    assert (await turn(engine.database, CROWD)).leased == []
    assert (await sweeps.stuck_probes(engine.database)).wake == {"crowd"}
    engine.client.script = script
    leased = (await turn(engine.database, CROWD)).leased
    assert len(leased) == 1
    await retrieve(engine, leased)
    await turn(engine.database, CROWD)
    assert await rows(engine, "SELECT owner FROM owner_breaker WHERE open_until IS NOT NULL") == []


async def test_the_next_probe_is_carried_by_another_fetch_than_the_one_that_failed(engine: Engine) -> None:
    def one_is_poisoned(_source: Source, call: Call) -> Answer:
        return answer(503) if call.query["of"] == "poison" else answer()

    await engine.credentials.add("toy-third", {"key": "k"})
    names = ["poison", "n1", "n2"]
    wanted = [NewRequest("toy", "look", {"name": name}) for name in names]
    engine.client.script = one_is_poisoned
    ids = [one.id for one in await intake.accept(engine.database, wanted)]
    half_open = """
    INSERT INTO breaker (platform, source, operation, kind, trips, open_until)
    VALUES ('toy', 'toy-third', 'look', 'upstream', 1, clock_timestamp() - interval '1 second')
    ON CONFLICT (platform, source, operation, kind) DO UPDATE SET open_until = excluded.open_until RETURNING 1
    """
    await rows(engine, half_open)
    await run(engine, TOY)
    assert await rows(engine, EVERYBODYS) == [("upstream",)]
    await rows(engine, half_open)
    await run(engine, TOY)
    assert await rows(engine, "SELECT id FROM scrape_request_log WHERE status = 'COMPLETE'") == [(ids[1],)]
    assert await rows(engine, EVERYBODYS) == []


async def test_s1_1_what_no_rule_knows_goes_to_the_next_source_is_asked_once_more_and_is_counted(
    engine: Engine,
) -> None:
    for name in ("toy-first", "toy-second", "toy-third"):
        await engine.credentials.add(name, {"key": name})
    (wanted,) = await intake.accept(engine.database, [NewRequest("toy", "look", {"name": "n"})])
    engine.client.script = lambda source, _call: answer(418, b'{"message": "new"}')
    for _ in range(8):
        await rows(engine, "UPDATE scrape_fetch SET not_before = NULL RETURNING 1")
        await retrieve(engine, (await turn(engine.database, TOY)).leased)
    asked = await rows(engine, "SELECT source, count(*) FROM trace_log WHERE outcome = 'refused' GROUP BY 1 ORDER BY 1")
    assert asked == [("toy-first", 2), ("toy-second", 2), ("toy-third", 2)]
    ended = await rows(engine, "SELECT status, data->'error'->>'code' FROM scrape_request_log WHERE id = %s", wanted.id)
    assert ended == [("FAILED", "refused")]
    assert await rows(engine, EVERYBODYS) == []
    assert await rows(engine, "SELECT source, calls, code FROM refusal ORDER BY 1") == [
        ("toy-first", 2, "418"), ("toy-second", 2, "418"), ("toy-third", 2, "418"),
    ]  # fmt: skip
    assert await quarantined(engine.database) == []
    await rows(engine, "UPDATE refusal SET calls = 4 WHERE source = 'toy-first' RETURNING 1")
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": "another"})])
    await run(engine, TOY)
    (alert,) = await quarantined(engine.database)
    assert (alert.key, "5 calls of look" in alert.cause) == ("quarantine:refused:toy-first:look", True)
    await rows(
        engine, "UPDATE refusal SET since = since - interval '2 hours', at = at - interval '2 hours' RETURNING 1"
    )
    assert await quarantined(engine.database) == []
    await rows(engine, "DELETE FROM credential_usage RETURNING 1")
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": "later"})])
    await run(engine, TOY)
    assert await rows(engine, "SELECT calls FROM refusal WHERE source = 'toy-first'") == [(1,)]
