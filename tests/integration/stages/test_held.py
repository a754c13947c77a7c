"""What becomes of held records: they are asked about again, a person decides, and nothing that dies loses one."""

import msgspec
import pytest

from beat_actors.broker.turn import turn
from beat_actors.data import freshness, reading
from beat_actors.engine import Engine
from beat_actors.errors import Conflict, NotFound
from beat_actors.holds import operators
from beat_actors.pipeline.deciding import decide
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.instagram import platform
from beat_actors.requests import witnesses
from beat_actors.simulator import SimulatorClient
from beat_actors.watch.held import waiting_for_a_person
from tests.integration.stages.test_gate import CHAIN, HANDLE, ask, go_on, only, profile, refresh
from tests.observing import rows
from tests.stages import retrieve

ONE = "SELECT id, state, rounds, asks, why FROM held_record WHERE kind = 'profiles'"
SOONER = "UPDATE held_record SET next_at = clock_timestamp(), held_at = held_at - interval '25 hours' WHERE decided_at IS NULL AND kind = 'profiles' RETURNING 1"


async def fall(engine: Engine, admin: SimulatorClient, *sources: str) -> tuple[int, int]:
    """Nearly all followers are gone, as these sources alone can say: how many there were, and how many there are."""
    await only(engine, *sources)
    await refresh(engine)
    before, *_ = await profile(engine)
    await admin.let_happen("viral", HANDLE, size=0.002)
    await refresh(engine)
    return before, (await admin.person(HANDLE))["person"]["followers"]


async def test_a_source_that_is_back_is_asked_by_rule_and_decides(engine: Engine, admin: SimulatorClient) -> None:
    before, true = await fall(engine, admin, "lama")
    assert (await profile(engine))[0] == before
    await only(engine, *CHAIN)
    assert (await witnesses.due(engine.database)).count == 0  # its time has not come
    await rows(engine.database, SOONER)
    assert (await witnesses.due(engine.database)).wake == {"instagram"}
    ((_, state, _, asks, _),) = await rows(engine.database, ONE)
    assert state == "asking"
    assert asks != "lama"
    await go_on(engine)
    assert (await profile(engine))[0] == true
    ((_, state, _, _, why),) = await rows(engine.database, ONE)
    assert (state, why) == ("accepted", f"{asks} says the same")
    sql = """SELECT f.source, f.priority, r.status, r.items FROM scrape_fetch f JOIN scrape_request_log r ON r.id = f.request_id
        JOIN held_record h ON h.id = f.witness_of WHERE h.kind = 'profiles'"""
    assert await rows(engine.database, sql) == [(asks, 3, "COMPLETE", 0)]


async def test_where_no_other_source_can_be_asked_a_person_decides(engine: Engine, admin: SimulatorClient) -> None:
    before, true = await fall(engine, admin, "lama")
    for _ in range(10):
        await rows(engine.database, SOONER)
        await witnesses.due(engine.database)
        await go_on(engine)
        ((number, state, _, _, why),) = await rows(engine.database, ONE)
        if state == "person":
            break
    assert (state, why) == ("person", "no independent source confirms or refutes it")
    assert (await profile(engine))[0] == before
    (alert,) = [one for one in await waiting_for_a_person(engine.database) if one.key.startswith("held:lama:profile")]
    assert f"`beat held show {number}`" in alert.action
    async with engine.database.transaction() as transaction:
        (seen,) = [one for one in await operators.listed(transaction, state="person") if one.kind == "profiles"]
        assert (seen.id, seen.known["followers"], seen.says["followers"]) == (number, before, true)
        await decide(transaction, number, accept=True, actor="key/ada", reason="the platform says so")
    assert (await profile(engine))[0] == true
    audited = await rows(engine.database, "SELECT actor, action, target FROM audit_log WHERE action LIKE 'held.%%'")
    assert audited == [("key/ada", "held.accept", f"held/{number}")]
    async with engine.database.transaction() as transaction:
        with pytest.raises(Conflict, match="is decided: accepted"):
            await decide(transaction, number, accept=False, actor="key/ada", reason="no")
        with pytest.raises(NotFound):
            await decide(transaction, number + 10_000, accept=False, actor="key/ada", reason="no")
    await refresh(engine)
    assert (await profile(engine))[0] == true


async def test_a_person_rejects_and_the_known_value_stays_known(engine: Engine, admin: SimulatorClient) -> None:
    before, _ = await fall(engine, admin, "lama")
    ((number, *_),) = await rows(engine.database, ONE)
    async with engine.database.transaction() as transaction:
        await decide(transaction, number, accept=False, actor="key/ada", reason="a bug of the parser")
    assert (await profile(engine))[0] == before
    await admin.clear_happenings()
    await refresh(engine)
    followers, _, _, _, is_held = await profile(engine)
    assert (followers, is_held) == (before, False)


async def test_readers_see_the_good_value_and_that_a_newer_one_is_held(engine: Engine, admin: SimulatorClient) -> None:
    before, _ = await fall(engine, admin, "lama")
    entity = platform.entity_named("profiles")
    async with engine.database.transaction() as transaction:
        item = await reading.find(transaction, platform, entity, HANDLE)
    assert item is not None
    assert item.fields["followers"] == before
    assert item.score is not None
    assert item.held is not None
    assert "followers" in item.held.fields
    assert "drop" in item.held.rules
    assert item.held.state == "waiting"
    assert item.held.next_at is not None
    shown = freshness.of_items([item], 3600.0)
    assert (shown.mode, shown.shown_mode) == ("fresh", "held")


async def test_a_question_that_came_to_nothing_is_put_again(engine: Engine, admin: SimulatorClient) -> None:
    """The request was cancelled while another source was to be asked: the sweep goes on with the next source."""
    _, true = await fall(engine, admin, "lama")
    await only(engine, *CHAIN)
    sql = "UPDATE held_record SET state = 'asking', asks = 'arraybobo', asked = '{arraybobo}' WHERE kind = 'profiles' RETURNING 1"
    await rows(engine.database, sql)
    await rows(engine.database, SOONER)
    await witnesses.due(engine.database)
    await go_on(engine)
    assert (await profile(engine))[0] == true


async def test_what_is_held_is_as_the_record_was_read(engine: Engine, admin: SimulatorClient) -> None:
    _, true = await fall(engine, admin, "lama")
    ((record, whole),) = await rows(
        engine.database,
        "SELECT record::text AS record, record->'followers' AS followers FROM held_record WHERE kind = 'profiles'",
    )
    assert whole == true
    assert msgspec.json.decode(record)["handle"] == HANDLE


async def test_a_record_that_another_answer_of_the_same_batch_refutes_is_decided_at_once(
    engine: Engine, admin: SimulatorClient
) -> None:
    await only(engine, "lama")
    await refresh(engine)
    good = await profile(engine)
    await admin.add_fault("corrupt", "lama", body="zero")
    batch: list[int] = []
    for source in ("lama", "jotucker"):
        await only(engine, source)
        await ask(engine)
        batch += (await retrieve(engine, (await turn(engine.database, platform)).leased)).next
    assert len(batch) == 2
    await process(engine, (await ingest(engine, batch)).next)
    assert await profile(engine) == good
    ends = "SELECT state, decided_at IS NOT NULL, decided_by, why FROM held_record WHERE kind = 'profiles' ORDER BY id"
    rejected = ("rejected", True, "beat", "jotucker says what was known")
    assert await rows(engine.database, ends) == [rejected]
    # The next false answer is held as the first was.
    await only(engine, "lama")
    await refresh(engine)
    assert await rows(engine.database, ends) == [rejected, ("waiting", False, None, "")]


async def test_what_is_accepted_later_is_an_event_of_its_own(engine: Engine, admin: SimulatorClient) -> None:
    """Consumers know events by their ids, and one that they know already they skip."""
    await fall(engine, admin, "lama")
    sql = "SELECT id, key, request_id FROM held_record WHERE kind = 'posts' AND decided_at IS NULL ORDER BY id LIMIT 2"
    held = await rows(engine.database, sql)
    for number, _, _ in held:
        async with engine.database.transaction() as transaction:
            await decide(transaction, number, accept=True, actor="key/ada", reason="the platform says so")
    ((_, one, request), (_, other, _)) = held
    told = "SELECT data->'keys' FROM event WHERE type = 'beat.data.changed' AND subject = %s AND data->>'kind' = 'posts' ORDER BY id DESC LIMIT 2"
    assert await rows(engine.database, told, (f"scrape_request/{request}",)) == [([other],), ([one],)]
    twice = "SELECT event_id FROM event GROUP BY event_id HAVING count(*) > 1"
    assert await rows(engine.database, twice) == []
