"""The gate before the upsert, on the whole way from the call to the row: no false number takes the place of a good one."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.instagram import InstagramAccount, platform
from beat_actors.platforms.interface import Endpoint, FetchSpec, Parsed
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.scores.tally import TALLY
from beat_actors.simulator import SimulatorClient
from tests.observing import rows
from tests.stages import retrieve

HANDLE = "creator_000001"
CHAIN = platform.chains["profile_by_handle"]
FLOW = "refresh_profile_by_handle"
FALSE = ("zero", "thousandfold", "thousandth", "digit", "swapped", "other", "int32", "subset")
HELD = "SELECT source, fields, state, record->'followers' AS said FROM held_record WHERE decided_at IS NULL AND kind = 'profiles'"


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
        "SELECT followers, following, media_count, trust_score, held_since IS NOT NULL AS is_held FROM instagram_account WHERE handle = %s",
        (handle,),
    )
    assert len(found) == 1
    return found[0]


async def ended(engine: Engine, request: int) -> Sequence[Any]:
    return await rows(
        engine.database,
        "SELECT status, data->'partial'->>'code' AS partial FROM scrape_request_log WHERE id = %s",
        (request,),
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
    followers, _, _, score, is_held = await profile(engine)
    assert followers == good[0]
    if kind == "int32" and not is_held:  # what is below zero is no count for the parser
        assert await rows(engine.database, "SELECT kind FROM quarantine") == [("malformed",)]
        return
    ((source, fields, state, said),) = await rows(engine.database, HELD)
    assert (source, state, is_held) == ("lama", "waiting", True)
    assert "followers" in fields
    assert said != good[0]
    assert score < 100
    assert await ended(engine, request) == [("COMPLETE", None)]


def misread(patch: pytest.MonkeyPatch, **values: int | str) -> None:
    """From now on the parsers of all sources read these numbers of every profile, as one with a bug does."""
    for source in platform.sources.values():
        endpoint = source.endpoints.get("profile_by_handle")
        if endpoint is not None:

            def parse(body: bytes, spec: FetchSpec, good: Endpoint = endpoint) -> Parsed:
                parsed = good.parse(body, spec)
                changed = [
                    msgspec.structs.replace(one, **values) if isinstance(one, InstagramAccount) else one
                    for one in parsed.records
                ]
                return dataclasses.replace(parsed, records=changed)

            patch.setitem(source.endpoints, "profile_by_handle", dataclasses.replace(endpoint, parse=parse))  # type: ignore[arg-type]


async def test_s8_8_a_negative_count_is_rejected_and_its_payload_is_kept(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await only(engine, "lama")
    await refresh(engine)
    good = await profile(engine)
    before = await rows(engine.database, "SELECT observed_at FROM instagram_account")
    misread(monkeypatch, followers=-5)
    TALLY.take()
    request = await refresh(engine)
    assert {one.source: one.impossible for one in TALLY.take()} == {"lama": 1}
    assert await profile(engine) == good
    assert await rows(engine.database, "SELECT observed_at FROM instagram_account") == before
    sql = """SELECT q.kind, q.source, q.operation, q.path, q.error LIKE 'followers is -5: a count cannot be negative%%' AS said, p.body IS NOT NULL AS kept
        FROM quarantine q JOIN raw_payload p ON p.fetch_id = q.fetch_id AND p.created_at = q.payload_at WHERE q.request_id = %s"""
    assert await rows(engine.database, sql, (request,)) == [
        ("implausible", "lama", "profile_by_handle", "$.profiles.followers", True, True)
    ]
    assert await ended(engine, request) == [("COMPLETE", "implausible")]


async def test_s6_6_and_s8_4_a_credential_is_not_blamed_for_a_false_answer(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await only(engine, "lama")
    state = "SELECT enabled, dead_at, disabled_till, ladder FROM credential WHERE source = 'lama'"
    await refresh(engine)
    before = await rows(engine.database, state)
    misread(monkeypatch, followers=-5)
    for number in range(1, 13):
        await refresh(engine, f"creator_{number:06}")
    assert await rows(engine.database, state) == before
    # After ten of them the source is out of the chain, so the others wait.
    assert await rows(engine.database, "SELECT count(*) FROM quarantine WHERE kind = 'implausible'") == [(10,)]
    assert await rows(engine.database, "SELECT source, operation FROM trust_cohort WHERE open_since IS NOT NULL") == [
        ("lama", "profile_by_handle")
    ]


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
    log = "SELECT source, metrics->'followers' AS followers FROM profile_log WHERE metrics ? 'followers' ORDER BY observed_at, metrics->'followers'"
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


async def test_s8_9_a_held_fall_is_confirmed_by_another_source_within_the_same_request(
    engine: Engine, admin: SimulatorClient
) -> None:
    """3.6 million who become eight: one call more, of the class of the request, and the request ends when it is decided."""
    await refresh(engine)
    before, *_ = await profile(engine)
    calls = await rows(engine.database, "SELECT count(*) AS n FROM trace_log")
    await admin.let_happen("viral", HANDLE, size=0.002)
    request = await refresh(engine)
    true = (await admin.person(HANDLE))["person"]["followers"]
    followers, _, _, _, is_held = await profile(engine)
    assert (followers, is_held) == (true, False)
    assert true < before * 0.1
    decided = await rows(engine.database, "SELECT state, asks, asked, why FROM held_record WHERE kind = 'profiles'")
    ((state, asks, asked, why),) = decided
    assert (state, asks, len(asked), why) == ("accepted", "", 1, f"{asked[0]} says the same")
    sql = """SELECT f.source, f.priority, f.witness_of IS NOT NULL AS asks, f.stage FROM scrape_fetch f LEFT JOIN held_record h ON h.id = f.witness_of
        WHERE f.request_id = %s AND coalesce(h.kind, 'profiles') = 'profiles' ORDER BY f.id"""
    assert await rows(engine.database, sql, (request,)) == [
        ("graphapi", 2, False, "DONE"),
        (asked[0], 2, True, "DONE"),
    ]
    assert await ended(engine, request) == [("COMPLETE", None)]
    assert await rows(engine.database, "SELECT items FROM scrape_request_log WHERE id = %s", (request,)) == [(13,)]
    made = await rows(engine.database, "SELECT count(*) AS n FROM scrape_fetch WHERE request_id = %s", (request,))
    assert await rows(engine.database, "SELECT count(*) AS n FROM trace_log") == [(calls[0][0] + made[0][0],)]


async def test_s8_9_a_fall_that_only_one_source_reports_is_rejected(engine: Engine, admin: SimulatorClient) -> None:
    await refresh(engine)
    good = await profile(engine)
    await admin.add_fault("corrupt", "graphapi", body="zero")
    TALLY.take()
    request = await refresh(engine)
    counted = {one.source: (one.held > 0, one.refuted) for one in TALLY.take()}
    assert counted["graphapi"] == (True, 1)
    assert not any(one for source, one in counted.items() if source != "graphapi" and one != (False, 0))
    assert (await profile(engine))[0] == good[0]
    ((state, asked, why),) = await rows(
        engine.database, "SELECT state, asked, why FROM held_record WHERE kind = 'profiles'"
    )
    assert (state, why) == ("rejected", f"{asked[0]} says what was known")
    assert await ended(engine, request) == [("COMPLETE", None)]


async def test_s8_9_while_no_other_source_answers_the_record_stays_held_and_the_request_ends(
    engine: Engine, admin: SimulatorClient
) -> None:
    await refresh(engine)
    good = await profile(engine)
    await admin.let_happen("viral", HANDLE, size=0.002)
    for source in CHAIN[1:]:
        await admin.add_fault("outage", source)
    request = await refresh(engine)
    assert (await profile(engine))[0] == good[0]
    ((state, hours),) = await rows(
        engine.database,
        "SELECT state, round(extract(epoch FROM next_at - held_at) / 3600) AS hours FROM held_record WHERE kind = 'profiles'",
    )
    assert (state, hours) == ("waiting", 1)
    assert await ended(engine, request) == [("COMPLETE", None)]
