"""That no event overtakes one which was refused, in a sink whose calls wait for one another."""

import time

from beat_actors.events.sink import Refusal

HELD_FOR = 1.0
"""Seconds in which calls with later events are refused as well: the relay may have made them before it knew of the refusal."""


class Holding:
    """The first event that was refused and has not come again since."""

    def __init__(self) -> None:
        self._held: tuple[int, Refusal, float] | None = None

    def hold(self, seq: int, refusal: Refusal) -> None:
        """Nothing if an earlier event is held."""
        if self._held is None:
            self._held = seq, refusal, time.monotonic() + HELD_FOR

    def refusal(self, seq: int) -> Refusal | None:
        """Why events from this one on may not be sent yet; None if they may, which ends the holding."""
        if self._held is None:
            return None
        held, refusal, until = self._held
        if seq > held and time.monotonic() < until:
            return refusal
        self._held = None
        return None
