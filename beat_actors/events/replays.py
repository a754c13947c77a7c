"""Events that are sent to a sink once more because somebody asked for it. The relay of the sink sends them beside what is new, at a rate (`again`)."""

from datetime import datetime
from typing import Annotated

import msgspec

from beat_actors import audit
from beat_actors.database import Statements, Transaction
from beat_actors.errors import BadInput, Conflict, NotFound
from beat_actors.events.log import BEHIND, LAST
from beat_actors.events.reading import check_types
from beat_actors.events.status import check_sink
from beat_actors.moments import in_utc, moment
from beat_actors.text import check_text

MOST_RATE = 50_000
MOST_OPEN = 100
"""Replays of a sink that have not ended."""
MOST_LISTED = 1000
PLACE = 2**63 - 1

Place = Annotated[int, msgspec.Meta(ge=1, le=PLACE)]


class ReplayView(msgspec.Struct, frozen=True, kw_only=True):
    """A replay of the events from place `from_seq` to `to_seq` to a sink, of these types and this subject, `rate` a second.

    `position`: the last place that was sent. `sent`: events that were. `eta_seconds`: until it ends at the latest, at its rate; `None`: it has ended.
    `error`: why the last event that the sink refused was refused, or that the replay was cancelled. `backfill`: it sends events that were written into
    the log for it.
    """

    id: int
    sink: str
    from_seq: int
    to_seq: int
    types: list[str]
    subject: str | None
    rate: int
    position: int
    sent: int
    reason: str
    backfill: bool
    created_at: datetime
    ended_at: datetime | None
    error: str | None
    eta_seconds: float | None


class NewReplay(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which events are sent once more, and to which sink.

    From a place in the log (`from_seq`) or a time (`from_time`), both included, to a place or a time; to the present end of the log if neither is given.
    `types`: patterns such as `beat.alert.*`; all if none is given. `rate`: events a second.
    """

    sink: str
    from_seq: Place | None = None
    from_time: datetime | None = None
    to_seq: Place | None = None
    to_time: datetime | None = None
    types: list[str] = []
    subject: str | None = None
    rate: Annotated[int, msgspec.Meta(ge=1, le=MOST_RATE)] = 1000


SQL = Statements(__file__)
UNTIL = SQL("until", int)
FIRST = SQL("first", int)
ADD = SQL("add", ReplayView)
LIST = SQL("list", ReplayView)
CANCEL = SQL("cancel", ReplayView)


async def replay(transaction: Transaction, new: NewReplay, *, actor: str, reason: str) -> ReplayView:
    """Ask for a replay. A time is taken for the places that events of that time may have, so a few events around it are sent as well.

    Raises `BadInput`, and `UnknownName` for a sink or a type that does not exist, `Conflict` where a sink has `MOST_OPEN` replays already.
    """
    check(new, reason)
    await check_sink(transaction, new.sink)
    first, last = await transaction.only(FIRST), await transaction.only(LAST)
    begin = new.from_seq
    if new.from_time is not None:
        begin = (await transaction.value(BEHIND, {"at": in_utc(new.from_time, "from_time")}) or 0) + 1
    end = last if new.to_seq is None else min(new.to_seq, last)
    if new.to_time is not None:
        end = await transaction.only(UNTIL, {"at": in_utc(new.to_time, "to_time")})
    assert begin is not None
    begin = max(begin, first)
    if first == 0 or begin > end:
        raise BadInput(f"there are no events between these; the log has the places {first:,} to {last:,}", field="from")
    return await add(transaction, new, begin, end, actor=actor, reason=reason)


async def add(
    transaction: Transaction,
    new: NewReplay,
    begin: int,
    end: int,
    *,
    actor: str,
    reason: str,
    since: datetime | None = None,
) -> ReplayView:
    """Write a replay of the places from `begin` to `end` down, with who asked for it. `since`: it is a backfill whose first event happened then."""
    values = {
        "sink": new.sink,
        "from_seq": begin,
        "to_seq": end,
        "types": new.types or ["*"],
        "subject": new.subject,
        "rate": new.rate,
        "reason": reason,
    }
    made = await transaction.row(ADD, values | {"backfill": since is not None, "since": since, "most": MOST_OPEN})
    if made is None:
        raise Conflict(f"the sink {new.sink} has {MOST_OPEN} replays that have not ended; cancel one, or wait")
    action = "event.replay" if since is None else "event.backfill"
    detail = values | {"id": made.id} | ({} if since is None else {"since": moment(since)})
    await audit.record(transaction, actor=actor, action=action, target=f"sink/{new.sink}", detail=detail)
    return made


async def replays(transaction: Transaction, *, limit: int = 100) -> list[ReplayView]:
    """The newest first, at most `MOST_LISTED`."""
    return await transaction.rows(LIST, {"limit": min(limit, MOST_LISTED)})


async def cancel(transaction: Transaction, replay_id: int, *, actor: str, reason: str) -> ReplayView:
    """End a replay that goes on. Raises `NotFound` where it does not."""
    check_text(reason, "reason", longest=1000)
    ended = await transaction.row(CANCEL, {"id": replay_id})
    if ended is None:
        raise NotFound(f"no replay {replay_id} goes on")
    detail = {"id": replay_id, "position": ended.position, "sent": ended.sent, "reason": reason}
    await audit.record(
        transaction, actor=actor, action="event.replay_cancel", target=f"sink/{ended.sink}", detail=detail
    )
    return ended


def check(new: NewReplay, reason: str) -> None:
    """Raises `BadInput`, and `UnknownName` for a type that does not exist."""
    check_text(reason, "reason", longest=1000)
    if (new.from_seq is None) == (new.from_time is None):
        raise BadInput("give either a place or a time from which events are sent again", field="from")
    if new.to_seq is not None and new.to_time is not None:
        raise BadInput("give a place or a time up to which events are sent again, not both", field="to")
    if not 1 <= new.rate <= MOST_RATE:
        raise BadInput(f"rate is from 1 to {MOST_RATE:,} events a second", field="rate")
    check_types(new.types)
    check_text(new.subject or "", "subject", longest=500)
