"""Breakers: closed, open for 30 s × trips, then one probe."""

import pytest

from beat_actors.credentials.breaker import Breaker

NOW = 1_790_000_000.0


def test_five_failures_in_a_row_open_it_for_thirty_seconds():
    breaker = Breaker()
    for _ in range(4):
        breaker = breaker.failed(1, NOW, probe=False)
    assert not breaker.is_open(NOW)
    breaker = breaker.failed(1, NOW, probe=False)
    assert breaker.is_open(NOW)
    assert breaker.open_until == NOW + 30
    assert breaker.needs_probe(NOW + 30)


def test_more_than_half_of_at_least_five_within_a_minute_open_it():
    half = Breaker().succeeded(3, NOW, probe=False).failed(3, NOW + 1, probe=False)
    assert not half.is_open(NOW + 1)
    assert half.failed(1, NOW + 2, probe=False).is_open(NOW + 2)


def test_failures_of_an_earlier_minute_do_not_count():
    old = Breaker().failed(2, NOW, probe=False).succeeded(1, NOW + 1, probe=False).failed(2, NOW + 2, probe=False)
    assert not old.failed(1, NOW + 70, probe=False).is_open(NOW + 70)


@pytest.mark.parametrize(("trips", "rest"), [(1, 30), (2, 60), (9, 270), (10, 300), (40, 300)])
def test_each_failed_probe_opens_it_for_longer(trips, rest):
    breaker = Breaker().failed(5, NOW, probe=False)
    now = NOW
    for _ in range(trips - 1):
        now = breaker.open_until or 0
        breaker = breaker.failed(1, now, probe=True)
    assert (breaker.open_until or 0) - now == rest


def test_only_the_probe_closes_it():
    breaker = Breaker().failed(5, NOW, probe=False)
    assert breaker.succeeded(20, NOW + 1, probe=False).is_open(NOW + 1)
    assert breaker.failed(20, NOW + 1, probe=False) == breaker
    assert not breaker.succeeded(1, NOW + 31, probe=True).is_open(NOW + 31)
