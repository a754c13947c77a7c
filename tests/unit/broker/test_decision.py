"""The broker's decision, over plain values."""

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_actors.broker import pool
from beat_actors.broker.breaker import Breaker
from beat_actors.broker.decision import Allocator, apply_settlements, decide
from beat_actors.broker.moves import next_move
from beat_actors.broker.state import (
    Budgets,
    Candidate,
    Credential,
    Denial,
    Fail,
    Fetch,
    Lane,
    Plan,
    Settlement,
    Snapshot,
    Wait,
    reasons_json,
)
from beat_actors.broker.windows import AHEAD, calendar_day
from beat_actors.credentials.health import LOOKS
from beat_actors.observe.waits import word
from beat_actors.platforms.interface import Limit, Outcome

NOW = 1_790_000_000.0
CHAIN = ("first", "second", "third")


def world(credentials, *, lanes=None, limits=None, breakers=None):
    return Snapshot(
        NOW,
        {c.id: c for c in credentials},
        dict(breakers or {}),
        lanes or [Lane(1, "profile", 2, CHAIN)],
        {},
        limits or {},
        Budgets(),
    )


def run(snapshot, candidates, *, capacity=10_000, seed=7):
    plan, rng = Plan(), Random(seed)
    decide(snapshot, candidates, capacity, plan, Allocator(snapshot, rng))
    return plan


def waiting(count, lane=1, start=1, tenant=""):
    return [Candidate(start + i, lane, tenant) for i in range(count)]


def test_s1_12_with_all_healthy_the_first_hop_gets_everything():
    plan = run(world([Credential(1, "first"), Credential(2, "second")]), waiting(500))
    assert {lease.source for lease in plan.leases} == {"first"}
    assert len(plan.leases) == 500


def test_s8_4_a_source_whose_answers_are_wrong_gets_one_call_in_fifty():
    wrong = {("first", "profile", "data", ""): Breaker(since=NOW - 60, open_until=NOW + 30)}
    plan = run(world([Credential(1, "first"), Credential(2, "second")], breakers=wrong), waiting(5_000))
    calls = Counter(lease.source for lease in plan.leases)
    assert calls.total() == 5_000
    assert 60 <= calls["first"] <= 150


def test_s8_4_where_there_is_no_other_source_the_work_waits_and_the_reason_is_given():
    wrong = {("first", "profile", "data", ""): Breaker(since=NOW - 60, open_until=NOW + 30)}
    lanes = [Lane(1, "profile", 2, ("first",))]
    plan = run(world([Credential(1, "first")], lanes=lanes, breakers=wrong), waiting(5_000))
    assert len(plan.leases) < 30
    (blocked,) = plan.blocked
    assert (blocked.until, blocked.reasons[0].why) == (NOW + 30, "its answers are wrong: its data breaker is open")


def test_s8_4_a_source_that_a_person_does_not_trust_gets_no_call():
    """The rules find nothing wrong with its answers: what a sample brings would be written."""
    wrong = {("first", "profile", "data", ""): Breaker(since=NOW - 60, open_until=NOW + 30, by_hand=True)}
    plan = run(world([Credential(1, "first"), Credential(2, "second")], breakers=wrong), waiting(5_000))
    assert Counter(lease.source for lease in plan.leases) == {"second": 5_000}
    lanes = [Lane(1, "profile", 2, ("first",))]
    plan = run(world([Credential(1, "first")], lanes=lanes, breakers=wrong), waiting(500))
    assert plan.leases == []
    (blocked,) = plan.blocked
    why = "its answers are wrong: an operator opened its data breaker"
    assert (blocked.until, blocked.reasons[0].why, word(why)) == (NOW + 30, why, "data_breaker")


def test_a_fetch_that_asks_about_a_held_record_asks_its_source_once():
    fetch = Fetch(9, ("first",), "first", cursor_source="first", is_witness=True)
    down = Settlement(1, "first", "profile", Outcome.UPSTREAM_DOWN, fetch=fetch)
    move = next_move(world([Credential(1, "first")]), down, fetch, Random(1))
    assert isinstance(move, Fail)
    assert move.code == "no_witness"


def test_s3_10_picks_follow_the_weights():
    """Chi-square over 10,000 picks, three degrees of freedom: 16.27 is passed by chance once in a thousand seeds."""
    weights = {1: 1, 2: 2, 3: 3, 4: 4}
    plan = run(world([Credential(i, "first", weight=w) for i, w in weights.items()]), waiting(10_000))
    picks = Counter(lease.credential_id for lease in plan.leases)
    expected = {i: 10_000 * w / 10 for i, w in weights.items()}
    assert sum((picks[i] - e) ** 2 / e for i, e in expected.items()) < 16.27


def test_s3_10_disabled_ones_are_out_and_the_rest_share_by_weight():
    members = [
        Credential(1, "first", weight=5, enabled=False),
        Credential(2, "first", weight=1),
        Credential(3, "first"),
    ]
    picks = Counter(lease.credential_id for lease in run(world(members), waiting(2_000)).leases)
    assert set(picks) == {2, 3}
    assert abs(picks[2] - 1000) < 150


@pytest.mark.parametrize(
    "credential",
    [
        Credential(1, "first", enabled=False),
        Credential(1, "first", dead=True),
        Credential(1, "first", disabled_till=NOW + 1),
        Credential(1, "first", denied=frozenset({"profile"}), denials={"profile": Denial(at=NOW + 1)}),
        Credential(1, "first", probing=True),
        Credential(1, "first", reported_remaining=0, reported_reset_at=NOW + 60),
    ],
)
def test_a_credential_that_is_out_is_never_leased_and_the_reason_is_given(credential):
    plan = run(world([credential], lanes=[Lane(1, "profile", 2, ("first",))]), waiting(3))
    assert plan.leases == []
    (blocked,) = plan.blocked
    assert blocked.reasons[0].credential_id == 1
    assert blocked.reasons[0].why


def test_s1_8_an_excluded_source_is_never_leased():
    snapshot = world(
        [Credential(1, "first"), Credential(2, "third")], lanes=[Lane(1, "profile", 2, ("second", "third"))]
    )
    assert {lease.source for lease in run(snapshot, waiting(50)).leases} == {"third"}


def test_s9_2_limits_are_taken_all_or_nothing():
    limits = {"first": (Limit("minute", 10, 60), Limit("day", 4, 86_400))}
    snapshot = world([Credential(1, "first")], limits=limits, lanes=[Lane(1, "profile", 2, ("first",))])
    plan = run(snapshot, waiting(10))
    assert len(plan.leases) == 4
    assert {window.limit.name: window.left() for window in snapshot.windows.values()} == {"minute": 6, "day": 0}
    assert "limit day" in plan.blocked[0].reasons[0].why


def test_a_limit_of_the_source_is_shared_by_its_credentials():
    limits = {"first": (Limit("hour", 7, 3600, scope="source"),)}
    members = [Credential(i, "first") for i in range(1, 6)]
    plan = run(world(members, limits=limits, lanes=[Lane(1, "profile", 2, ("first",))]), waiting(20))
    assert len(plan.leases) == 7


def test_a_full_source_spills_over_to_the_next():
    limits = {"first": (Limit("hour", 3, 3600),)}
    plan = run(world([Credential(1, "first"), Credential(2, "second")], limits=limits), waiting(10))
    assert Counter(lease.source for lease in plan.leases) == {"first": 3, "second": 7}


def test_s1_11_after_a_cooldown_one_probe_goes_first():
    cooled = Credential(1, "first", disabled_till=NOW - 1, ladder=1, ladder_at=NOW - 1)
    snapshot = world([cooled], lanes=[Lane(1, "profile", 2, ("first",))])
    plan = run(snapshot, waiting(5))
    assert [lease.probe for lease in plan.leases] == [True]
    apply_settlements(snapshot, [Settlement(1, "first", "profile", Outcome.OK, probe=True)], plan, Random(1))
    assert cooled.disabled_till is None
    again = run(snapshot, waiting(5))
    assert [lease.probe for lease in again.leases] == [False] * 5


def test_an_open_breaker_sends_everything_to_the_next_source_and_then_one_probe():
    breakers = {("first", "profile", "upstream", ""): Breaker(trips=1, open_until=NOW + 30)}
    members = [Credential(1, "first"), Credential(2, "second")]
    assert {lease.source for lease in run(world(members, breakers=breakers), waiting(9)).leases} == {"second"}
    half = world(members, breakers={("first", "profile", "upstream", ""): Breaker(trips=1, open_until=NOW)})
    plan = run(half, waiting(9))
    assert [lease.source for lease in plan.leases if lease.probe] == ["first"]
    assert Counter(lease.source for lease in plan.leases) == {"first": 1, "second": 8}


def test_s3_1_when_nothing_leases_the_lane_waits_for_the_first_blocker_to_clear():
    members = [Credential(1, "first", disabled_till=NOW + 600), Credential(2, "second", disabled_till=NOW + 60)]
    plan = run(world(members), waiting(4))
    (blocked,) = plan.blocked
    assert blocked.until == NOW + 60
    assert {reason.source for reason in blocked.reasons} == set(CHAIN)


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 5))
def test_the_same_inputs_give_the_same_plan(seed, count, members):
    limits = {"first": (Limit("hour", 5, 3600),), "second": (Limit("second", 2, 1),)}
    snapshot = world([Credential(i, CHAIN[i % 3], weight=i) for i in range(1, members + 1)], limits=limits)
    twin = deepcopy(snapshot)
    one, two = run(snapshot, waiting(count), seed=seed), run(twin, waiting(count), seed=seed)
    assert (one.leases, one.blocked) == (two.leases, two.blocked)


@given(
    st.lists(st.tuples(st.sampled_from(CHAIN), st.booleans(), st.integers(-100, 100)), min_size=1, max_size=8),
    st.integers(1, 12),
    st.integers(0, 2**32),
)
def test_whatever_the_world_no_limit_is_passed_and_no_cooldown_is_broken(members, calls, seed):
    credentials = [
        Credential(i, source, enabled=enabled, disabled_till=NOW + seconds if seconds else None)
        for i, (source, enabled, seconds) in enumerate(members, 1)
    ]
    limits = {source: (Limit("minute", calls, 60),) for source in CHAIN}
    before = deepcopy(credentials)
    plan = run(world(credentials, limits=limits), waiting(60), seed=seed)
    for credential in before:
        leases = [lease for lease in plan.leases if lease.credential_id == credential.id]
        cools_down = credential.disabled_till is not None and credential.disabled_till > NOW
        assert not leases or (credential.enabled and not cools_down)
        assert len(leases) <= (1 if credential.disabled_till is not None else calls)
    assert len({lease.fetch_id for lease in plan.leases}) == len(plan.leases)


def settle_one(outcome, fetch, *, credential=None, budgets=None, **fields):
    snapshot = world([credential or Credential(1, fetch.source)])
    snapshot.budgets = budgets or Budgets()
    plan = Plan()
    settlement = Settlement(1, fetch.source, "profile", outcome, fetch=fetch, **fields)
    apply_settlements(snapshot, [settlement], plan, Random(3))
    (move,) = plan.moves
    return snapshot, plan, move


@pytest.mark.parametrize("outcome", [Outcome.UPSTREAM_DOWN, Outcome.MALFORMED])
def test_s6_3_an_outage_or_an_unreadable_answer_goes_to_the_next_source(outcome):
    _, _, move = settle_one(outcome, Fetch(9, CHAIN, "first"))
    assert isinstance(move, Wait)
    assert "first" in (*move.excluded, *move.unreadable)
    assert (move.rotations, move.retries) == (1, 0)


@pytest.mark.parametrize("outcome", [Outcome.MISSING, Outcome.PRIVATE, Outcome.BAD_REQUEST])
def test_a_final_answer_pays_no_other_source_to_say_it_again(outcome):
    snapshot, _, move = settle_one(outcome, Fetch(9, CHAIN, "first"))
    assert isinstance(move, Fail)
    assert move.code == outcome.value
    assert snapshot.credentials[1].disabled_till is None


@pytest.mark.parametrize("outcome", [Outcome.RATE_LIMITED, Outcome.QUOTA_EXHAUSTED])
def test_a_refused_credential_cools_down_and_the_fetch_may_stay_at_the_source(outcome):
    snapshot, plan, move = settle_one(outcome, Fetch(9, CHAIN, "first"), retry_after=900.0)
    assert isinstance(move, Wait)
    assert move.excluded == ()
    assert (snapshot.credentials[1].disabled_till or 0) >= NOW + 900
    assert plan.events[0].kind == outcome.value


PACIFIC = "America/Los_Angeles"
OWN_QUOTA = {
    "first": (
        Limit("units", 100, 86_400, operations=frozenset({"profile"}), calendar=PACIFIC),
        Limit("searches", 10, 86_400, operations=frozenset({"search"}), calendar=PACIFIC),
    )
}


def spent(operation, *, limits=OWN_QUOTA, at=NOW, now=NOW, times=1):
    snapshot, plan = world([Credential(1, "first")], limits=limits), Plan()
    snapshot.now = now
    apply_settlements(
        snapshot, [Settlement(1, "first", operation, Outcome.QUOTA_EXHAUSTED, at=at)] * times, plan, Random(1)
    )
    return snapshot, plan


def test_s9_8_a_spent_quota_of_some_operations_leaves_the_credential_to_the_others_until_midnight():
    snapshot, plan = spent("search", times=3)
    midnight = calendar_day(PACIFIC, NOW)[1]
    assert snapshot.credentials[1].disabled_till is None
    assert [(event.kind, event.until, event.cause["limit"]) for event in plan.events] == [
        ("quota_exhausted", midnight, "searches")
    ]
    snapshot.lanes = [Lane(1, "profile", 2, ("first",)), Lane(2, "search", 2, ("first",))]
    plan = run(snapshot, waiting(1, lane=1) + waiting(1, lane=2, start=50))
    assert [lease.fetch_id for lease in plan.leases] == [1]
    assert (plan.blocked[0].until, plan.blocked[0].reasons[0].why) == (midnight, "limit searches is used up")


def test_s9_8_a_spent_quota_of_the_whole_credential_cools_it_down_until_midnight():
    whole = {"first": (Limit("units", 100, 86_400, calendar=PACIFIC),)}
    snapshot, _ = spent("profile", limits=whole)
    midnight = calendar_day(PACIFIC, NOW)[1]
    assert midnight <= snapshot.credentials[1].disabled_till <= midnight + 60


@pytest.mark.parametrize(("sent", "settled"), [(-2.0, 3.0), (5.0, 6.0), (500.0, 550.0), (-2.0, 900.0)])
@pytest.mark.parametrize("limits", [OWN_QUOTA, {"first": (Limit("units", 100, 86_400, calendar=PACIFIC),)}])
def test_what_is_refused_about_midnight_does_not_cost_the_new_day(limits, sent, settled):
    start, _ = calendar_day(PACIFIC, NOW)
    snapshot, _ = spent("profile", limits=limits, at=start + sent, now=start + settled)
    until = snapshot.credentials[1].disabled_till
    assert start + max(600.0, settled) <= until <= start + max(600.0, settled) + 130
    assert snapshot.windows["credential:1", "units"].left() >= 99


def test_s6_6_a_hundred_unreadable_answers_never_touch_the_credential():
    snapshot = world([Credential(1, "first")])
    plan = Plan()
    unreadable = Settlement(1, "first", "profile", Outcome.MALFORMED)
    apply_settlements(snapshot, [unreadable] * 100, plan, Random(1))
    credential = snapshot.credentials[1]
    assert (credential.enabled, credential.dead, credential.disabled_till, credential.ladder) == (True, False, None, 0)
    assert snapshot.breakers["first", "profile", "parser", ""].is_open(NOW)


def test_a_dead_credential_is_out_at_once_and_said_once():
    snapshot, plan, _ = settle_one(Outcome.CREDENTIAL_DEAD, Fetch(9, CHAIN, "first"), detail="password changed")
    assert snapshot.credentials[1].dead
    apply_settlements(snapshot, [Settlement(1, "first", "profile", Outcome.CREDENTIAL_DEAD)], plan, Random(1))
    assert [event.kind for event in plan.events] == ["dead"]


def test_a_missing_permission_is_about_one_operation():
    snapshot, _, _ = settle_one(Outcome.PERMISSION_MISSING, Fetch(9, CHAIN, "first"))
    assert snapshot.credentials[1].denied == {"profile"}
    snapshot.lanes = [Lane(1, "profile", 2, ("first",)), Lane(2, "posts", 2, ("first",))]
    plan = run(snapshot, waiting(1, lane=1) + waiting(1, lane=2, start=50))
    assert [lease.fetch_id for lease in plan.leases] == [50]


@pytest.mark.parametrize("denials", [{}, {"profile": Denial(3, NOW, "no")}])
def test_what_a_credential_may_not_do_is_tried_again_by_one_call(denials):
    snapshot = world([Credential(1, "first", denied=frozenset({"profile"}), denials=denials)])
    plan = run(snapshot, waiting(5))
    assert [(lease.fetch_id, lease.probe) for lease in plan.leases] == [(1, True)]
    (blocked,) = plan.blocked
    assert blocked.until == snapshot.credentials[1].denials["profile"].at > NOW
    assert "denies profile to it" in blocked.reasons[0].why


def test_a_refusal_that_stands_is_looked_at_less_and_less_often_and_costs_the_fetch_nothing():
    credential, waits = Credential(1, "first"), []
    settle_one(Outcome.PERMISSION_MISSING, Fetch(9, CHAIN, "first"), credential=credential)
    for looks in range(7):
        assert credential.denials["profile"].looks == looks
        waits.append(credential.denials["profile"].at - NOW)
        fetch = Fetch(9, CHAIN, "first", rotations=4)
        _, plan, move = settle_one(Outcome.PERMISSION_MISSING, fetch, credential=credential, probe=True)
        assert (move.rotations, plan.events) == (4, [])
    assert waits == sorted(waits)
    assert LOOKS[0] <= waits[0] < 1.2 * LOOKS[0]
    assert LOOKS[-1] <= waits[-1]
    settle_one(Outcome.PERMISSION_MISSING, Fetch(9, CHAIN, "first"), credential=credential)
    assert credential.denials["profile"].looks == 7  # it was out together with the first that was refused


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.MISSING, Outcome.PRIVATE, Outcome.UNSEEN])
def test_what_the_provider_lets_it_do_again_is_open(outcome):
    denied = {"denied": frozenset({"profile", "posts"}), "denials": {"profile": Denial(2), "posts": Denial(1)}}
    snapshot = world([Credential(1, "first", **denied), Credential(2, "second")])
    plan = Plan()
    apply_settlements(snapshot, [Settlement(1, "first", "profile", outcome)], plan, Random(3))
    assert snapshot.credentials[1].denied == {"profile", "posts"}  # a call that had begun before says nothing
    apply_settlements(snapshot, [Settlement(1, "first", "profile", outcome, probe=True)], plan, Random(3))
    assert (snapshot.credentials[1].denied, snapshot.credentials[1].denials) == ({"posts"}, {"posts": Denial(1)})
    assert [event.kind for event in plan.events] == ["allowed"]


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.UPSTREAM_DOWN, Outcome.UNKNOWN, Outcome.RATE_LIMITED])
def test_what_does_not_show_whether_it_may_leaves_it_denied(outcome):
    denied = {"denied": frozenset({"profile"}), "denials": {"profile": Denial(2, NOW + 9)}}
    snapshot, _, _ = settle_one(
        outcome, Fetch(9, CHAIN, "first"), credential=Credential(1, "first", **denied), probe=True
    )
    assert snapshot.credentials[1].denials == {"profile": Denial(2, NOW + 9)}


def test_rotations_and_retries_are_counted_apart_and_both_end():
    fetch, rounds = Fetch(9, ("only",), "only"), 0
    while True:
        _, _, move = settle_one(Outcome.UPSTREAM_DOWN, fetch)
        if isinstance(move, Fail):
            break
        assert move.delay > 0
        rounds += 1
        fetch = Fetch(9, ("only",), "only", rotations=move.rotations, retries=move.retries)
    assert rounds == 3
    assert move.code == "exhausted"
    _, _, move = settle_one(Outcome.RATE_LIMITED, Fetch(9, CHAIN, "first", rotations=10))
    assert isinstance(move, Fail)


def test_s6_2_when_no_source_can_be_read_the_fetch_fails_and_says_so():
    _, _, move = settle_one(Outcome.MALFORMED, Fetch(9, CHAIN, "third", unreadable=("first", "second")))
    assert isinstance(move, Fail)
    assert move.code == "malformed"


def unseen(fetch, *credentials, **settlement):
    plan = Plan()
    said = Settlement(1, fetch.source, "profile", Outcome.UNSEEN, code="404", at=NOW, fetch=fetch, **settlement)
    apply_settlements(world([Credential(1, fetch.source), *credentials]), [said], plan, Random(1))
    (move,) = plan.moves
    return move


def test_what_one_source_does_not_see_is_missing_once_the_others_have_been_asked():
    second, third = Credential(2, "second"), Credential(3, "third")
    for probe in (False, True):
        move = unseen(Fetch(9, CHAIN, "first"), second, third, probe=probe)
        assert isinstance(move, Wait)
        assert (move.unreadable, move.excluded, move.delay, move.drop_cursor) == (("first",), (), 0.0, False)
    # Another that is down is asked when it is back.
    move = unseen(Fetch(9, CHAIN, "third", excluded=("second",), unreadable=("first",)), second, Credential(3, "first"))
    assert isinstance(move, Wait)
    assert (move.unreadable, move.excluded) == (("first", "third"), ())
    move = unseen(Fetch(9, CHAIN, "third", unreadable=("first", "second")), second)
    assert isinstance(move, Fail)
    assert move.code == "missing"


def test_an_answer_about_somebody_else_is_no_evidence_that_a_thing_is_missing():
    _, _, move = settle_one(Outcome.MALFORMED, Fetch(9, CHAIN, "second", unreadable=("first",)))
    assert isinstance(move, Wait)
    last = unseen(Fetch(9, CHAIN, "third", excluded=move.excluded, unreadable=move.unreadable))
    assert isinstance(last, Fail)
    assert last.code == "malformed"


def test_a_refusal_is_no_evidence_that_a_thing_is_missing():
    _, _, move = settle_one(Outcome.REFUSED, Fetch(9, CHAIN, "first"))
    last = unseen(Fetch(9, CHAIN, "third", excluded=move.excluded, unreadable=(*move.unreadable, "second")))
    assert isinstance(last, Fail)
    assert (last.code, "says whether it exists" in last.message) == ("malformed", True)


@pytest.mark.parametrize("probe", [True, False])
def test_a_source_that_asks_for_less_is_asked_again_and_has_not_failed(probe):
    snapshot, plan, move = settle_one(Outcome.TOO_MUCH, Fetch(9, CHAIN, "first"), probe=probe)
    assert isinstance(move, Wait)
    assert (move.excluded, move.unreadable, move.rotations, move.delay, move.why) == ((), (), 1, 0.0, "too_much")
    assert not any(breaker.failures for breaker in snapshot.breakers.values())
    del plan


def test_what_a_source_refuses_for_an_unknown_reason_is_asked_of_the_next():
    _, _, move = settle_one(Outcome.REFUSED, Fetch(9, CHAIN, "first"))
    assert isinstance(move, Wait)
    assert (move.unreadable, move.excluded, move.delay) == (("first",), ("first",), 0.0)
    _, _, move = settle_one(Outcome.REFUSED, Fetch(9, CHAIN, "third", unreadable=("first", "second")))
    assert isinstance(move, Wait)  # the reason may pass: once more, after a pause
    assert (move.unreadable, move.excluded, move.retries) == ((), (), 1)
    assert move.delay > 0
    _, _, move = settle_one(Outcome.REFUSED, Fetch(9, CHAIN, "third", unreadable=("first", "second"), retries=1))
    assert isinstance(move, Fail)
    assert move.code == "refused"


@pytest.mark.parametrize(
    "others",
    [
        (),
        (Credential(2, "second", enabled=False), Credential(3, "third", dead=True)),
        (Credential(2, "second", denied=frozenset({"profile"})), Credential(4, "elsewhere")),
    ],
)
def test_where_nobody_else_can_be_asked_what_is_not_seen_is_missing(others):
    move = unseen(Fetch(9, CHAIN, "first"), *others)
    assert isinstance(move, Fail)
    assert move.code == "missing"
    assert isinstance(unseen(Fetch(9, ("first",), "first", cursor_source="first"), Credential(2, "second")), Fail)


def test_a_lost_cursor_starts_the_listing_anew_elsewhere():
    fetch = Fetch(9, ("first",), "first", cursor_source="first", retries=3)
    _, _, move = settle_one(Outcome.UPSTREAM_DOWN, fetch)
    assert isinstance(move, Wait)
    assert move.drop_cursor
    assert move.excluded == ("first",)


def test_s1_6_a_listing_does_not_wait_for_the_end_of_an_outage():
    """The breaker has opened meanwhile: the cursor's source would not be asked again for long."""
    breaker = {("first", "profile", "upstream", ""): Breaker(trips=1, open_until=NOW + 30)}
    for retries in (0, 3):
        fetch = Fetch(9, ("first",), "first", cursor_source="first", retries=retries)
        plan = Plan()
        snapshot = world([Credential(1, "first")], breakers=dict(breaker))
        settlement = Settlement(1, "first", "profile", Outcome.UPSTREAM_DOWN, at=NOW, fetch=fetch)
        apply_settlements(snapshot, [settlement], plan, Random(1))
        (move,) = plan.moves
        assert isinstance(move, Wait)
        assert (move.drop_cursor, move.excluded) == (True, ("first",))
    fetch = Fetch(9, ("first",), "first", cursor_source="first", alone=True)
    plan = Plan()
    apply_settlements(snapshot, [replace(settlement, fetch=fetch)], plan, Random(1))
    (move,) = plan.moves
    assert isinstance(move, Wait)
    assert not move.drop_cursor


@pytest.mark.parametrize(("outcome", "left"), [(Outcome.UNUSED, 3), (Outcome.OK, 2), (Outcome.UNKNOWN, 2)])
def test_a_call_is_charged_when_it_is_settled_unless_it_was_never_made(outcome, left):
    limit = Limit("minute", 3, 60)
    snapshot = world([Credential(1, "first")], limits={"first": (limit,)})
    plan = Plan()
    apply_settlements(
        snapshot, [Settlement(1, "first", "profile", outcome, at=NOW, fetch=Fetch(9, CHAIN, "first"))], plan, Random(1)
    )
    assert snapshot.window("credential:1", limit).left() == left
    if outcome is Outcome.UNUSED:
        (move,) = plan.moves
        assert isinstance(move, Wait)
        assert (move.rotations, move.retries) == (0, 0)
        assert snapshot.breakers == {}


def test_a_failed_probe_of_a_breaker_is_charged_and_another_fetch_carries_the_next():
    snapshot = world([Credential(1, "first")])
    snapshot.breakers["first", "profile", "upstream", ""] = Breaker(trips=1, open_until=NOW, probing=True)
    plan = Plan()
    probe = Settlement(1, "first", "profile", Outcome.UPSTREAM_DOWN, probe=True, fetch=Fetch(9, ("first",), "first"))
    apply_settlements(snapshot, [probe], plan, Random(1))
    (move,) = plan.moves
    assert isinstance(move, Wait)
    assert (move.rotations, move.retries, move.excluded) == (1, 0, ())
    breaker = snapshot.breakers["first", "profile", "upstream", ""]
    assert breaker.is_open(NOW)
    assert not breaker.probing
    assert NOW + move.delay > (breaker.open_until or 0)


def test_a_poisoned_fetch_ends_after_the_probes_that_it_may_carry():
    snapshot = world([Credential(1, "first")])
    snapshot.breakers["first", "profile", "upstream", ""] = Breaker(trips=1, open_until=NOW, probing=True)
    plan = Plan()
    spent = Fetch(9, ("first",), "first", rotations=snapshot.budgets.rotations)
    probe = Settlement(1, "first", "profile", Outcome.UPSTREAM_DOWN, probe=True, fetch=spent)
    apply_settlements(snapshot, [probe], plan, Random(1))
    assert [type(move) for move in plan.moves] == [Fail]


def test_a_credentials_failed_probe_is_not_charged_to_the_fetch_that_carried_it():
    snapshot = world([Credential(1, "first", disabled_till=NOW - 1, probing=True)])
    plan = Plan()
    probe = Settlement(1, "first", "profile", Outcome.RATE_LIMITED, probe=True, fetch=Fetch(9, ("first",), "first"))
    apply_settlements(snapshot, [probe], plan, Random(1))
    (move,) = plan.moves
    assert isinstance(move, Wait)
    assert (move.rotations, move.retries) == (0, 0)


def owned(owner: str, outcome: Outcome, calls: int = 1, **fields) -> Settlement:
    return Settlement(1, "first", "profile", outcome, calls=calls, owner=owner, **fields)


def test_one_owners_failures_open_its_own_breaker_alone():
    snapshot = world([Credential(1, "first", owner="a"), Credential(2, "first", owner="b")])
    apply_settlements(
        snapshot, [owned("a", Outcome.UPSTREAM_DOWN, 40), owned("a", Outcome.MALFORMED, 40)], Plan(), Random(1)
    )
    opened = {key for key, breaker in snapshot.breakers.items() if breaker.is_open(NOW)}
    assert opened == {("first", "profile", "upstream", "a"), ("first", "profile", "parser", "a")}
    allocator = Allocator(snapshot, Random(1))
    assert not allocator.has_room(Lane(1, "profile", 1, ("first",), "a"))
    assert allocator.has_room(Lane(2, "profile", 1, ("first",), "b"))


def test_several_owners_whose_calls_fail_are_an_outage_of_everybody_until_one_is_answered():
    snapshot = world([Credential(n, "first", owner=owner) for n, owner in enumerate("abcd", 1)])
    apply_settlements(snapshot, [owned(owner, Outcome.UPSTREAM_DOWN, 5) for owner in "abc"], Plan(), Random(1))
    everybody = "first", "profile", "upstream", ""
    assert snapshot.breakers[everybody].is_open(NOW)
    assert not Allocator(snapshot, Random(1)).has_room(Lane(4, "profile", 1, ("first",), "d"))
    snapshot.now = NOW + 31
    assert Allocator(snapshot, Random(1)).has_room(Lane(4, "profile", 1, ("first",), "d"))
    apply_settlements(snapshot, [owned("d", Outcome.OK, began=NOW + 31)], Plan(), Random(1))
    assert snapshot.breakers[everybody].open_until is None
    assert snapshot.breakers["first", "profile", "upstream", "a"].open_until is not None


def test_owners_that_fail_among_many_that_are_answered_are_no_outage():
    snapshot = world([Credential(n, "first", owner=owner) for n, owner in enumerate("abcd", 1)])
    returned = [owned(owner, Outcome.UPSTREAM_DOWN, 5) for owner in "abc"] + [owned("d", Outcome.OK, 60)]
    apply_settlements(snapshot, returned[::-1], Plan(), Random(1))
    assert not snapshot.breakers.get(("first", "profile", "upstream", ""), Breaker()).is_open(NOW)


def test_an_owner_looks_at_its_own_credentials_and_not_at_all_of_them(monkeypatch):
    """A thousand owners with a credential and a lane each: the work grows with the owners, not with their square."""
    looked = Counter()
    usable = pool.usable
    monkeypatch.setattr(pool, "usable", lambda one, *rest: looked.update([one.id]) or usable(one, *rest))
    owners = range(1, 1001)
    snapshot = world(
        [Credential(n, "first", owner=f"shop-{n}", shared=False) for n in owners],
        lanes=[Lane(n, "orders", 2, ("first",), owner=f"shop-{n}") for n in owners],
    )
    plan = run(snapshot, [Candidate(n, n, "") for n in owners])
    assert {(lease.fetch_id, lease.credential_id) for lease in plan.leases} == {(n, n) for n in owners}
    assert looked.total() == len(owners)


def test_an_owners_credential_serves_calls_without_an_owner_only_where_it_is_shared():
    lane = [Lane(1, "profile", 2, ("first",))]
    own = Credential(1, "first", owner="shop", shared=False)
    (blocked,) = run(world([own], lanes=lane), waiting(1)).blocked
    assert blocked.reasons[0].why == "it has no credential that everybody may use"
    assert len(run(world([replace(own, shared=True)], lanes=lane), waiting(1)).leases) == 1


def test_reasons_of_many_credentials_are_kept_once_for_all_that_they_are_true_of():
    out = [Credential(n, "first", disabled_till=NOW + n) for n in range(1, 5001)]
    lanes = [Lane(1, "profile", 2, ("first",))]
    (blocked,) = run(world(out, lanes=lanes), waiting(1)).blocked
    kept = reasons_json(blocked.reasons)
    assert [(reason["source"], reason["until"], reason["credentials"]) for reason in kept] == [("first", NOW + 1, 5000)]
    assert blocked.until == NOW + 1
    (few,) = run(world(out[:3], lanes=lanes), waiting(1)).blocked
    assert [reason["credential_id"] for reason in reasons_json(few.reasons)] == [1, 2, 3]


def test_a_call_is_leased_a_moment_before_there_is_room_where_no_source_has_any_now():
    limit = Limit("second", 1, 1)
    members = [Credential(1, "first"), Credential(2, "second"), Credential(3, "third")]
    snapshot = world(members, limits=dict.fromkeys(CHAIN, (limit,)))
    for credential_id, ago in ((1, 0.9), (3, 0.5)):
        snapshot.window(f"credential:{credential_id}", limit).charge(NOW - ago)
    opens = snapshot.window("credential:1", limit).next_room()
    plan = run(snapshot, waiting(3))
    assert [(lease.credential_id, lease.use_from) for lease in plan.leases] == [(2, None), (1, opens)]
    assert NOW < opens <= NOW + AHEAD
    (blocked,) = plan.blocked
    assert NOW < blocked.until == snapshot.window("credential:3", limit).opens() < NOW + 1
