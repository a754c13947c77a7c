"""Which limits stand above a platform's on-demand requests: what it declares, changed by the settings, with the pace made a limit of its own."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from beat_actors.errors import BadSettings
from beat_actors.platforms.interface import RequestLimit
from beat_actors.platforms.registry import platforms
from beat_actors.requests.states import Priority

if TYPE_CHECKING:
    from beat_actors.settings import Settings

REMEMBERED = 3600
"""Seconds of a window from which on it is counted again from PostgreSQL when Redis has lost it; a shorter one is soon over."""
UNBOUNDED = 10**15


@dataclass(frozen=True, slots=True)
class Share:
    """What one account may take of a limit that all share; each account is counted apart. `of`: the limit's position, from 1."""

    of: int
    limit: RequestLimit


@dataclass(frozen=True, slots=True)
class Stack:
    """A platform's limits. A request takes from all of them, or from none. `shares`: what one account may take of them at most."""

    platform: str
    limits: tuple[RequestLimit, ...]
    shares: tuple[Share, ...] = ()


def stacks(settings: "Settings") -> dict[str, Stack]:
    """By platform. Raises `BadSettings` where BEAT_LIMITS names a limit that nobody declares."""
    declared = {one.name: one.on_demand.limits for one in platforms().values() if one.on_demand is not None}
    names = [limit.name for limits in declared.values() for limit in limits]
    known = set(names)
    if len(known) < len(names):
        twice = sorted(name for name in known if names.count(name) > 1)
        raise ValueError(f"limit {twice[0]!r} is declared twice, and both would count in the same key")
    unknown = sorted(settings.limits.keys() - known)
    if unknown:
        raise BadSettings(f"BEAT_LIMITS: there is no limit {unknown[0]!r}; there is: {', '.join(sorted(known))}")
    changed = {name: tuple(_paced(_changed(limits, settings))) for name, limits in declared.items()}
    return {name: Stack(name, limits, _shares(limits, settings.on_demand_share)) for name, limits in changed.items()}


def most(limit: RequestLimit, priority: Priority) -> int:
    """The calls that a window may hold for one more request of this priority to be refused."""
    if limit.spares_customers and priority == Priority.CUSTOMER:
        return UNBOUNDED
    if priority == Priority.BATCH:
        return limit.calls - int(limit.calls * limit.reserve)
    return limit.calls


def _shares(limits: Iterable[RequestLimit], share: float) -> tuple[Share, ...]:
    if share == 1:
        return ()
    return tuple(
        Share(of, replace(limit, name=f"{limit.name}_share", calls=max(1, int(limit.calls * share)), pace=None))
        for of, limit in enumerate(limits, 1)
        if not limit.per_subject
    )


def _changed(limits: Iterable[RequestLimit], settings: "Settings") -> Iterable[RequestLimit]:
    for limit in limits:
        change = settings.limits.get(limit.name)
        if change is None:
            yield limit
            continue
        yield replace(
            limit,
            calls=limit.calls if change.calls is None else change.calls,
            calendar=limit.calendar if change.window is None else change.window == "calendar",
            reserve=limit.reserve if change.reserve is None else change.reserve,
        )


def _paced(limits: Iterable[RequestLimit]) -> Iterable[RequestLimit]:
    for limit in limits:
        yield limit
        if limit.pace is not None:
            even = int(limit.calls * (1 - limit.reserve) * limit.pace / limit.seconds)
            yield RequestLimit(f"{limit.name}_pace", max(1, even), limit.pace, spares_customers=True)
