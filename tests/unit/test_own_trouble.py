"""When a process cooldowns for its own trouble, and for how long."""

import errno

import pytest

from beat_actors.errors import causes
from beat_actors.own_trouble import COOLDOWN, COOLDOWN_AT_MOST, IN_A_ROW, OwnTrouble, is_exhausted


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def own(clock: Clock) -> OwnTrouble:
    return OwnTrouble(clock)


def fail(own: OwnTrouble, *hosts: str) -> None:
    for host in hosts:
        own.not_reached(host)


def test_one_host_is_the_hosts_trouble_and_a_success_between_two_is_nobodys(own: OwnTrouble) -> None:
    fail(own, *["a"] * 50)
    assert own.takes_calls
    own.reached()
    fail(own, *["a", "b"] * 2)
    own.reached()
    fail(own, *["a", "b"] * 2)
    assert own.takes_calls
    fail(own, "a")
    assert not own.takes_calls


def test_it_looks_again_after_cooldowns_that_grow_and_is_over_with_the_first_connection(
    own: OwnTrouble, clock: Clock
) -> None:
    fail(own, *["a", "b"] * IN_A_ROW)
    cooldowns = []
    for _ in range(8):
        before = clock.now
        while not own.takes_calls:
            clock.now += 1
        cooldowns.append(clock.now - before)
        assert own.is_cut_off
        fail(own, "a")
    assert cooldowns == [COOLDOWN, 2 * COOLDOWN, 4 * COOLDOWN, 8 * COOLDOWN, 16 * COOLDOWN, *[COOLDOWN_AT_MOST] * 3]
    own.reached()
    assert (own.takes_calls, own.is_cut_off, own.reported()) == (True, False, {})


def test_a_process_without_descriptors_cools_down_though_its_old_connections_work(
    own: OwnTrouble, clock: Clock
) -> None:
    own.exhausted()
    own.reached()
    assert not own.takes_calls
    clock.now += COOLDOWN
    assert own.takes_calls
    own.reached()
    assert own.reported() == {}


def test_a_key_that_opens_nothing_is_tried_again_later_and_stops_nothing_else(own: OwnTrouble, clock: Clock) -> None:
    own.cannot_open("k1")
    assert (own.may_open("k1"), own.may_open("k2"), own.takes_calls) == (False, True, True)
    clock.now += COOLDOWN
    assert own.may_open("k1")
    own.opens("k1")
    assert own.reported() == {}


@pytest.mark.parametrize(
    ("error", "exhausted"),
    [
        (MemoryError(), True),
        (OSError(errno.EMFILE, "too many open files"), True),
        (OSError(errno.ECONNREFUSED, "refused"), False),
        (ValueError(), False),
    ],
)
def test_what_ran_out_is_known_also_where_it_was_wrapped(error: Exception, exhausted: bool) -> None:
    assert is_exhausted(error) is exhausted
    wrapped = RuntimeError()
    wrapped.__cause__ = error
    assert is_exhausted(wrapped) is exhausted


def test_errors_that_were_raised_from_each_other_are_looked_at_once() -> None:
    first, second = RuntimeError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert not is_exhausted(first)
    assert list(causes(first)) == [first, second]
