"""Steps of the database's clock are told from time that passes."""

import pytest

from beat_actors.database.clock import BOUND, LEARNS_FOR, Step, StepWatch, elapsed


@pytest.mark.parametrize(("passed", "answered_after"), [(0.0, 0.0), (10.0, 0.001), (3600.0, 2.0)])
def test_time_that_passes_is_no_step(passed: float, answered_after: float) -> None:
    watch = StepWatch()
    watch.look(1000.0, 5.0, 5.0)
    watch.look(1000.0 + passed + answered_after / 2, 5.0 + passed, 5.0 + passed + answered_after)
    assert (list(watch.steps), watch.said(lambda: 0.0)) == ([], None)


def test_a_step_forth_is_reported_and_kept() -> None:
    watch = StepWatch()
    watch.look(1000.0, 5.0, 5.0)
    watch.look(1000.0 + 2 + 3, 7.0, 7.0)
    (step,) = watch.steps
    assert (step.before, step.seconds) == (1002.0, 3.0)
    assert watch.said(lambda: 8.0) == "the clock of the database stepped forth by 3.0 s"
    assert watch.said(lambda: 8.0 + 3600) is None
    watch.look(1006.0, 8.0, 8.0)
    assert len(watch.steps) == 1


def test_a_step_back_is_reported_and_ends_the_step_forth_that_it_undoes() -> None:
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


def test_steps_from_before_the_first_look_are_learned_of_the_process_that_knows_most() -> None:
    """What two have found is one step, which they found at different moments; one that this process has found itself is not learned."""
    watch = StepWatch()
    assert watch.learns
    watch.look(5000.0, elapsed(), elapsed())
    watch.learn([[Step(1000.0, 600.0)], [Step(1010.0, 600.0), Step(2000.0, 60.0), Step(4990.0, 60.0)], []])
    assert list(watch.steps) == [Step(1010.0, 600.0), Step(2000.0, 60.0)]
    watch.learn([[]])  # the process that knew has ended
    assert len(watch.steps) == 2
    watch.look(5100.0, elapsed(), elapsed())
    assert not watch.learns
    watch.learn([[Step(1000.0, 6000.0)]])
    assert [step.seconds for step in list(watch.steps)[:2]] == [600.0, 60.0]


def test_steps_are_learned_in_the_first_minute_only() -> None:
    watch = StepWatch()
    watch.look(5000.0, elapsed() - LEARNS_FOR, elapsed() - LEARNS_FOR)
    assert not watch.learns


def test_a_step_is_reported_at_once() -> None:
    told: list[bool] = []
    watch = StepWatch()
    watch.on_step = lambda: told.append(True)
    watch.look(1000.0, 5.0, 5.0)
    assert told == []
    watch.look(1005.0, 7.0, 7.0)
    assert told == [True]
