"""How far each sink has got: its place in the log, its lease, what it did not take, and what it is sent once more."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from beat_actors.database import Statements
from beat_actors.events.sink import Event
from beat_actors.traces.onward import of_row

PAGE = 2000
"""Places that one statement reads."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a sink gets. `accounts`: of these alone; None: all. `waits`: later events of a subject wait behind one that is set aside."""

    types: Sequence[str] = ("*",)
    accounts: Sequence[str] | None = None
    waits: bool = True


class Leased(NamedTuple):
    """A lease, the place up to which everything is settled, and the last event that the sink has stored."""

    fence: int
    seq: int
    stored: int


class Read(NamedTuple):
    """A place of the log with its event, None in all fields but `seq` where the sink does not want it. `held`: an earlier event of its subject is
    parked. `request_id` to `trace`: the request that it is of, as `traces.onward` takes it."""

    seq: int
    id: str | None
    type: str
    subject: str
    version: int | None
    account_id: str | None
    time: str
    data: str
    request_id: int | None
    created_at: datetime | None
    runs: int | None
    trace: bytes | None
    held: bool

    def event(self, *, replay: bool = False) -> Event:
        return Event(self.seq, self.id or "", *self[2:8], replay, of_row(self, self.id or "", self.type))


class Due(NamedTuple):
    """A parked event whose next try is due. `tries`: those that failed since it was parked."""

    seq: int
    id: str
    type: str
    subject: str
    version: int | None
    account_id: str | None
    time: str
    data: str
    request_id: int | None
    created_at: datetime | None
    runs: int | None
    trace: bytes | None
    tries: int

    def event(self, *, replay: bool = False) -> Event:
        return Event(*self[:8], replay, of_row(self, self.id or "", self.type))


class Replay(NamedTuple):
    """Events up to `to_seq`, of these types and this subject, `rate` of them in a second; sent up to `position`. `backfill`: those that were
    written for a backfill, and no others."""

    id: int
    to_seq: int
    types: list[str]
    subject: str | None
    rate: int
    position: int
    backfill: bool


class Look(NamedTuple):
    """What a sink has to be sent again."""

    due: bool
    replay: bool


SQL = Statements(__file__)
ENROLL = SQL("enroll")
LEASE = SQL("lease", Leased)
SAVE = SQL("save", int)
RELEASE = SQL("release")
READ = SQL("read", Read)
PARK = SQL("park")
UNHELD = SQL("unheld")
DUE = SQL("due", Due)
ALONE = SQL("alone")
UNPARK = SQL("unpark")
REFUSED_AGAIN = SQL("refused_again")
REPLAY = SQL("replay", Replay)
REPLAYED = SQL("replayed")
LOOK = SQL("look", Look)


def reading(
    after: int, up_to: int, limit: int, wanted: Wanted, replay: Replay | None = None, *, sink: str | None = None
) -> dict[str, Any]:
    """The parameters of READ: what is new, or what a replay sends. `sink`: the one whose parked events hold up others."""
    return {
        "after": after,
        "up_to": up_to,
        "limit": limit,
        "types": expression(wanted.types),
        "accounts": None if wanted.accounts is None else list(wanted.accounts),
        "subject": replay and replay.subject,
        "backfill": replay is not None and replay.backfill,
        "sink": sink,
    }


def expression(patterns: Sequence[str]) -> str | None:
    """Patterns of types (`catalog.matches`) as one regular expression for PostgreSQL; None: all types."""
    if "*" in patterns:
        return None
    return "^(" + "|".join(_one(pattern) for pattern in patterns) + ")$"


def _one(pattern: str) -> str:
    return re.escape(pattern[:-1]) + ".*" if pattern.endswith(".*") else re.escape(pattern)
