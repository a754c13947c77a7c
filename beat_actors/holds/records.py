"""Rows of `held_record`, and the held records that they are."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from beat_actors.database import Statements, Transaction, jsonb
from beat_actors.failpoints import hit
from beat_actors.trust.judgement import Reason
from beat_actors.trust.memory import Known
from beat_actors.trust.witnesses import ENDED, Held, Report, State

BY_BEAT = "beat"
"""Who decides where no person does."""
LOOKED_AT_AFTER = 600.0
"""Seconds after which it is looked whether a source is still being asked. Longer than a source has for its answer."""


class Question(msgspec.Struct, frozen=True):
    """How another source is asked about the thing."""

    operation: str
    params: dict[str, Any]


class About(NamedTuple):
    """The thing that a record is about, for one account and owner."""

    platform: str
    kind: str
    key: str
    account_id: str
    owner: str


class HeldRecord(msgspec.Struct):
    """A record that is not written, or not all of it. `record`: as JSON. `id`: 0 until it is stored. `held` says which fields are held, and how
    far the question is."""

    about: About
    fetch_id: int
    request_id: int
    operation: str
    parser_version: int
    rules_version: int
    priority: int
    observed_at: datetime
    record: msgspec.Raw
    fields: tuple[str, ...]
    reasons: tuple[Reason, ...]
    score: int
    held: Held
    question: Question | None
    id: int = 0

    @property
    def source(self) -> str:
        return self.held.said.source


class Row(NamedTuple):
    """A row as it is read; JSON as text, times in epoch seconds but `observed_at`."""

    id: int
    platform: str
    kind: str
    key: str
    account_id: str
    owner: str
    fetch_id: int
    request_id: int
    source: str
    operation: str
    parser_version: int
    rules_version: int
    priority: int
    observed_at: datetime
    record: str
    fields: list[str]
    reasons: str
    score: int
    said: str
    good: str
    witnesses: str
    question: str | None
    state: str
    asks: str
    asked: list[str]
    rounds: int
    held_at: float
    next_at: float | None
    why: str

    def read(self) -> HeldRecord:
        held = Held(
            REPORT.decode(self.said),
            GOOD.decode(self.good),
            self.held_at,
            State(self.state),
            self.asks,
            tuple(self.asked),
            WITNESSES.decode(self.witnesses),
            self.rounds,
            self.next_at,
            self.why,
        )
        return HeldRecord(
            About(self.platform, self.kind, self.key, self.account_id, self.owner),
            self.fetch_id,
            self.request_id,
            self.operation,
            self.parser_version,
            self.rules_version,
            self.priority,
            self.observed_at,
            msgspec.Raw(self.record.encode()),
            tuple(self.fields),
            REASONS.decode(self.reasons),
            self.score,
            held,
            None if self.question is None else QUESTION.decode(self.question),
            self.id,
        )


class Put(NamedTuple):
    place: int
    id: int


REPORT = msgspec.json.Decoder(Report)
GOOD = msgspec.json.Decoder(dict[str, Known])
WITNESSES = msgspec.json.Decoder(tuple[Report, ...])
REASONS = msgspec.json.Decoder(tuple[Reason, ...])
QUESTION = msgspec.json.Decoder(Question)
SQL = Statements(__file__)
TAKE = SQL("take", Row)
PUT = SQL("put", Put)
CHANGE = SQL("change")


async def take(transaction: Transaction, ids: Sequence[int]) -> list[HeldRecord]:
    """Lock these, and read them; without those that are decided."""
    return [row.read() for row in await transaction.rows(TAKE, {"ids": list(ids)})]


async def put(transaction: Transaction, records: Sequence[HeldRecord]) -> None:
    """Store these, and give each its id. One stays without where another record of the same thing is held."""
    rows = [{"place": place, **_columns(record)} for place, record in enumerate(records)]
    for row in await transaction.rows(PUT, {"records": jsonb(rows), "by": BY_BEAT}):
        records[row.place].id = row.id
    hit("hold.after_put", [record.fetch_id for record in records])


async def change(transaction: Transaction, records: Iterable[HeldRecord], *, by: str = BY_BEAT) -> None:
    """Write what became of these."""
    rows = [_columns(record) for record in records]
    ended = [row["fetch_id"] for row in rows if row["state"] in ENDED]
    if ended:
        hit("hold.before_decision", ended)
    await transaction.run(CHANGE, {"records": jsonb(rows), "by": by})
    if ended:
        hit("hold.after_decision", ended)


def _columns(record: HeldRecord) -> dict[str, Any]:
    held = record.held
    return {
        **record.about._asdict(),
        "id": record.id,
        "fetch_id": record.fetch_id,
        "request_id": record.request_id,
        "source": record.source,
        "operation": record.operation,
        "parser_version": record.parser_version,
        "rules_version": record.rules_version,
        "priority": record.priority,
        "observed_at": record.observed_at,
        "record": record.record,
        "fields": record.fields,
        "reasons": record.reasons,
        "score": record.score,
        "said": held.said,
        "good": held.good,
        "witnesses": held.witnesses,
        "question": record.question,
        "state": held.state,
        "asks": held.asks,
        "asked": held.asked,
        "rounds": held.rounds,
        "held_at": held.since,
        # One that is asked about is looked at again, in case that nothing comes of the call.
        "next_at": held.next_at if held.state is not State.ASKING else held.since + LOOKED_AT_AFTER,
        "why": held.why,
    }
