"""The forecast of a backlog, held to an uploader that takes one asset after the other."""

from hypothesis import given
from hypothesis import strategies as some

from beat_actors.assets.upkeep.forecast import Due, turns

STEPS = some.lists(
    some.builds(Due, some.integers(0, 3), some.none() | some.integers(-20, 400).map(float), some.integers(1, 30)),
    max_size=12,
)
RATES = some.sampled_from((0.25, 0.5, 1.0, 2.0, 8.0))


def one_by_one(waiting: list[Due], rate: float) -> tuple[int, dict[int, int]]:
    """How many are fetched, and how many of each class expire before their turn."""
    each = [due for due in waiting for _ in range(due.assets)]
    served, late = 0, dict.fromkeys((due.asset_class for due in waiting), 0)
    for due in sorted(each, key=lambda due: (due.asset_class, float("inf") if due.left is None else due.left)):
        if due.left is not None and (served + 1) / rate > due.left:
            late[due.asset_class] += 1
        else:
            served += 1
    return served, late


@given(STEPS, RATES)
def test_s7_8_the_end_and_what_expires_before_are_those_of_an_uploader(waiting: list[Due], rate: float) -> None:
    served, late = one_by_one(waiting, rate)
    found = turns(waiting, rate)
    assert {number: turn.late for number, turn in found.items()} == late
    assert max((turn.ends_in for turn in found.values()), default=0.0) == served / rate


def test_classes_follow_one_another() -> None:
    found = turns([Due(3, None, 100), Due(0, None, 10), Due(1, 5.0, 10)], rate=1.0)
    assert [(number, turn.ends_in, turn.late) for number, turn in found.items()] == [
        (0, 10.0, 0),
        (1, 10.0, 10),
        (3, 110.0, 0),
    ]
