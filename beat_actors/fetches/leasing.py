"""What the broker's turn does to fetches, under the platform's lock: it wakes them, leases them, and moves them on after their call."""

from beat_actors.database import Statements

SQL = Statements(__file__)
USE_WITHIN = 10.0
"""Seconds within which a lease must be taken up, so that what is known of credentials and breakers when it is given still holds."""

WAKE = SQL("wake")
LEASE = SQL("lease", int)
MOVE = SQL("move")
