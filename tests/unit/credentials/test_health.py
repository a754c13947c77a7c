"""When a credential is looked at next, and what a check says about an ambiguous answer: over plain values."""

import json
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_actors.broker.breaker import Breaker
from beat_actors.broker.decision import Allocator, apply_settlements
from beat_actors.broker.pool import usable
from beat_actors.broker.state import Credential, Facts, Fetch, Plan, Settlement, Snapshot, Wait
from beat_actors.credentials.health import AGAIN, next_check, next_refresh, verdict_of, verified
from beat_actors.platforms.interface import CHECK, REFRESH, Answer, Health, Limit, Outcome, Verdict
from beat_actors.platforms.registry import platforms

NOW = 1_790_000_000.0
SIX_HOURS = 21_600.0
MISSING = Verdict(Outcome.MISSING, "400/100/33", "it does not exist, or cannot be loaded", ambiguous=True)


def world(credential: Credential, *limits: Limit, **more) -> Snapshot:
    return Snapshot(NOW, {credential.id: credential}, {}, (), {}, {credential.source: limits}, **more)


def settled(snapshot: Snapshot, outcome: Outcome, operation: str = CHECK, **fields) -> Plan:
    plan = Plan()
    apply_settlements(snapshot, [Settlement(1, "first", operation, outcome, **fields)], plan, Random(1))
    return plan


@given(chance=st.floats(0, 1), every=st.floats(60, 2_592_000))
def test_the_next_check_is_after_the_interval_with_a_tenth_of_spread(chance: float, every: float) -> None:
    for outcome in (Outcome.OK, Outcome.CREDENTIAL_DEAD, Outcome.MISSING):
        wait = next_check(outcome, Facts(), NOW, every, chance) - NOW
        assert 0.9 * every - 1e-3 <= wait <= 1.1 * every + 1e-3
    for outcome in (Outcome.UPSTREAM_DOWN, Outcome.RATE_LIMITED, Outcome.MALFORMED):
        assert next_check(outcome, None, NOW, every, chance) - NOW <= 1.1 * min(AGAIN, every) + 1e-3


@pytest.mark.parametrize(
    ("ends_in", "expected"),
    [(30_000.0, 20_000.0), (7_200.0, 3_600.0), (1_800.0, 1_801.0), (-60.0, 21_600.0), (9_000_000.0, 21_600.0)],
)
def test_a_known_end_is_looked_at_an_hour_before_and_right_after(ends_in: float, expected: float) -> None:
    every = 20_000.0 if ends_in == 30_000.0 else SIX_HOURS
    for facts in (Facts(expires_at=NOW + ends_in), Facts(data_access_expires_at=NOW + ends_in)):
        assert next_check(Outcome.OK, facts, NOW, every, 0.5) - NOW == pytest.approx(expected)


@given(seconds=st.floats(1, 10_000_000), chance=st.floats(0, 1))
def test_a_token_is_refreshed_while_a_fifth_of_its_time_is_left(seconds: float, chance: float) -> None:
    assert 0.69 * seconds <= next_refresh(seconds, chance) <= 0.81 * seconds


def test_a_token_that_opens_no_data_any_more_is_dead() -> None:
    ok = Verdict(Outcome.OK)
    before, after = (datetime.fromtimestamp(NOW + seconds, UTC) for seconds in (-1, 1))
    assert verdict_of(Health(ok, data_access_expires_at=after), NOW) == ok
    assert verdict_of(Health(ok, expires_at=before), NOW) == ok  # the provider, who is asked, says that it lives
    assert verdict_of(Health(ok, data_access_expires_at=before), NOW).outcome is Outcome.CREDENTIAL_DEAD
    down = Verdict(Outcome.UPSTREAM_DOWN)
    assert verdict_of(Health(down, data_access_expires_at=before), NOW) == down


@pytest.mark.parametrize(
    ("health", "outcome"),
    [
        (None, Outcome.AMBIGUOUS),
        (Health(Verdict(Outcome.UPSTREAM_DOWN)), Outcome.AMBIGUOUS),
        (Health(Verdict(Outcome.RATE_LIMITED)), Outcome.AMBIGUOUS),
        (Health(Verdict(Outcome.CREDENTIAL_DEAD, "190/463", "expired")), Outcome.CREDENTIAL_DEAD),
        (Health(Verdict(Outcome.OK), frozenset()), Outcome.PERMISSION_MISSING),
        (Health(Verdict(Outcome.OK), frozenset({"write"})), Outcome.PERMISSION_MISSING),
        (Health(Verdict(Outcome.OK), frozenset({"write", "read"})), Outcome.MISSING),
        (Health(Verdict(Outcome.OK), None), Outcome.MISSING),  # what it was granted is not told
    ],
)
def test_a_check_verifies_an_ambiguous_answer(health: Health | None, outcome: Outcome) -> None:
    verdict = verified(MISSING, health, frozenset({"read"}))
    assert (verdict.outcome, verdict.code) == (outcome, MISSING.code)


def test_a_credential_whose_check_goes_well_is_not_dead_for_a_bare_401() -> None:
    bare = Verdict(Outcome.CREDENTIAL_DEAD, "401", ambiguous=True)
    assert verified(bare, Health(Verdict(Outcome.OK)), frozenset()).outcome is Outcome.REFUSED
    gone = Health(Verdict(Outcome.CREDENTIAL_DEAD))
    assert verified(bare, gone, frozenset()).outcome is Outcome.CREDENTIAL_DEAD
    assert verified(bare, None, frozenset()).outcome is Outcome.AMBIGUOUS


@pytest.mark.parametrize(("source", "said"), [("lama", {"detail": "no"}), ("shopify", {"errors": "no"})])
def test_a_bare_401_is_ambiguous_where_a_check_can_tell(source: str, said: dict[str, str]) -> None:
    (found,) = [one.sources[source] for one in platforms().values() if source in one.sources]
    verdict = found.classify(Answer(401, {}, json.dumps(said).encode()))
    assert (verdict.outcome, verdict.ambiguous) == (Outcome.CREDENTIAL_DEAD, True)


def test_an_answer_that_stays_ambiguous_charges_the_call_and_sends_the_fetch_away_for_a_while() -> None:
    credential = Credential(1, "first")
    snapshot = world(credential, Limit("hour", 10, 3600))
    fetch = Fetch(7, ("first",), "first")
    (move,) = settled(snapshot, Outcome.AMBIGUOUS, "look", fetch=fetch).moves
    assert isinstance(move, Wait)
    assert 60 <= move.delay <= 72
    assert (move.rotations, move.excluded) == (1, ())
    assert not credential.changed
    assert snapshot.window("credential:1", Limit("hour", 10, 3600)).left() == 9


def test_p4_a_call_for_a_credentials_own_sake_needs_room_as_any_other() -> None:
    credential, limit = Credential(1, "first"), Limit("hour", 2, 3600)
    snapshot = world(credential, limit, room={("first", CHECK): 5})
    allocator = Allocator(snapshot, Random(0))
    assert [allocator.reserve(credential, CHECK) for _ in range(3)] == [False, False, None]
    assert snapshot.room["first", CHECK] == 3
    crowded = world(Credential(1, "first"), limit, room={("first", CHECK): 1})
    allocator = Allocator(crowded, Random(0))
    assert [allocator.reserve(crowded.credentials[1], CHECK) for _ in range(2)] == [False, None]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"enabled": False}, None),
        ({"probing": True}, None),
        ({"disabled_till": NOW + 1}, None),
        ({"disabled_till": NOW - 1}, True),
        ({"reported_remaining": 0, "reported_reset_at": NOW + 60}, None),
        ({"denied": frozenset({"look"})}, False),
        ({"refreshes": True}, False),
    ],
)
def test_when_a_credential_may_be_looked_after(fields: dict, expected: bool | None) -> None:
    credential = Credential(1, "first", **fields)
    assert Allocator(world(credential), Random(0)).reserve(credential, REFRESH) is expected
    assert credential.probing is (expected is True or fields.get("probing", False))


def test_an_open_breaker_of_the_checks_stops_them_and_nothing_else() -> None:
    credential = Credential(1, "first")
    snapshot = world(credential)
    for _ in range(5):
        settled(snapshot, Outcome.MALFORMED)
    assert snapshot.breakers["first", CHECK, "upstream", ""].is_open(NOW)
    allocator = Allocator(snapshot, Random(0))
    assert allocator.reserve(credential, CHECK) is None
    assert allocator.reserve(credential, REFRESH) is False
    assert usable(credential, "look", NOW)
    snapshot.breakers["first", CHECK, "upstream", ""] = Breaker(trips=1, open_until=NOW - 1)
    allocator = Allocator(snapshot, Random(0))
    assert [allocator.reserve(credential, CHECK) for _ in range(2)] == [True, None]
    assert list(allocator.probed) == [("first", CHECK, "upstream", "")]


def test_a_token_that_is_over_makes_its_credential_wait_for_the_refresh() -> None:
    assert usable(Credential(1, "first", refreshes=True, good_until=NOW + 1), "look", NOW)
    assert not usable(Credential(1, "first", refreshes=True, good_until=NOW), "look", NOW)
    assert not usable(Credential(1, "first", refreshes=True), "look", NOW)
    assert usable(Credential(1, "first", good_until=NOW - 1), "look", NOW)


@pytest.mark.parametrize(
    ("fields", "operation", "dead", "refused"),
    [
        ({}, "look", True, False),
        ({"refreshes": True, "good_until": NOW + 60}, "look", False, True),
        ({"refreshes": True, "good_until": NOW + 60, "refreshed_at": NOW - 1000}, CHECK, False, True),
        ({"refreshes": True, "good_until": NOW - 60}, "look", False, False),  # it is being refreshed
        ({"refreshes": True, "good_until": NOW + 60, "refreshed_at": NOW - 10}, "look", True, False),
        ({"refreshes": True, "good_until": NOW + 60}, REFRESH, True, False),
    ],
)
def test_a_refused_secret_is_refreshed_where_it_can_be(fields: dict, operation: str, dead: bool, refused: bool) -> None:
    credential = Credential(1, "first", **fields)
    settled(world(credential), Outcome.CREDENTIAL_DEAD, operation)
    assert (credential.dead, credential.refused) == (dead, refused)


def test_only_what_was_given_a_new_secret_is_brought_back_to_life_by_a_check() -> None:
    credential = Credential(1, "first", dead=True)
    settled(world(credential), Outcome.OK)
    assert credential.dead
    credential = Credential(1, "first", dead=True, unproven=True, generation=3)
    settled(world(credential), Outcome.OK, generation=2)
    assert credential.dead
    (event,) = settled(world(credential), Outcome.OK, generation=3).events
    assert (credential.dead, event.kind) == (False, "revived")


def test_where_there_is_a_check_a_refresh_alone_proves_nothing() -> None:
    credential = Credential(1, "first", dead=True, unproven=True)
    settled(world(credential, checks=frozenset({"first"})), Outcome.OK, REFRESH)
    assert credential.dead
    settled(world(credential), Outcome.OK, REFRESH)
    assert not credential.dead


@pytest.mark.parametrize("operation", [CHECK, REFRESH])
def test_what_upkeep_may_not_do_is_not_denied_to_the_credential(operation: str) -> None:
    credential = Credential(1, "first")
    settled(world(credential), Outcome.PERMISSION_MISSING, operation)
    assert credential.denied == frozenset()


def test_a_check_that_found_nothing_out_leaves_what_is_known() -> None:
    facts = Facts(scopes=("read",), expires_at=NOW + 60)
    (ok,) = settled(world(Credential(1, "first")), Outcome.OK, facts=facts).checked
    assert (ok.outcome, ok.detail, ok.facts) == ("ok", "", facts)
    (down,) = settled(world(Credential(1, "first")), Outcome.UPSTREAM_DOWN, detail="HTTP 503", facts=Facts()).checked
    assert (down.outcome, down.detail, down.facts) == ("upstream_down", "HTTP 503", None)
    for outcome in (Outcome.UNKNOWN, Outcome.UNUSED):
        assert settled(world(Credential(1, "first")), outcome).checked == []
