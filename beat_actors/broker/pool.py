"""The credentials of a source that can serve an operation now, and a draw among them by weight. Pure."""

from bisect import bisect
from collections.abc import Callable, Iterable
from itertools import accumulate
from random import Random

from beat_actors.broker.state import Credential, Lane, Snapshot
from beat_actors.broker.windows import CUSTOMER, Window


class Pool:
    """The credentials of one source that can serve one operation now, drawn by weight until each has no room."""

    def __init__(self, snapshot: Snapshot, source: str, lane: Lane) -> None:
        self.now = snapshot.now
        self.priority = lane.priority
        self.operation = lane.operation
        members = [
            credential
            for credential in snapshot.serving(source, lane.owner)
            if usable(credential, lane.operation, snapshot.now)
        ]
        self._snapshot = snapshot
        self._windows: dict[int, list[Window]] = {}
        self._with_room = Drawing(members, self._has_room)
        self._soon = Drawing(members, self._opens)

    def find(self, rng: Random) -> Credential | None:
        """A credential at random by weight among those with room; `None` when there is none. Takes nothing."""
        return self._with_room.draw(rng)

    def find_soon(self, rng: Random) -> Credential | None:
        """The same among those with which a call can be leased now for a time that is near."""
        return self._soon.draw(rng)

    def take(self, credential: Credential) -> float | None:
        """Take room for one call from all limits, which have it; the time from which they do, `None` for now."""
        windows = self._windows_of(credential)
        at = max((window.next_room(self.priority) for window in windows), default=self.now)
        take(credential, windows)
        return at if at > self.now else None

    def _windows_of(self, credential: Credential) -> list[Window]:
        """Looked up for those that are drawn, which few of many are."""
        windows = self._windows.get(credential.id)
        if windows is None:
            windows = self._snapshot.windows_of(credential.id, credential.source, self.operation)
            self._windows[credential.id] = windows
        return windows

    def _may(self, credential: Credential) -> bool:
        """Asked anew for each lease, since a lease may have been a probe's."""
        is_out = credential.probing or exhausted_by_report(credential, self.now)
        return not is_out and credential.may(self.operation, self.now)

    def _has_room(self, credential: Credential) -> bool:
        if not self._may(credential):
            return False
        return has_room(self._windows_of(credential), self.priority)

    def _opens(self, credential: Credential) -> bool:
        if not self._may(credential):
            return False
        return all(window.opens(self.priority) <= self.now for window in self._windows_of(credential))


MISSES = 4
"""Draws in a row that do not fit, after which all members are looked at."""


class Drawing:
    """Credentials that are drawn by weight, until none of them fits any more: within a turn, what does not fit never will."""

    def __init__(self, members: list[Credential], fits: Callable[[Credential], bool]) -> None:
        self._members = list(members)
        self._fits = fits
        self._weigh()

    def draw(self, rng: Random) -> Credential | None:
        """One at random; `None` when there is none. Takes nothing."""
        misses = 0
        while self._members:
            place = bisect(self._cumulated, rng.random() * self._cumulated[-1])
            if self._fits(self._members[place]):
                return self._members[place]
            misses += 1
            if misses < MISSES:
                self._members[place] = self._members[-1]
                self._members.pop()
            else:  # a limit of the whole source empties every member at once: one pass, not one draw each
                self._members = [other for other in self._members if self._fits(other)]
            self._weigh()
        return None

    def _weigh(self) -> None:
        self._cumulated = list(accumulate(member.weight for member in self._members))


def usable(credential: Credential, operation: str, now: float) -> bool:
    """Whether the credential may be used at all; its limits are another matter."""
    return (
        credential.enabled
        and not credential.dead
        and not credential.probing
        and credential.may(operation, now)
        and not credential.cools_down(now)
        and not credential.is_stale(now)
    )


def has_room(windows: Iterable[Window], priority: int = CUSTOMER) -> bool:
    return all(window.left(priority) > 0 for window in windows)


def take(credential: Credential, windows: Iterable[Window]) -> None:
    """Take room for one call from all limits, which were seen to have it."""
    for window in windows:
        window.hold()
    if credential.reported_remaining is not None:
        credential.reported_remaining -= 1
        credential.changed = True


def exhausted_by_report(credential: Credential, now: float) -> bool:
    return (
        credential.reported_remaining is not None
        and credential.reported_remaining <= 0
        and credential.reported_reset_at is not None
        and credential.reported_reset_at > now
    )
