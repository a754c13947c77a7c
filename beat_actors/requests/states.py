"""The states of a request, and which follows which. `tests/unit/repository/test_states.py` holds the statements to it."""

from collections.abc import Mapping
from enum import StrEnum


class Status(StrEnum):
    """Rows have the plain text, which compares equal."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    """A worker has claimed a call for it."""
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


MOVES: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.PROCESSING, Status.COMPLETE, Status.FAILED, Status.CANCELLED}),
    Status.PROCESSING: frozenset({Status.COMPLETE, Status.FAILED, Status.CANCELLED}),
    Status.COMPLETE: frozenset(),
    Status.FAILED: frozenset({Status.PENDING, Status.PROCESSING}),
    Status.CANCELLED: frozenset({Status.PENDING, Status.PROCESSING}),
}
"""What failed or was cancelled runs again where somebody retries it, or where it is read again from quarantine."""
