"""What truly happens to the simulated people is told by all providers, and is no fault."""

import statistics
import time

import pytest

from beat_actors.simulator import Population, SimulatorClient, SimulatorRefused
from beat_actors.simulator.happenings import Happening, HappeningKind
from tests.integration.simulator.conftest import Caller
from tests.integration.simulator.test_faults import SOURCES, followers

NAME = "creator_000042"
BEFORE = Population(2000, missing_every=0, drift_seconds=0)


def world() -> Population:
    return Population(2000, missing_every=0, drift_seconds=0)


def left(people: Population) -> list[float]:
    """The share of the followers that each has now of those that it had."""
    shares = []
    for index in range(people.size):
        now, before = people.person(index), BEFORE.person(index)
        assert now is not None
        assert before is not None
        shares.append(now.followers / before.followers)
    return shares


def test_a_purge_takes_as_much_as_the_known_ones() -> None:
    people = world()
    people.happens(Happening(kind=HappeningKind.PURGE))
    shares = left(people)
    assert statistics.mean(shares) == pytest.approx(1 - 0.076, abs=0.01)
    assert 0.003 < sum(share < 0.66 for share in shares) / len(shares) < 0.03
    assert min(shares) < 0.01
    assert left(people) == shares


def test_a_share_of_all_is_hit_and_the_others_are_not() -> None:
    people = world()
    people.happens(Happening(kind=HappeningKind.VIRAL, share=0.1, size=4.0))
    shares = left(people)
    assert set(shares) == {1.0, 4.0}
    assert 0.07 < shares.count(4.0) / len(shares) < 0.13


def test_what_happens_is_not_known_in_the_past() -> None:
    now = [1_790_000_000.0]
    people = Population(100, drift_seconds=60, clock=lambda: now[0])
    person = people.by_handle(NAME)
    assert person is not None
    people.happens(Happening(kind=HappeningKind.VIRAL, handle=NAME, size=10.0))
    after, old = people.person(person.index), people.past(60).person(person.index)
    assert after is not None
    assert old is not None
    assert after.followers == person.followers * 10
    assert old.followers <= person.followers
    assert len({people.version, people.past(60).version, people.mixed_up().version}) == 3


def test_a_rename_keeps_the_person_and_a_recycled_handle_leads_to_another() -> None:
    people = world()
    person = people.by_handle(NAME)
    assert person is not None
    people.happens(Happening(kind=HappeningKind.RENAME, handle=NAME, to="ada"))
    assert people.by_handle(NAME) is None
    renamed = people.by_handle("Ada")
    assert renamed is not None
    assert (renamed.pk, renamed.handle, renamed.followers) == (person.pk, "ada", person.followers)
    people.happens(Happening(kind=HappeningKind.RECYCLE, handle="ada"))
    newcomer, moved = people.by_handle("ada"), people.by_pk(str(person.pk))
    assert newcomer is not None
    assert moved is not None
    assert (newcomer.handle, newcomer.pk != person.pk, moved.handle) == ("ada", True, "ada.2")
    assert people.by_pk(str(newcomer.pk)) == newcomer
    assert people.happens(Happening(kind=HappeningKind.RENAME, handle=NAME)) is None


def test_after_clearing_all_is_as_before() -> None:
    people = world()
    before = people.version
    people.happens(Happening(kind=HappeningKind.UNVERIFY))
    assert not any(person.is_verified for n in range(100) if (person := people.person(n)))
    people.happenings.clear()
    assert people.person(42) == BEFORE.person(42)
    assert people.version != before


@pytest.mark.parametrize("source", SOURCES)
async def test_all_providers_tell_it(caller: Caller, admin: SimulatorClient, source: str) -> None:
    await admin.set_limits(enabled=False)
    before = followers((await caller.profile(source)).json())
    happened = await admin.let_happen("viral", NAME, size=2.0)
    assert followers((await caller.profile(source)).json()) == before * 2
    assert (await admin.person(NAME))["person"]["followers"] == before * 2
    assert await admin.happenings() == [happened]
    assert (await admin.ledger())["by_source"][source]["faulted"] == 0
    await admin.clear_happenings()
    assert followers((await caller.profile(source)).json()) == before


async def test_a_false_answer_lies_about_what_truly_happened(caller: Caller, admin: SimulatorClient) -> None:
    await admin.let_happen("purge", NAME, size=0.2)
    true = (await admin.person(NAME))["person"]["followers"]
    await admin.add_fault("corrupt", "lama", body="subset")
    assert followers((await caller.profile("lama")).json()) == true * 85 // 100
    assert followers((await caller.profile("jotucker")).json()) == true


async def test_hidden_likes_are_three_on_a_page_and_known_in_truth(caller: Caller, admin: SimulatorClient) -> None:
    person = (await admin.person(NAME))["person"]
    before = await caller.get("bestsolutions", "/feed", {"user_id": str(person["pk"])})
    assert not any(item["like_and_view_counts_disabled"] for item in before.json()["items"])
    await admin.let_happen("hide_likes", NAME)
    items = (await caller.get("bestsolutions", "/feed", {"user_id": str(person["pk"])})).json()["items"]
    assert {(item["like_count"], item["like_and_view_counts_disabled"]) for item in items} == {(3, True)}
    truth = (await admin.person(NAME, posts=12))["posts"]
    assert all(post["likes_hidden"] for post in truth)
    assert all(post["likes"] > 3 for post in truth)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "earthquake"},
        {"kind": "rename"},
        {"kind": "viral", "handle": NAME, "to": "ada"},
        {"kind": "viral", "handle": "nobody"},
        {"kind": "purge", "size": 1.0},
        {"kind": "viral", "share": 0.0},
    ],
)
async def test_what_cannot_happen_is_refused(admin: SimulatorClient, wrong: dict[str, object]) -> None:
    with pytest.raises(SimulatorRefused):
        await admin.let_happen(**wrong)
    assert await admin.happenings() == []


def test_all_that_was_true_in_a_span_is_known_with_its_times() -> None:
    now = [1_790_000_050.0]
    people = Population(100, drift_seconds=60, clock=lambda: now[0])
    people.happens(Happening(kind=HappeningKind.VIRAL, handle=NAME, size=10.0))
    now[0] += 200
    moments = people.moments(1_790_000_000.0, 1_790_000_119.0)
    assert moments == [1_790_000_000.0, 1_790_000_050.0, 1_790_000_060.0]
    known = [person.followers for at in moments if (person := people.at(at).by_handle(NAME)) is not None]
    assert known[0] < known[1] / 9
    assert known[1] <= known[2]


async def test_the_simulator_tells_all_that_was_true_of_somebody(admin: SimulatorClient) -> None:
    began = time.time()
    before = (await admin.person(NAME))["person"]
    await admin.let_happen("rename", NAME, to="ada")
    truths = await admin.truths(str(before["pk"]), began - 1, time.time(), posts=2)
    assert [(each["person"]["handle"], len(each["posts"])) for each in truths] == [(NAME, 2), ("ada", 2)]
    assert began <= truths[1]["at"] <= time.time()
    assert truths[0]["person"] == before


@pytest.mark.parametrize(("since", "until"), [(2.0, 1.0), (0.0, 1e6)])
async def test_a_span_that_is_none_or_too_long_is_refused(admin: SimulatorClient, since: float, until: float) -> None:
    with pytest.raises(SimulatorRefused):
        await admin.truths(NAME, since, until)


async def test_of_nobody_nothing_was_true(admin: SimulatorClient) -> None:
    with pytest.raises(SimulatorRefused):
        await admin.truths("nobody", 1.0, 2.0)
