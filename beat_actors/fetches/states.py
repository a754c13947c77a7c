"""The stages of a fetch, and which follows which. `tests/unit/repository/test_states.py` holds the statements to it."""

from collections.abc import Mapping
from enum import StrEnum


class Stage(StrEnum):
    """Rows have the plain text, which compares equal."""

    WAITING = "WAITING"
    """For a turn of the broker, or for its time."""
    LEASED = "LEASED"
    """It has a credential, and its call may be in flight."""
    RETRIEVED = "RETRIEVED"
    """Its answer is stored and not read."""
    INGESTED = "INGESTED"
    """What was read of its answer is kept and not written."""
    SETTLING = "SETTLING"
    """The broker decides how it goes on."""
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


MOVES: Mapping[Stage, frozenset[Stage]] = {
    Stage.WAITING: frozenset({Stage.LEASED, Stage.RETRIEVED, Stage.FAILED, Stage.CANCELLED}),
    Stage.LEASED: frozenset({Stage.RETRIEVED, Stage.SETTLING}),
    Stage.RETRIEVED: frozenset({Stage.INGESTED, Stage.DONE, Stage.SETTLING}),
    Stage.INGESTED: frozenset({Stage.DONE, Stage.FAILED}),
    Stage.SETTLING: frozenset({Stage.WAITING, Stage.FAILED, Stage.CANCELLED}),
    Stage.DONE: frozenset(),
    Stage.FAILED: frozenset({Stage.WAITING, Stage.RETRIEVED}),
    Stage.CANCELLED: frozenset(),
}
"""From WAITING to RETRIEVED, and from FAILED, goes what is read again from quarantine (`anew`)."""
