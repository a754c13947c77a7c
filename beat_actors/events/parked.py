"""Events that a sink did not take while it took others, and what operators do about them; sinks that are configured no more."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, NamedTuple

import msgspec

from beat_actors import audit
from beat_actors.database import Database, Statements, Transaction
from beat_actors.errors import BadInput, Conflict, NotFound
from beat_actors.events.positions import ALONE, UNPARK
from beat_actors.events.sink import Trouble
from beat_actors.events.status import check_sink
from beat_actors.shapes import one_of
from beat_actors.text import check_text

MOST_RETRIED = 10_000
"""Parked events that one call makes due."""
MOST_NAMED = 1000
"""Places that one call names."""
MOST_LISTED = 1000
FORGET_BATCH = 10_000
TROUBLES = tuple(Trouble)


class ParkedView(msgspec.Struct, frozen=True, kw_only=True):
    """A parked event. `trouble`, `reason`: why the sink refused it last, after so many `tries` since it was parked. `next_at`: when it is tried again; null:
    when somebody asks for it, or when the earlier event of its subject that it is `behind` was sent or dropped. `id` and `type` are null where the
    event is past its retention."""

    sink: str
    seq: int
    id: str | None
    type: str | None
    subject: str
    trouble: str
    reason: str
    behind: bool
    tries: int
    parked_at: datetime
    next_at: datetime | None


class Parked(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Parked events of a sink: those at the places `seqs`, of the subject and with the trouble. What is not given may be any."""

    sink: str
    seqs: Annotated[list[int], msgspec.Meta(max_length=MOST_NAMED)] = []
    subject: str | None = None
    trouble: Annotated[str, one_of(TROUBLES)] | None = None


class Given(NamedTuple):
    """A parked event that is given up."""

    seq: int
    id: str | None
    subject: str


class Forgotten(msgspec.Struct, frozen=True):
    """A sink that was forgotten: the place that it had reached, and how many events it got."""

    seq: int
    sent: int


SQL = Statements(__file__)
LIST = SQL("list", ParkedView)
RETRY = SQL("retry")
LOCK = SQL("lock", Given)
HELD = SQL("held", bool)
FORGET_PARKED = SQL("forget_parked")
FORGET_REPLAYS = SQL("forget_replays")
FORGET = SQL("forget", Forgotten)


async def parked(transaction: Transaction, sink: str | None = None, *, limit: int = 100) -> list[ParkedView]:
    """Those of a sink, or of all, at most `MOST_LISTED`. Raises `UnknownName`."""
    if sink is not None:
        await check_sink(transaction, sink)
    return await transaction.rows(LIST, {"sink": sink, "limit": min(limit, MOST_LISTED)})


async def retry(transaction: Transaction, wanted: Parked, *, actor: str, reason: str | None = None) -> int:
    """Have up to `MOST_RETRIED` parked events sent again now; how many. Those that wait behind an earlier one of their subject follow it.

    Raises `UnknownName`, `BadInput`.
    """
    check_text(wanted.subject or "", "subject", longest=500)
    check_text(reason or "", "reason", longest=1000)
    if wanted.trouble not in (None, *TROUBLES):
        raise BadInput(f"trouble is one of {', '.join(TROUBLES)}", field="trouble")
    _check_places(wanted.seqs)
    await check_sink(transaction, wanted.sink)
    chosen = {"seqs": wanted.seqs or None, "subject": wanted.subject, "trouble": wanted.trouble}
    count = await transaction.run(RETRY, chosen | {"sink": wanted.sink, "limit": MOST_RETRIED})
    detail = chosen | {"count": count, "reason": reason}
    await audit.record(transaction, actor=actor, action="event.retry", target=f"sink/{wanted.sink}", detail=detail)
    return count


async def drop(transaction: Transaction, sink: str, seqs: Sequence[int], *, actor: str, reason: str) -> int:
    """Give up parked events for good; the next event of each subject is tried then. How many.

    Raises `UnknownName`, `BadInput`, and `NotFound` where none of them is parked.
    """
    check_text(reason, "reason", longest=1000)
    if not seqs:
        raise BadInput("name the places of the events that are dropped", field="seqs")
    _check_places(seqs)
    await check_sink(transaction, sink)
    await transaction.run(ALONE, {"sink": sink})
    given = await transaction.rows(LOCK, {"sink": sink, "seqs": list(seqs)})
    if not given:
        raise NotFound(f"none of these events is parked for the sink {sink}")
    await transaction.run(UNPARK, {"sink": sink, "seqs": [one.seq for one in given]})
    detail = {"events": [one._asdict() for one in given], "reason": reason}
    await audit.record(transaction, actor=actor, action="event.drop", target=f"sink/{sink}", detail=detail)
    return len(given)


async def forget(database: Database, sink: str, *, actor: str, reason: str) -> Forgotten:
    """Remove a sink that is configured no more: its place, its parked events and its replays. One that is configured again begins anew.

    Raises `UnknownName`, and `Conflict` where a publisher has it.
    """
    check_text(reason, "reason", longest=1000)
    held = (
        f"a publisher that runs has the sink {sink}; take it out of BEAT_EVENT_SINKS and restart the publishers first"
    )
    async with database.transaction() as transaction:
        await check_sink(transaction, sink)
        if await transaction.value(HELD, {"sink": sink}):
            raise Conflict(held)
        await audit.record(
            transaction, actor=actor, action="sink.forget", target=f"sink/{sink}", detail={"reason": reason}
        )
    # The row goes last, so that what breaks off can be done again.
    async with database.statements() as alone:
        while await alone.run(FORGET_PARKED, {"sink": sink, "limit": FORGET_BATCH}) == FORGET_BATCH:
            pass
        await alone.run(FORGET_REPLAYS, {"sink": sink})
        forgotten = await alone.row(FORGET, {"sink": sink})
    if forgotten is None:
        raise Conflict(held)
    return forgotten


def _check_places(seqs: Sequence[int]) -> None:
    if len(seqs) > MOST_NAMED:
        raise BadInput(f"at most {MOST_NAMED:,} places at once", field="seqs")
    if any(not 0 < seq < 2**63 for seq in seqs):
        raise BadInput("seqs are places of the log, as the list shows them", field="seqs")
