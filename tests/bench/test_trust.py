"""The measurement of the gate: its world is the one that it describes, and its figures are reached in a small one too."""

import random
import statistics

import pytest

from beat_actors.trust.memory import Memory
from bench import trust
from bench.trust_days import Day, Deploy, purged, run
from bench.trust_world import POINTS, World


@pytest.fixture(scope="module")
def world() -> World:
    return World(1500, 3)


@pytest.fixture(scope="module")
def memories(world: World) -> list[Memory]:
    return [trust.remembered(profile) for profile in world.profiles]


def test_the_world_has_the_sizes_and_histories_that_it_says(world: World) -> None:
    followers = [profile.followers for profile in world.profiles]
    assert 5_000 < statistics.median(followers) < 12_000
    assert max(followers) > 1_000_000
    assert {len(profile.history) for profile in world.profiles} == set(range(1, POINTS + 1))
    rounded = [profile for profile in world.profiles if profile.is_rounded]
    assert all(len(str(profile.followers).rstrip("0")) <= 3 for profile in rounded)


def test_a_purge_takes_as_much_as_the_known_ones() -> None:
    chance = random.Random(1)
    lost = [1 - 2.718281828 ** purged(chance) for _ in range(100_000)]
    assert statistics.mean(lost) == pytest.approx(0.076, abs=0.005)
    assert sum(share > 0.34 for share in lost) == pytest.approx(1000, rel=0.2)
    assert sum(share > 0.99 for share in lost) == pytest.approx(100, rel=0.4)


def test_every_corruption_reaches_its_goal(
    capsys: pytest.CaptureFixture[str], world: World, memories: list[Memory]
) -> None:
    assert trust.corruptions(world, memories) == []
    assert trust.likes_of_three(world) == []
    told = capsys.readouterr().out
    assert all(kind.name in told for kind in trust.CORRUPTIONS)


def test_a_normal_day_holds_few_and_writes_nothing_wrong(world: World, memories: list[Memory]) -> None:
    result = run(trust.ACCOUNTS, trust.INSTAGRAM, world, memories, Day("normal", 15_000), random.Random(1))
    assert result.refreshes == 15_000
    assert 0 < result.held <= 15_000 * 25 / 10_000
    assert result.calls <= 15_000 * 0.005
    assert (result.wrong_served, result.by_person) == (0, 0)


def test_a_purge_costs_few_calls_and_all_of_it_is_written(world: World, memories: list[Memory]) -> None:
    day = Day("purge", 1500, purge=True)
    result = run(trust.ACCOUNTS, trust.INSTAGRAM, world, memories, day, random.Random(1))
    assert result.held > 100
    assert result.calls <= 60
    assert result.slowest() <= 600
    assert (result.wrong_served, result.by_person) == (0, 0)


@pytest.mark.parametrize("deploy", trust.DEPLOYS, ids=lambda deploy: deploy.name)
def test_a_broken_parser_is_noticed_and_its_source_leaves_the_chain(
    deploy: Deploy, world: World, memories: list[Memory]
) -> None:
    day = Day(deploy.name, 1500, deploy=deploy)
    result = run(trust.ACCOUNTS, trust.INSTAGRAM, world, memories, day, random.Random(1))
    assert 0 < result.noticed_after <= 200
    assert result.opened_after > 0
    assert result.calls <= 60
