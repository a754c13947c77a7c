"""What the providers would say: calls by key and time, held against the limits that a platform declares."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from beat_actors.broker.windows import calendar_day
from beat_actors.platforms.interface import Limit, Platform


def assert_within_limits(platform: Platform, made: Mapping[str, Sequence[float]]) -> None:
    """`made`: the times of the calls by key; a key is its source's name and something after the last dash."""
    by_source: defaultdict[str, list[float]] = defaultdict(list)
    for key, times in made.items():
        source = key.rpartition("-")[0]
        by_source[source] += times
        for limit in platform.sources[source].limits:
            if limit.scope == "credential":
                _assert_within(limit, times)
    for source, times in by_source.items():
        for limit in platform.sources[source].limits:
            if limit.scope == "source":
                _assert_within(limit, times)


def _assert_within(limit: Limit, times: Sequence[float]) -> None:
    times = sorted(times)
    for i, first in enumerate(times):
        end = calendar_day(limit.calendar, first)[1] if limit.calendar else first + limit.seconds
        assert sum(1 for time in times[i:] if time < end) <= limit.calls, (limit.name, times[i:])
