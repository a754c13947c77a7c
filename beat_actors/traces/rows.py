"""The rows that a trace is made of. Pure."""

import hashlib
import uuid
from datetime import datetime
from typing import NamedTuple, Self

from beat_actors.traces.context import Context, Ids, ids

MOST_FETCHES, MOST_CALLS = 200, 400
"""Of one request."""
MOST_RUNS = 100
"""Runs of a request that are tried to find which one an event is of."""


class Ended(NamedTuple):
    """A request that has ended, as of its end."""

    seq: int
    event_id: str
    type: str
    account_id: str | None
    id: int
    platform: str
    flow: str
    priority: str
    created_at: datetime
    picked_at: datetime | None
    scraped_at: datetime
    batch_id: int | None
    code: str | None
    items: int | None
    run: int | None
    trace: bytes | None
    accepted_as: str | None
    leader_id: int | None
    leader_created_at: datetime | None
    leader_run: int | None
    leader_trace: bytes | None

    @property
    def happened(self) -> str:
        """complete, failed or cancelled."""
        return self.type.rpartition(".")[2]

    @property
    def context(self) -> Context | None:
        """What the caller sent."""
        return Context.read(self.trace)

    @property
    def ids(self) -> Ids:
        return ids(self.id, self.created_at, self.run or 0, self.context)

    @property
    def seconds(self) -> float:
        """From its acceptance to its end; of a later run from its first call."""
        begun = self.created_at if not self.run else self.picked_at or self.scraped_at
        return (self.scraped_at - begun).total_seconds()

    def of_its_run(self) -> Self:
        """With the run that ended here: the row's, or an earlier one if it runs again by now."""
        run = run_of(self.id, self.happened, self.run or 0, self.event_id)
        return self if run is None else self._replace(run=run)


class FetchRow(NamedTuple):
    """A fetch. `sent_at`: when it was last handed to a stage; `claimed_at`: when a stage last took it."""

    request_id: int
    run: int
    id: int
    operation: str
    page: int
    stage: str
    source: str | None
    attempt: int
    rotations: int
    retries: int
    created_at: datetime
    sent_at: datetime | None
    claimed_at: datetime | None
    parser_version: int | None
    code: str | None


class CallRow(NamedTuple):
    """A call, of which `at` is when it was written down. `fetch_id`: `None` of a check of a credential that its answer needed."""

    request_id: int
    fetch_id: int | None
    at: datetime
    attempt: int | None
    platform: str
    source: str
    operation: str
    method: str
    url: str
    status: int | None
    ms: float | None
    bytes: int | None
    outcome: str


class DeliveryRow(NamedTuple):
    """A delivery of an event of a request to an endpoint."""

    request_id: int
    event_id: str
    type: str
    endpoint_id: int
    occurred_at: datetime
    ended_at: datetime
    attempt: int
    state: str
    status: int | None


class Rows(NamedTuple):
    """What belongs to one ended request."""

    ended: Ended
    fetches: list[FetchRow]
    calls: list[CallRow]
    deliveries: list[DeliveryRow]


def event_id(request_id: int, happened: str, run: int) -> str:
    """The id of an event of a run of a request, as `requests/lifecycle.publish` makes it."""
    said = f"request {request_id} {happened.upper()} {run}".encode()
    return str(uuid.UUID(hashlib.md5(said, usedforsecurity=False).hexdigest()))


def run_of(request_id: int, happened: str, runs: int, event: str) -> int | None:
    """Which run of a request an event with this id is of: the last one, `runs`, or an earlier one; `None` if none of the last `MOST_RUNS`."""
    for run in range(runs, max(-1, runs - MOST_RUNS), -1):
        if event_id(request_id, happened, run) == event:
            return run
    return None
