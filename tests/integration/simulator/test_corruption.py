"""A corrupt answer is well-formed and false, in the way that was asked for; the truth stays what it was."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from beat_actors.simulator import SimulatorClient, SimulatorConfig, SimulatorRefused, running
from beat_actors.simulator.corruption import CHANGES, OF_OTHER_ANSWERS, WHOLE, corrupted
from beat_actors.simulator.faults import CORRUPTIONS, Fault
from beat_actors.simulator.provider import Words
from tests.integration.simulator.conftest import Caller
from tests.integration.simulator.test_faults import SOURCES, followers

NAME = "creator_000042"
OWN = Words(followers=frozenset({"fans"}), likes=frozenset({"hearts"}), swapped=(("fans", "idols"),))


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """One whose numbers grow by a hundredth a day, and stand still during the test."""
    async with running(SimulatorConfig(profiles=500, drift_seconds=3600, daily_growth=0.01)) as url:
        yield url


@pytest.fixture
async def admin(url: str) -> AsyncIterator[SimulatorClient]:
    async with SimulatorClient(url) as client:
        await client.set_limits(enabled=False)
        yield client


@pytest.fixture
async def caller(url: str) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        yield Caller(url, session)


async def truth(admin: SimulatorClient, name: str = NAME) -> int:
    return int((await admin.person(name))["person"]["followers"])


@pytest.mark.parametrize("source", SOURCES)
async def test_false_followers_are_those_of_the_bug_and_the_truth_stays(
    caller: Caller, admin: SimulatorClient, source: str
) -> None:
    true = await truth(admin)
    person = (await admin.person(NAME))["person"]
    expected = {kind: change(true) for kind, change in CHANGES.items() if kind != "three"}
    expected |= {"swapped": person["following"], "other": await truth(admin, "creator_000043"), "three": true}
    for kind, false in expected.items():
        if source == "graphapi" and kind == "swapped":  # which was asked for one of the two alone
            continue
        await admin.clear_faults()
        await admin.add_fault("corrupt", source, body=kind)
        assert followers((await caller.profile(source)).json()) == false, kind
        assert await truth(admin) == true
    await admin.clear_faults()
    assert followers((await caller.profile(source)).json()) == true


async def test_stale_numbers_are_as_old_as_was_asked_for(caller: Caller, admin: SimulatorClient) -> None:
    true, told = await truth(admin), []
    for days in (1, 30):
        await admin.clear_faults()
        await admin.add_fault("corrupt", "lama", body="stale", days=days)
        told.append(followers((await caller.profile("lama")).json()))
    assert told[1] < told[0] < true
    # The growth is a share of the first number, so thirty days are thirty times one day.
    assert true - told[1] == pytest.approx(30 * (true - told[0]), abs=30)


async def test_only_calls_that_the_fault_means_are_false(caller: Caller, admin: SimulatorClient) -> None:
    true = await truth(admin)
    await admin.add_fault("corrupt", "lama", body="subset", times=1)
    await admin.add_fault("corrupt", "jotucker", body="digit", operation="post_by_shortcode")
    told = [followers((await caller.profile(source)).json()) for source in ("lama", "lama", "jotucker")]
    assert told == [true * 85 // 100, true, true]


async def test_an_unknown_corruption_is_refused(admin: SimulatorClient) -> None:
    with pytest.raises(SimulatorRefused):
        await admin.add_fault("corrupt", "lama", body="nonsense")
    with pytest.raises(SimulatorRefused, match="days"):
        await admin.add_fault("corrupt", "lama", body="stale", days=0)


def test_every_corruption_is_one_of_a_fault() -> None:
    assert {*CHANGES, *OF_OTHER_ANSWERS, WHOLE, "swapped"} == CORRUPTIONS
    assert Fault(kind="corrupt").corruption == "zero"


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("three", {"fans": 12_345, "idols": 7, "hearts": 3, "posts": [{"like_count": 3, "comment_count": 9}]}),
        ("swapped", {"fans": 7, "idols": 12_345, "hearts": 80, "posts": [{"like_count": 9, "comment_count": 500}]}),
        ("thousandth", {"fans": 12, "idols": 7, "hearts": 80, "posts": [{"like_count": 500, "comment_count": 9}]}),
        ("zero", {"fans": 0, "idols": 7, "hearts": 80, "posts": [{"like_count": 500, "comment_count": 9}]}),
        ("other", {"fans": 1, "idols": 7, "hearts": 2, "posts": [{"like_count": 3, "comment_count": 4}]}),
    ],
)
def test_the_words_of_a_platform_are_known_and_texts_stay(kind: str, made: dict[str, Any]) -> None:
    value = {"fans": 12_345, "idols": 7, "hearts": 80, "posts": [{"like_count": 500, "comment_count": 9}]}
    other = {"fans": 1, "idols": 2, "hearts": 2, "posts": [{"like_count": 3, "comment_count": 4}]}
    assert corrupted(kind, {**value, "name": "Ada"}, OWN, {**other, "name": "Eve"}) == {**made, "name": "Ada"}


def test_where_there_is_no_other_answer_the_numbers_stay() -> None:
    assert corrupted("other", {"fans": 5, "like_count": [1]}, OWN, None) == {"fans": 5, "like_count": [1]}


async def test_an_answer_about_another_account_is_false_as_a_whole(caller: Caller, admin: SimulatorClient) -> None:
    await admin.add_fault("corrupt", "lama", body="identity")
    told = (await caller.profile("lama")).json()
    assert NAME not in str(told)
    assert followers(told) == await truth(admin, "creator_000043")


async def test_with_a_seed_the_same_call_is_always_false_in_the_same_way(
    caller: Caller, admin: SimulatorClient
) -> None:
    """Also if the calls come in another order, which is what many workers at once make of it."""

    async def told(names: list[str], seed: int) -> dict[str, int]:
        await admin.clear_faults()
        await admin.add_fault("corrupt", "lama", rate=0.5, ways=["zero", "thousandfold", "digit"], seed=seed)
        return {name: followers((await caller.profile("lama", name)).json()) for name in names}

    names = [f"creator_{number:06}" for number in range(30, 60)]
    once = await told(names, 7)
    true = {name: await truth(admin, name) for name in names}
    assert 8 <= sum(once[name] != true[name] for name in names) <= 22
    assert len({once[name] / true[name] for name in names}) >= 4
    assert await told(names[::-1], 7) == once
    assert await told(names, 8) != once


async def test_the_ledger_counts_false_answers_by_their_ways(caller: Caller, admin: SimulatorClient) -> None:
    await admin.add_fault("corrupt", "lama", body="zero", times=2)
    await admin.add_fault("corrupt", "jotucker", ways=["negative"])
    for source in ("lama", "lama", "lama", "jotucker"):
        await caller.profile(source)
    by_source = (await admin.ledger())["by_source"]
    assert by_source["lama"]["corrupted"] == {"zero": 2}
    assert by_source["jotucker"]["corrupted"] == {"negative": 1}
    await admin.reset_ledger()
    assert (await admin.ledger())["by_source"]["lama"]["corrupted"] == {}


@pytest.mark.parametrize(
    "wrong", [{"ways": ["doubled"]}, {"ways": ["zero"], "body": "zero"}, {"kind": "outage", "ways": ["zero"]}]
)
async def test_ways_are_those_of_a_corrupt_answer(admin: SimulatorClient, wrong: dict[str, Any]) -> None:
    with pytest.raises(SimulatorRefused):
        await admin.add_fault(**{"kind": "corrupt", **wrong})
