"""The rate at which a process begins uploads, where it is limited."""

import pytest

from beat_actors.assets.starts import Starts


def test_without_a_limit_all_may_begin() -> None:
    starts = Starts(None)
    assert starts.room(200, 0.0) == 200
    starts.began(200)
    assert starts.room(200, 0.0) == 200


@pytest.mark.parametrize("rate", [1, 7, 50, 600, 5000])
def test_so_many_begin_in_a_second_and_few_at_once(rate: int) -> None:
    starts, begun = Starts(rate), list[int]()
    for look in range(int(20 / 0.05)):
        room = starts.room(200, look * 0.05)
        starts.began(room)
        begun.append(room)
    assert 0.95 * min(rate, 4000) * 20 - 1 <= sum(begun) <= rate * 20 + max(1, rate * 0.1)
    assert max(begun) <= min(200, max(1, rate * 0.1))


def test_a_few_that_are_free_need_not_wait_for_more() -> None:
    starts = Starts(600)
    starts.began(starts.room(60, 0.0))
    assert starts.room(1, 0.001) == 0
    assert starts.room(1, 0.003) == 1
    assert starts.room(100, 0.003) == 0
    assert starts.room(100, 0.06) > 20
