"""The log of events: one order for all readers.

An event is a row of `event`, written by the statement that makes what it says. The sequencer gives it a place, `seq`, without gaps. Every reader, be
it a sink, the webhooks or the feed of changes, keeps the place up to which it has read, and reads on in the order of places.
"""

from typing import NamedTuple

from beat_actors.database import Statements, Transaction

SEQUENCED = 1000
"""Events that one statement gives a place."""


class Sequenced(NamedTuple):
    """How many events got a place, and the last place of the log."""

    moved: int
    last: int


SQL = Statements(__file__)
SEQUENCE = SQL("sequence", Sequenced)
LAST = SQL("last", int)
BEHIND = SQL("behind", int)
"""The place behind which every event lies that happened at `at` or later."""


async def sequence(alone: Transaction) -> Sequenced:
    """Give up to `SEQUENCED` pending events their places. Where that many got one there may be more."""
    return await alone.only(SEQUENCE, {"limit": SEQUENCED})
