"""Which of the ends of a page are exported. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from beat_actors.settings import Settings
from beat_actors.traces import sampling
from beat_actors.traces.rows import Ended

MOST_ASKED = 500
"""Traces that one run exports because of what callers sent: their flag, or a trace id that is in the share. Both are theirs to choose."""

Kept = tuple[Ended, str]
"""A request whose trace is exported, and why."""


class Broken(NamedTuple):
    """An end of which not even this can be told, by its place."""

    seq: int
    request: int
    error: Exception


class Choice(NamedTuple):
    """Each in the order of the ends. `left_out`: places of those beyond what callers may have. `asked`: how many of the kept are by what callers sent."""

    kept: list[Kept]
    broken: list[Broken]
    left_out: list[int]
    asked: int


def choose(ends: Sequence[Ended], settings: Settings, most_asked: int) -> Choice:
    """The requests whose traces are exported. Of a request that is gone only its failure is known. `most_asked`: traces by what callers sent."""
    found = Choice([], [], [], 0)
    slow = {str(priority): seconds for priority, seconds in settings.trace_slow.items()}
    for end in ends:
        try:
            why = _reason(end, settings, slow)
        except Exception as error:  # noqa: BLE001 - one request must not hold up all others
            found.broken.append(Broken(end.seq, end.id, error))
            continue
        if why is None:
            continue
        if _by_caller(end, why, settings):
            if found.asked >= most_asked:
                found.left_out.append(end.seq)
                continue
            found = found._replace(asked=found.asked + 1)
        found.kept.append((end, why))
    return found


def _by_caller(end: Ended, why: str, settings: Settings) -> bool:
    """Whether a trace is kept by what its caller chose. Where the share is all, no id makes a difference."""
    if why == sampling.SAMPLED:
        return end.context is not None and not end.run and settings.trace_sample < 1
    return why == sampling.ASKED


def _reason(end: Ended, settings: Settings, slow: dict[str, float]) -> str | None:
    context = end.context
    return sampling.reason(
        end.happened.upper(),
        end.seconds,
        end.priority,
        end.ids.trace,
        asked=context is not None and context.sampled and sampling.in_share(end.ids.trace, settings.trace_asked),
        share=settings.trace_sample,
        slow=slow,
    )
