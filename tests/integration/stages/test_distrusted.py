"""A source of which a person says that its answers are wrong: the rules find nothing, and its answers are not used until a person says so."""

import dataclasses

import pytest

from beat_actors.broker import sources
from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.errors import BadInput
from beat_actors.holds import cohorts
from beat_actors.observe.overview import overview
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.instagram import platform
from beat_actors.requests import explain
from beat_actors.simulator import SimulatorClient
from beat_actors.watch.by_hand import FORGOTTEN, stopped_by_hand
from beat_actors.watch.held import distrusted
from tests.integration.stages.test_gate import CHAIN, ask, go_on, only, refresh
from tests.observing import rows
from tests.stages import retrieve

FIRST, SECOND = [source for source in CHAIN if source in {"lama", "jotucker"}]
OPERATION = "profile_by_handle"
STANDS = "SELECT by_hand, open_since IS NOT NULL AS is_open FROM trust_cohort WHERE source = %s AND operation = %s"
ASKED = "SELECT source, count(*) AS n FROM scrape_fetch WHERE is_first AND source IS NOT NULL GROUP BY 1"
SAID = {"actor": "ann", "reason": "its numbers are those of last week"}


async def distrust(engine: Engine, source: str = FIRST, version: int | None = None) -> None:
    await sources.open_data_breaker(engine.database, source, OPERATION, parser_version=version, **SAID)


async def trust(engine: Engine, version: int | None = None) -> None:
    await sources.close_data_breaker(engine.database, FIRST, OPERATION, parser_version=version, **SAID)


async def asked(engine: Engine) -> dict[str, int]:
    return dict(await rows(engine.database, ASKED))


async def test_s8_4_it_is_not_asked_until_a_person_trusts_it_again(engine: Engine) -> None:
    await only(engine, FIRST, SECOND)
    await distrust(engine)
    for number in range(1, 11):
        await ask(engine, f"creator_{number:06}")
    await go_on(engine)
    assert await asked(engine) == {SECOND: 10}
    await trust(engine)
    await refresh(engine, "creator_000020")
    assert await asked(engine) == {SECOND: 10, FIRST: 1}


async def test_another_version_of_the_parser_is_used_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await only(engine, FIRST, SECOND)
    await distrust(engine)
    endpoints = platform.sources[FIRST].endpoints
    old = endpoints[OPERATION]
    new = dataclasses.replace(old, version=old.version + 1)
    monkeypatch.setitem(endpoints, OPERATION, new)  # type: ignore[arg-type]
    await refresh(engine)
    assert await asked(engine) == {FIRST: 1}
    await distrust(engine)
    await trust(engine, version=old.version)
    await refresh(engine, "creator_000002")
    assert await asked(engine) == {FIRST: 1, SECOND: 1}
    monkeypatch.setitem(endpoints, OPERATION, old)  # type: ignore[arg-type]
    await distrust(engine, version=new.version)
    with pytest.raises(BadInput, match="no answer was read by version 77"):
        await distrust(engine, version=77)
    await refresh(engine, "creator_000003")
    assert await asked(engine) == {FIRST: 2, SECOND: 1}


async def test_what_answers_come_to_meanwhile_does_not_close_it(engine: Engine, admin: SimulatorClient) -> None:
    """An answer that was under way is judged, and what is counted of it is written to the same row."""
    await only(engine, FIRST)
    await refresh(engine)
    await admin.add_fault("corrupt", FIRST, body="zero")
    await ask(engine)
    came = (await retrieve(engine, (await turn(engine.database, platform)).leased)).next
    assert len(came) == 1
    await distrust(engine)
    await process(engine, (await ingest(engine, came)).next)
    assert await rows(engine.database, "SELECT count(*) AS n FROM held_record") != [(0,)]
    counted = "SELECT length(cohort) > 0 AS counted FROM trust_cohort WHERE source = %s AND operation = %s"
    assert await rows(engine.database, counted, (FIRST, OPERATION)) == [(True,)]
    assert await rows(engine.database, STANDS, (FIRST, OPERATION)) == [(True, True)]
    await trust(engine)
    assert await rows(engine.database, STANDS, (FIRST, OPERATION)) == [(False, False)]


async def test_what_waits_for_it_says_that_an_operator_did_it(engine: Engine) -> None:
    await only(engine, FIRST)
    await distrust(engine)
    request = await ask(engine)
    await go_on(engine)
    async with engine.database.transaction() as transaction:
        found = await explain.why(transaction, request)
    assert "its answers are wrong: an operator opened its data breaker" in str(found)
    assert await asked(engine) == {}
    await sources.close_breaker(engine.database, FIRST, None, actor="ann", reason="all of it works")
    await go_on(engine)
    assert await asked(engine) == {FIRST: 1}


async def test_it_is_told_after_an_hour_and_by_no_other_alert(engine: Engine) -> None:
    await distrust(engine)
    assert await stopped_by_hand(engine.database) == await distrusted(engine.database) == []
    ago = "UPDATE trust_cohort SET open_since = open_since - make_interval(secs => %s) RETURNING 1"
    await rows(engine.database, ago, (FORGOTTEN + 1,))
    (alert,) = await stopped_by_hand(engine.database)
    assert (alert.key, alert.source) == (f"hand:data:{FIRST}:{OPERATION}", FIRST)
    assert f"a person opened the data breaker of {FIRST} {OPERATION}" in alert.cause
    assert await distrusted(engine.database) == []
    await trust(engine)
    assert await stopped_by_hand(engine.database) == []


EVENTS = "SELECT type, subject, data FROM event WHERE subject LIKE 'breaker/%%/data/%%' ORDER BY id"


async def test_consumers_hear_when_it_opens_and_closes(engine: Engine) -> None:
    """Once for each opening and closing, whoever did it."""
    version = platform.sources[FIRST].endpoints[OPERATION].version
    key = cohorts.Key("instagram", FIRST, OPERATION, version)

    async def by_the_rules(*, bad: int) -> None:
        async with engine.database.transaction() as transaction:
            standing, now = await cohorts.take(transaction, {key})
            standing[key].count(cohorts.Counts(seen=50, bad=bad), now)
            await cohorts.write(transaction, standing)

    await by_the_rules(bad=0)
    await by_the_rules(bad=20)
    await by_the_rules(bad=0)  # what it samples is good, and it closes
    await distrust(engine)
    await distrust(engine)
    await by_the_rules(bad=0)
    await trust(engine)
    await trust(engine)
    await distrust(engine)
    await sources.close_breaker(engine.database, FIRST, OPERATION, **SAID)
    told = await rows(engine.database, EVENTS)
    assert [(kind, data["by_hand"]) for kind, _, data in told] == [
        ("beat.breaker.data_opened", False),
        ("beat.breaker.data_closed", False),
        ("beat.breaker.data_opened", True),
        ("beat.breaker.data_closed", True),
        ("beat.breaker.data_opened", True),
        ("beat.breaker.data_closed", True),
    ]
    assert {subject for _, subject, _ in told} == {f"breaker/{FIRST}/{OPERATION}/data/{version}"}
    of = {"platform": "instagram", "source": FIRST, "operation": OPERATION, "parser_version": version}
    assert all(data.items() >= of.items() for _, _, data in told)
    assert "of the last 100 records were bad" in told[0][2]["reason"]
    assert [data["reason"] for _, _, data in told[1:]] == [""] * 5


async def test_beat_top_shows_it(engine: Engine) -> None:
    await only(engine, FIRST, SECOND)
    await distrust(engine)
    (line,) = [one for one in (await overview(engine.database)).sources if one.source == FIRST]
    assert (line.breakers, line.data_breakers) == (0, 1)
