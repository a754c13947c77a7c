"""The states of a request, and which follows which. `tests/unit/repository/test_states.py` holds the statements to it."""

from collections.abc import Mapping
from enum import IntEnum, StrEnum

from beat_actors.errors import BadInput


class Priority(IntEnum):
    """Strict classes; a lower number goes first."""

    CUSTOMER = 1
    STANDARD = 2
    BATCH = 3

    @property
    def word(self) -> str:
        """Its name as consumers write it."""
        return self.name.lower()

    @classmethod
    def named(cls, name: str) -> "Priority":
        """Raises `BadInput`."""
        try:
            return cls[name.upper()]
        except KeyError:
            raise BadInput(f"priority is customer, standard or batch, not {name!r}", field="priority") from None


class Status(StrEnum):
    """Rows have the plain text, which compares equal."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    """A worker has claimed a call for it."""
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


ENDED = frozenset({Status.COMPLETE, Status.FAILED, Status.CANCELLED})
MOVES: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.PROCESSING, Status.COMPLETE, Status.FAILED, Status.CANCELLED}),
    Status.PROCESSING: frozenset({Status.COMPLETE, Status.FAILED, Status.CANCELLED}),
    Status.COMPLETE: frozenset(),
    Status.FAILED: frozenset({Status.PENDING, Status.PROCESSING}),
    Status.CANCELLED: frozenset({Status.PENDING, Status.PROCESSING}),
}
"""What failed or was cancelled runs again where somebody retries it, or where it is read again from quarantine."""
