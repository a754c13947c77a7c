"""The people: the same for every provider, found by any of their names, and growing."""

import pytest

from beat_actors.simulator.population import ANCHOR, Population, media_pk, shortcode

PEOPLE = Population(1_000_000, drift_seconds=0)


@pytest.mark.parametrize("index", [0, 1, 42, 999, 123_456, 999_999])
def test_every_name_leads_back(index: int) -> None:
    person = PEOPLE.person(index)
    assert person is not None
    assert PEOPLE.by_handle(person.handle) == PEOPLE.by_pk(str(person.pk)) == person
    for post in PEOPLE.posts(person, 0, person.posts):
        assert PEOPLE.by_shortcode(post.shortcode) == (person, post)
        assert media_pk(shortcode(post.pk)) == post.pk


def test_a_population_beyond_a_posts_low_bits_keeps_its_shortcodes_apart() -> None:
    people = Population(20_000_000, drift_seconds=0)
    person = people.person(19_000_001)
    assert person is not None
    post = people.post(person, 3)
    assert people.by_shortcode(post.shortcode) == (person, post)


def test_posts_go_back_in_time() -> None:
    person = PEOPLE.person(7)
    assert person is not None
    posts = PEOPLE.posts(person, 0, person.posts)
    assert [post.taken_at for post in posts] == sorted((post.taken_at for post in posts), reverse=True)
    assert len({post.pk for post in posts}) == person.posts
    assert posts[0].taken_at <= ANCHOR


@pytest.mark.parametrize(
    "name",
    [
        "creator_1000000",
        "creator_42",
        "creator_0000042",
        "creator_00004x",
        "creator_",
        "somebody",
        "",
        "creator_٠٠٠٠٤٢",
    ],
)
def test_nobody_else_is_there(name: str) -> None:
    assert PEOPLE.by_handle(name) is None


@pytest.mark.parametrize("pk", ["", "0", "-5", "10000019001", "99999999999999999999", "x"])
def test_no_other_id_is_there(pk: str) -> None:
    assert PEOPLE.by_pk(pk) is None


@pytest.mark.parametrize("code", ["", "DPj", "!!", "AAAAAAAAAAA", "x" * 40])
def test_no_other_shortcode_is_there(code: str) -> None:
    assert PEOPLE.by_shortcode(code) is None


def test_a_configured_few_are_missing_or_private() -> None:
    people = Population(1000, missing_every=10, private_every=20, drift_seconds=0)
    everybody = [people.person(index) for index in range(1000)]
    assert everybody.count(None) == 100
    assert sum(person.is_private for person in everybody if person) == 50
    whole = Population(1000, missing_every=0, private_every=0, drift_seconds=0)
    assert not any(person is None or person.is_private for person in map(whole.person, range(1000)))


def test_numbers_only_grow_and_only_with_the_epoch() -> None:
    now = [float(ANCHOR)]
    people = Population(10, drift_seconds=60, daily_growth=0.01, clock=lambda: now[0])
    seen = []
    for day in range(5):
        now[0] = ANCHOR + day * 86_400
        first = people.person(3)
        now[0] += 59
        assert people.person(3) == first
        assert first is not None
        seen.append((first.followers, people.post(first, 0).likes))
    assert seen == sorted(seen)
    assert seen[0] < seen[-1]


def test_another_seed_is_another_population() -> None:
    assert Population(10, seed=2, drift_seconds=0).person(3) != Population(10, seed=1, drift_seconds=0).person(3)
    assert Population(10, seed=2, drift_seconds=0).person(3) == Population(10, seed=2, drift_seconds=0).person(3)
