"""How far each sink has got: its place in the log, its lease, what it did not take, and what it is sent once more."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from beat_actors.database import Statements
from beat_actors.events.sink import Event
from beat_actors.traces.onward import of_row

PAGE = 2000
"""Places that one statement reads."""
SHOWN = len("2026-11-29T12:00:00.123456")
"""Characters of a time with all its digits."""


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


class Stored(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An event of the log as the statements give it, an array of JSON. `account_id`: empty or None for none. `time`: UTC, without zone and with as many digits
    of the second as it needs. `request_id` to `trace`: the request that it is of, if its caller sent a trace, as `traces.onward` takes it."""

    seq: int
    id: str
    type: str
    subject: str
    version: int | None
    account_id: str | None
    time: str
    data: msgspec.Raw
    request_id: int | None
    created_at: datetime | None
    runs: int | None
    trace: bytes | None

    def event(self, *, replay: bool = False) -> Event:
        time = self.time
        if len(time) != SHOWN:
            time = time[:19] + "." + time[20:].ljust(6, "0")
        account, data = self.account_id or None, str(self.data, "utf-8")
        trace = None if self.trace is None else of_row(self, self.id, self.type)
        # As `Event(…)`, which would cost as much as all the rest.
        values = (self.seq, self.id, self.type, self.subject, self.version, account, time + "Z", data, replay, trace)
        return tuple.__new__(Event, values)


class Read(Stored, array_like=True, frozen=True, gc=False):
    """An event that comes for the first time. `held`: an earlier event of its subject is parked."""

    held: bool


class Due(Stored, array_like=True, frozen=True, gc=False):
    """A parked event whose next try is due. `tries`: those that failed since it was parked."""

    tries: int


class Page(NamedTuple):
    """A page of the log. `seq`: the last place that was looked at; None: there are no more. `events`: those that are wanted, as `read` takes them."""

    seq: int | None
    events: str


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
READ = SQL("read", Page)
PARK = SQL("park")
UNHELD = SQL("unheld")
DUE = SQL("due", str)
ALONE = SQL("alone")
UNPARK = SQL("unpark")
REFUSED_AGAIN = SQL("refused_again")
REPLAY = SQL("replay", Replay)
REPLAYED = SQL("replayed")
LOOK = SQL("look", Look)
read = msgspec.json.Decoder(list[Read]).decode
due = msgspec.json.Decoder(list[Due]).decode


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
