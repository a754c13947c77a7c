"""The order of leases: classes, tenants and flows, over plain values."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from beat_actors.broker.decision import Allocator, decide
from beat_actors.broker.fair import LOWER_SHARE
from beat_actors.broker.state import Candidate, Credential, Lane, Plan, Snapshot

LANES = [
    Lane(10 * priority + n, "profile", priority, ("first",), flow=flow)
    for priority in (1, 2, 3)
    for n, flow in enumerate(("look", "list"))
]


def leased(candidates, capacity, *, served=None, seed=7, lanes=LANES):
    """The candidates that a turn leases, in order; and whom it served last."""
    snapshot = Snapshot(0.0, {1: Credential(1, "first")}, {}, lanes, {}, {}, served=served or {})
    plan = Plan()
    decide(snapshot, candidates, capacity, plan, Allocator(snapshot, Random(seed)))
    by_id = {candidate.fetch_id: candidate for candidate in candidates}
    return [by_id[lease.fetch_id] for lease in plan.leases], plan.served


def waiting(lane, tenant, count, start):
    return [Candidate(start + n, lane, tenant) for n in range(count)]


backlogs = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 60), min_size=1)


@given(backlogs, st.integers(1, 120), st.sampled_from(["", "a", "c", "f", "z"]), st.integers(0, 2**32))
def test_tenants_of_a_class_get_the_same_or_all_that_they_have(backlog, capacity, last, seed):
    candidates = [
        one for n, (tenant, count) in enumerate(backlog.items()) for one in waiting(20, tenant, count, 1000 * n)
    ]
    given_, _ = leased(candidates, capacity, served={2: last}, seed=seed)
    got = Counter(candidate.tenant for candidate in given_)
    assert got.total() == min(capacity, len(candidates))
    most = max(got.values())
    assert all(got[tenant] >= min(count, most - 1) for tenant, count in backlog.items())
    for tenant in got:
        ids = [candidate.fetch_id for candidate in given_ if candidate.tenant == tenant]
        assert ids == sorted(ids), "the oldest of a tenant's flow goes first"


@given(backlogs, st.integers(1, 5), st.integers(0, 2**32))
def test_over_many_small_turns_nobody_waits_for_anothers_backlog(backlog, capacity, seed):
    left = [one for n, (tenant, count) in enumerate(backlog.items()) for one in waiting(20, tenant, count, 1000 * n)]
    got, served = Counter(), {}
    while left:
        given_, now = leased(left, capacity, served=served, seed=seed)
        served, seed = served | now, seed + 1
        got.update(candidate.tenant for candidate in given_)
        left = [candidate for candidate in left if candidate not in given_]
        most = max(got.values())
        assert all(got[tenant] >= min(count, most - 1) for tenant, count in backlog.items())


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_a_lower_class_gets_its_share_and_no_more(seed, age):
    batch, urgent = waiting(30, "b", 500, age), waiting(10, "a", 500, age + 10_000)
    given_, _ = leased(batch + urgent, 200, seed=seed)
    assert Counter(candidate.tenant for candidate in given_)["b"] == 200 // LOWER_SHARE


def test_a_lower_class_gets_its_share_over_turns_of_one_lease():
    batch, urgent = waiting(30, "b", 5, 1), waiting(10, "a", 5, 100)
    got = Counter(leased(batch + urgent, 1, seed=seed)[0][0].tenant for seed in range(2000))
    assert 60 < got["b"] < 140


@given(st.integers(0, 2**32))
def test_flows_of_a_tenant_share_its_turns(seed):
    given_, _ = leased(waiting(20, "a", 500, 1) + waiting(21, "a", 500, 1000), 100, seed=seed)
    assert Counter(candidate.lane_id for candidate in given_) == {20: 50, 21: 50}


def test_a_lane_that_is_blocked_takes_no_turn_from_its_tenants():
    lanes = [Lane(1, "profile", 2, ("none",), flow="look"), Lane(2, "profile", 2, ("first",), flow="list")]
    candidates = waiting(1, "a", 50, 1) + waiting(2, "a", 50, 100) + waiting(2, "b", 50, 200)
    given_, _ = leased(candidates, 40, lanes=lanes)
    assert Counter(candidate.tenant for candidate in given_)["a"] in (19, 20)
    assert {candidate.lane_id for candidate in given_} == {2}
