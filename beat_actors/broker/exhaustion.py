"""Which credentials have used up limits of their own, or what their provider says is left, and until when, so that turns need not load them. Pure."""

from collections.abc import Iterable

from beat_actors.broker.pool import exhausted_by_report
from beat_actors.broker.state import Credential, Snapshot
from beat_actors.platforms.interface import Platform

SHORT = 10.0
"""Seconds for which it is not worth a write."""


def newly_full(snapshot: Snapshot, platform: Platform) -> dict[int, float | None]:
    """Of the loaded credentials those of which it is known better now: until when each has no room, `None` where it has."""
    full = {w.subject for w in snapshot.windows.values() if w.limit.scope == "credential" and w.left() <= 0}
    known: dict[int, float | None] = {}
    for one in snapshot.credentials.values():
        reported = one.reported_reset_at if exhausted_by_report(one, snapshot.now) else None
        known_full = reported is not None or f"credential:{one.id}" in full
        if one.source not in platform.sources or (one.full_until is None and not known_full):
            continue
        until = _full_until(snapshot, one, platform.sources[one.source].endpoints)
        if reported is not None and reported > snapshot.now + SHORT:
            until = max(until or 0.0, reported)
        if (until is None) != (one.full_until is None) or abs((until or 0.0) - (one.full_until or 0.0)) > SHORT:
            known[one.id] = until
    return known


def _full_until(snapshot: Snapshot, credential: Credential, operations: Iterable[str]) -> float | None:
    """When its limits have room again for the operation that can be called soonest."""
    soonest = None
    for operation in operations:
        own = [
            window
            for window in snapshot.windows_of(credential.id, credential.source, operation)
            if window.limit.scope == "credential" and window.left() <= 0
        ]
        until = max((window.next_room() for window in own), default=snapshot.now)
        if until <= snapshot.now + SHORT:
            return None
        soonest = until if soonest is None else min(soonest, until)
    return soonest
