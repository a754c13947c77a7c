"""Which of the ends of a page are exported. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from beat_actors.settings import Settings
from beat_actors.traces import sampling
from beat_actors.traces.rows import Ended

Kept = tuple[Ended, str]
"""A request whose trace is exported, and why."""


class Broken(NamedTuple):
    """An end of which not even this can be told, by its place."""

    seq: int
    request: int
    error: Exception


class Choice(NamedTuple):
    """Each in the order of the ends."""

    kept: list[Kept]
    broken: list[Broken]


def choose(ends: Sequence[Ended], settings: Settings) -> Choice:
    """The requests whose traces are exported. Of a request that is gone only its failure is known."""
    found = Choice([], [])
    slow = {str(priority): seconds for priority, seconds in settings.trace_slow.items()}
    for end in ends:
        try:
            why = _reason(end, settings, slow)
        except Exception as error:  # noqa: BLE001 - one request must not hold up all others
            found.broken.append(Broken(end.seq, end.id, error))
            continue
        if why is not None:
            found.kept.append((end, why))
    return found


def _reason(end: Ended, settings: Settings, slow: dict[str, float]) -> str | None:
    context = end.context
    return sampling.reason(
        end.happened.upper(),
        end.seconds,
        end.priority,
        end.trace_id,
        asked=context is not None and context.sampled,
        share=settings.trace_sample,
        slow=slow,
    )
