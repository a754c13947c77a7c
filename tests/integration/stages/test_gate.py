"""The gate before the upsert, on the whole way from the call to the row: no false number takes the place of a good one."""

from collections.abc import Sequence
from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.instagram import platform
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.simulator import SimulatorClient
from tests.observing import rows
from tests.stages import retrieve

HANDLE = "creator_000001"
FLOW = "refresh_profile_by_handle"
FALSE = ("zero", "thousandfold", "thousandth", "digit", "swapped", "other", "int32", "subset")
HELD = (
    "SELECT source, fields, state, record->'followers' FROM held_record WHERE decided_at IS NULL AND kind = 'profiles'"
)


async def ask(engine: Engine, handle: str = HANDLE) -> int:
    wanted = NewRequest("instagram", FLOW, {"handle": handle, "posts": 0}, force=True)
    (accepted,) = await intake.accept(engine.database, [wanted])
    return accepted.id


async def go_on(engine: Engine) -> None:
    """All that can be done now: dispatch cycles, calls, and the stages after them, until nothing is left."""
    for _ in range(20):
        retrieved = await retrieve(engine, (await turn(engine.database, platform)).leased)
        if not retrieved.next:
            left = await rows(engine.database, "SELECT id FROM scrape_fetch WHERE stage IN ('LEASED', 'SETTLING')")
            if not left:
                return
        await process(engine, (await ingest(engine, retrieved.next)).next)
    raise AssertionError("it goes on and on")


async def refresh(engine: Engine, handle: str = HANDLE) -> int:
    request = await ask(engine, handle)
    await go_on(engine)
    return request


async def profile(engine: Engine, handle: str = HANDLE) -> Any:
    """The one row of this profile."""
    found = await rows(
        engine.database,
        "SELECT followers, following, media_count, trust_score, held_since IS NOT NULL FROM instagram_account WHERE handle = %s",
        (handle,),
    )
    assert len(found) == 1
    return found[0]


async def ended(engine: Engine, request: int) -> Sequence[Any]:
    return await rows(
        engine.database, "SELECT status, data->'partial'->>'code' FROM scrape_request_log WHERE id = %s", (request,)
    )


async def only(engine: Engine, *sources: str) -> None:
    """No other source has a credential from now on."""
    await rows(engine.database, "UPDATE credential SET enabled = source = ANY(%s) RETURNING id", (list(sources),))


@pytest.mark.parametrize("kind", FALSE)
async def test_s8_4_a_false_answer_never_replaces_a_good_number(
    engine: Engine, admin: SimulatorClient, kind: str
) -> None:
    await only(engine, "lama")
    await refresh(engine)
    good = (await profile(engine))[:3]
    await admin.add_fault("corrupt", body=kind)
    request = await refresh(engine)
    *served, score, is_held = await profile(engine)
    for was, shown in zip(good, served, strict=True):
        # What differs by less than a tenth can be true, and so does what was never above a thousand for its suffix.
        assert abs(shown - was) <= max(0.1 * was, 1), kind
    ((source, fields, state, said),) = await rows(engine.database, HELD)
    assert (source, state, is_held) == ("lama", "waiting", True)
    assert "followers" in fields and said != good[0]
    assert score < 100
    assert await ended(engine, request) == [("COMPLETE", None)]


async def test_s8_8_a_negative_count_is_rejected_and_its_payload_is_kept(
    engine: Engine, admin: SimulatorClient
) -> None:
    await only(engine, "lama")
    await refresh(engine)
    good = await profile(engine)
    before = await rows(engine.database, "SELECT observed_at FROM instagram_account")
    await admin.add_fault("corrupt", body="negative")
    request = await refresh(engine)
    assert await profile(engine) == good
    assert await rows(engine.database, "SELECT observed_at FROM instagram_account") == before
    sql = """SELECT q.kind, q.source, q.operation, q.path, q.error LIKE 'followers is -%%: a count cannot be negative%%', p.body IS NOT NULL
        FROM quarantine q JOIN raw_payload p ON p.fetch_id = q.fetch_id AND p.created_at = q.payload_at WHERE q.request_id = %s"""
    assert await rows(engine.database, sql, (request,)) == [
        ("implausible", "lama", "profile_by_handle", "$.profiles.followers", True, True)
    ]
    assert await ended(engine, request) == [("COMPLETE", "implausible")]


async def test_s6_6_and_s8_4_a_credential_is_not_blamed_for_a_false_answer(
    engine: Engine, admin: SimulatorClient
) -> None:
    await only(engine, "lama")
    state = "SELECT enabled, dead_at, disabled_till, ladder FROM credential WHERE source = 'lama'"
    await refresh(engine)
    before = await rows(engine.database, state)
    await admin.add_fault("corrupt", body="negative")
    for number in range(1, 13):
        await refresh(engine, f"creator_{number:06}")
    assert await rows(engine.database, state) == before
    assert await rows(engine.database, "SELECT count(*) FROM quarantine WHERE kind = 'implausible'") == [(12,)]


async def test_s8_4_a_source_that_takes_it_back_ends_the_hold(engine: Engine, admin: SimulatorClient) -> None:
    await only(engine, "lama")
    await refresh(engine)
    good = await profile(engine)
    await admin.add_fault("corrupt", body="zero")
    await refresh(engine)
    await admin.clear_faults()
    await refresh(engine)
    assert await profile(engine) == good
    assert await rows(engine.database, HELD) == []
    decided = await rows(engine.database, "SELECT state, decided_by, why FROM held_record WHERE kind = 'profiles'")
    assert decided == [("rejected", "beat", "lama says what was known")]


async def test_s8_4_an_independent_source_that_says_the_same_is_believed(
    engine: Engine, admin: SimulatorClient
) -> None:
    """Both observations are logged, the held one with the time of its own answer."""
    await only(engine, "lama")
    await refresh(engine)
    before, *_ = await profile(engine)
    await admin.let_happen("viral", HANDLE, size=0.002)
    await refresh(engine)
    assert (await profile(engine))[0] == before
    await only(engine, "jotucker")
    await refresh(engine)
    true = (await admin.person(HANDLE))["person"]["followers"]
    assert true < before * 0.01
    followers, _, _, _, is_held = await profile(engine)
    assert (followers, is_held) == (true, False)
    decided = await rows(engine.database, "SELECT state, why FROM held_record WHERE kind = 'profiles'")
    assert decided == [("accepted", "jotucker says the same")]
    log = "SELECT source, metrics->'followers' FROM profile_log WHERE metrics ? 'followers' ORDER BY observed_at, metrics->'followers'"
    assert await rows(engine.database, log) == [("lama", before), ("lama", true), ("jotucker", true)]
    await refresh(engine)
    assert (await profile(engine))[0] == true


async def test_what_was_stored_before_there_was_a_gate_is_known_to_it(engine: Engine, admin: SimulatorClient) -> None:
    await only(engine, "lama")
    await refresh(engine)
    before, *_ = await profile(engine)
    await rows(engine.database, "UPDATE instagram_account SET trust = NULL RETURNING 1")
    await admin.add_fault("corrupt", body="zero")
    await refresh(engine)
    assert (await profile(engine))[0] == before


async def test_an_answer_that_is_older_than_the_row_is_not_held(engine: Engine, admin: SimulatorClient) -> None:
    """It cannot change what is shown, so nobody is asked about it."""
    await only(engine, "lama")
    await refresh(engine)
    good = await profile(engine)
    await admin.add_fault("corrupt", body="zero")
    await ask(engine)
    late = (await retrieve(engine, (await turn(engine.database, platform)).leased)).next
    await admin.clear_faults()
    await refresh(engine)
    await process(engine, (await ingest(engine, late)).next)
    assert await profile(engine) == good
    assert await rows(engine.database, "SELECT 1 FROM held_record WHERE kind = 'profiles'") == []
