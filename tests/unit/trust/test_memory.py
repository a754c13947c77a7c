"""What is remembered of an entity: little, and only what was accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_actors.platforms.interface import EntityRules, Number
from beat_actors.platforms.registry import platforms
from beat_actors.trust.memory import DAY, MOST_MOVES, OUTLIER, SCALE, Known, Memory, decode, encode, mark

NOW = 1_790_000_000
FOLLOWERS = Number("followers", usual=0.003)
ENTITIES = [rules for platform in platforms().values() for rules in platform.trust.entities]


@pytest.mark.parametrize("rules", ENTITIES, ids=lambda rules: rules.record.__name__)
def test_no_entity_needs_more_than_200_bytes(rules: EntityRules) -> None:
    largest = Known(2**63 - 1, 2**32 - 1, MOST_MOVES, 2**32 - 1)
    numbers = {number.name: largest for number in rules.numbers if number.is_remembered}
    full = Memory(numbers, (2**32 - 1,) * len(rules.face), 2**32 - 1, True, 2**32 - 1)
    assert len(encode(full)) <= 200
    assert decode(encode(full)) == full


def test_an_older_observation_teaches_nothing() -> None:
    last = Known(100, NOW, 3, 500)
    assert last.moved(FOLLOWERS, 90, NOW - 1) is last
    assert last.moved(FOLLOWERS, 90, NOW).value == 90


def test_one_jump_counts_for_a_few_usual_changes() -> None:
    last = Known(10_000, NOW, 20, 300)
    jumped = last.moved(FOLLOWERS, 40_000, NOW + int(DAY))
    assert jumped.value == 40_000
    assert 300 < jumped.spread <= 300 + OUTLIER * 300 / 20


def test_a_month_counts_for_less_than_thirty_days() -> None:
    day, month = (Known(10_000, NOW).moved(FOLLOWERS, 10_100, NOW + int(days * DAY)) for days in (1, 30))
    assert 0 < month.spread < day.spread / 5
    assert Known(10_000, NOW).moved(FOLLOWERS, 10_100, NOW + 60).spread == day.spread


@given(st.lists(st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 10**6)), max_size=60))
def test_what_is_kept_stays_within_its_bounds(moves: list[tuple[int, int]]) -> None:
    known, at = Known(1000, NOW), NOW
    for value, later in moves:
        at += later
        known = known.moved(FOLLOWERS, value, at)
    assert known.moves <= MOST_MOVES
    assert 0 <= known.spread <= OUTLIER * 60 * SCALE


def test_of_a_url_only_the_name_of_the_file_counts() -> None:
    assert mark("https://a.test/x/ada.jpg?sig=1") == mark("https://b.test/y/z/ada.jpg?sig=2") != mark("ada")
    assert mark(None) == mark("") == 0


def test_the_mark_of_a_held_observation_says_since_when() -> None:
    held = Memory({"followers": Known(1, NOW)}).holding(NOW)
    assert held.holding(NOW + 5).held_since == NOW
    assert held.released() == Memory({"followers": Known(1, NOW)})
