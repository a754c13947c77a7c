"""Ends of workers: counted for an hour, and a crash loop while three fall within ten minutes."""

import signal

from beat_actors.restarts import COUNTED_FOR, LOOP, WITHIN, Restarts


def test_a_crash_loop_is_reported_while_it_lasts_and_single_ends_are_counted() -> None:
    now = 0.0
    restarts = Restarts(lambda: now)
    for ends in range(1, LOOP):
        restarts.ended(1)
        assert (restarts.count(), restarts.said()) == (ends, None)
    restarts.ended(-signal.SIGKILL)
    said = restarts.said()
    assert said is not None
    assert said.startswith("3 workers of this parent died within 10 min, the last at ")
    assert said.endswith("Z with signal SIGKILL")
    now += WITHIN + 1
    assert (restarts.said(), restarts.count()) == (None, LOOP)
    now += COUNTED_FOR
    assert restarts.count() == 0


def test_slow_ends_are_no_loop() -> None:
    now = 0.0
    restarts = Restarts(lambda: now)
    for _ in range(2 * LOOP):
        restarts.ended(0)
        now += WITHIN / LOOP * 1.5
    assert restarts.said() is None
