"""Steps of the database's clock are told from time that passes."""

import pytest

from beat_actors.database.clock import BOUND, StepWatch


@pytest.mark.parametrize(("passed", "answered_after"), [(0.0, 0.0), (10.0, 0.001), (3600.0, 2.0)])
def test_time_that_passes_is_no_step(passed: float, answered_after: float) -> None:
    watch = StepWatch()
    watch.look(1000.0, 5.0, 5.0)
    watch.look(1000.0 + passed + answered_after / 2, 5.0 + passed, 5.0 + passed + answered_after)
    assert (list(watch.steps), watch.said(lambda: 0.0)) == ([], None)


def test_a_step_forth_is_told_and_kept() -> None:
    watch = StepWatch()
    watch.look(1000.0, 5.0, 5.0)
    watch.look(1000.0 + 2 + 3, 7.0, 7.0)
    (step,) = watch.steps
    assert (step.before, step.seconds) == (1002.0, 3.0)
    assert watch.said(lambda: 8.0) == "the clock of the database stepped forth by 3.0 s"
    assert watch.said(lambda: 8.0 + 3600) is None
    watch.look(1006.0, 8.0, 8.0)
    assert len(watch.steps) == 1


def test_a_step_back_is_told_and_ends_the_step_forth_that_it_undoes() -> None:
    watch = StepWatch()
    for now, at in ((1000.0, 5.0), (1003.0, 5.0), (1000.0, 5.0)):
        watch.look(now, at, at)
    assert list(watch.steps) == []
    assert watch.said(lambda: 6.0) == "the clock of the database stepped back by 3.0 s"


def test_a_slow_answer_is_no_step() -> None:
    watch = StepWatch()
    watch.look(1000.0, 5.0, 10.0)
    watch.look(1005.0, 10.0, 10.0)
    watch.look(1005.0 + BOUND / 2, 10.0, 10.0)
    assert watch.said(lambda: 10.0) is None
