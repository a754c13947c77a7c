"""What the broker's turn does to fetches, under the platform's lock: it wakes them, leases them, and moves them on after their call."""

from datetime import datetime
from typing import NamedTuple

from beat_actors.database import Statements

SQL = Statements(__file__)
USE_WITHIN = 10.0
"""Seconds within which a lease must be taken up, so that what is known of credentials and breakers when it is given still holds."""


class Ungranted(NamedTuple):
    id: int
    owner: str


class Moved(NamedTuple):
    """A fetch that was moved on. `until`: it waits until then; None: it may be leased at once, or has ended."""

    request_id: int
    until: datetime | None
    reason: str | None


WAKE = SQL("wake")
LEASE = SQL("lease", int)
UNGRANTED = SQL("ungranted", Ungranted)
MOVE = SQL("move", Moved)
