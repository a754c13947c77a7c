"""The gate before the upsert: what was read of answers is judged, and what cannot be true or has to be confirmed is not written.

A batch costs one statement for each kind of things in it, in one round trip, however many records there are. Held records are stored, and rejected ones
go to quarantine, in the transaction that writes the others.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from beat_actors.database import Answer as Awaited
from beat_actors.database import Statements, Transaction, clock, jsonb
from beat_actors.holds import asking, cohorts, remembering
from beat_actors.holds.asking import pass_over, put_off, silent
from beat_actors.holds.gates import judge_of
from beat_actors.holds.records import HeldRecord, change, put, take
from beat_actors.holds.remembering import Mark, Remembered
from beat_actors.pipeline.judged import Claimed, Judged, Rejected, Written, written_of
from beat_actors.pipeline.judging import Answer, Table
from beat_actors.platforms.registry import platforms
from beat_actors.trust.judgement import WHOLE
from beat_actors.trust.witnesses import State

Kind: TypeAlias = tuple[str, str]
"""A platform and a table."""
SQL = Statements(__file__)
SET_ASIDE = SQL("set_aside")
MEANING = {
    "negative": "a count cannot be negative",
    "beyond_int64": "no count is so large",
    "another_identity": "the answer is about another one than was asked for",
    "before_the_platform": "it is before the platform opened",
    "in_the_future": "it lies in the future",
    "more_than_possible": "it exceeds a count that it cannot exceed",
}


@dataclass(slots=True)
class Gated:
    """A batch after the gate. `written`: what is written, by kind; `judged`: what is held and rejected."""

    written: dict[Kind, list[Written]] = field(default_factory=dict)
    judged: Judged = field(default_factory=Judged)
    marks: dict[Kind, list[Mark]] = field(default_factory=dict)

    def is_judged(self, kind: Kind) -> bool:
        """Whether the records have what the gate says of them."""
        return kind in self.marks


async def judge(transaction: Transaction, claims: Sequence[Claimed], batch: Mapping[Kind, Sequence[Answer]]) -> Gated:
    """Judge a batch, by kind: what was read for these claims. Held records that it may decide are locked, in the order of what they are about."""
    gated = Gated()
    asked = await _asked(transaction, claims)
    tables: list[tuple[Kind, Table, Awaited[Remembered]]] = []
    looked, wanted = (
        clock.elapsed(),
        {cohorts.Key(claim.platform, claim.source, claim.operation, claim.parser_version or 0) for claim in claims},
    )
    unknown = cohorts.WIDENING.unknown(wanted, looked)
    known = Awaited[cohorts.Row]()
    async with transaction.pipeline() as pipeline:
        if unknown:
            known = await pipeline.run(cohorts.KNOW, cohorts.keys(unknown), binary=True)
        for kind, answers in batch.items():
            platform = platforms()[kind[0]]
            entity = platform.entity_in(kind[1])
            how = judge_of(platform, entity)
            if how is None:
                gated.written[kind] = [written_of(one.claim, one.records.decode()) for one in answers]
                continue
            table = Table(platform, entity, how, answers, asked)
            found = Awaited[Remembered]()
            if how.remembers and table.things:
                found = await pipeline.run(*table.question(), binary=True)
            tables.append((kind, table, found))
    at = max((claim.payload_at.timestamp() for claim in claims), default=0.0)
    cohorts.WIDENING.know(unknown, known.rows, looked, at)
    ids = {row.held for _, _, found in tables for row in found.rows if row.held is not None}
    ids -= {record.id for record in asked.values()}
    held = {
        record.about: record for record in (*asked.values(), *(await take(transaction, sorted(ids)) if ids else ()))
    }
    for kind, table, found in tables:
        table.remember(found.rows, held)
        gated.written[kind] = table.judge(gated.judged)
        gated.marks[kind] = table.marks()
    _unheard(gated.judged, asked, claims)
    return gated


async def _asked(transaction: Transaction, claims: Sequence[Claimed]) -> dict[int, HeldRecord]:
    """The held records that fetches of the batch ask about, by the fetch."""
    fetches = {claim.id: claim.witness_of for claim in claims if claim.witness_of is not None}
    if not fetches:
        return {}
    taken = {record.id: record for record in await take(transaction, sorted(set(fetches.values())))}
    return {fetch: taken[record] for fetch, record in fetches.items() if record in taken}


def _unheard(judged: Judged, asked: Mapping[int, HeldRecord], claims: Sequence[Claimed]) -> None:
    """A source that was asked about a held record, and whose answer says nothing of it, has no answer."""
    by_id = {claim.id: claim for claim in claims}
    for fetch, record in asked.items():
        claim = by_id[fetch]
        if record.id not in judged.heard and record.held.state is State.ASKING and record.held.asks == claim.source:
            silent(record, claim.payload_at.timestamp())
            judged.told(record, confirms=None)
            judged.note(record)
            judged.ask(record, claim)


async def hold(transaction: Transaction, gated: Gated) -> None:
    """Store what is held and decided, and set aside what is rejected. Before the entities are written, so that all transactions take their locks
    in one order."""
    if gated.judged.asking:
        await pass_over(transaction, [one.record for one in gated.judged.asking])
    await _count(transaction, gated.judged)
    if gated.judged.changed:
        await change(transaction, gated.judged.changed)
    if gated.judged.new:
        await put(transaction, gated.judged.new)
    if gated.judged.rejected:
        await transaction.run(SET_ASIDE, {"entries": jsonb([_entry(one) for one in gated.judged.rejected])})


async def _count(transaction: Transaction, judged: Judged) -> None:
    """Count what was observed, and put off the questions that are too many."""
    counted = cohorts.to_write(judged.counted, [one.record for one in judged.asking])
    if not counted:
        return
    standing, now = await cohorts.take(transaction, counted)
    for key, counts in counted.items():
        standing[key].count(counts, now)
    for record in (one.record for one in judged.asking):
        if record.held.state is State.ASKING and not standing[cohorts.key_of(record)].may_ask():
            put_off(record, now)
    await cohorts.write(transaction, standing)


async def ask(transaction: Transaction, gated: Gated) -> tuple[Counter[int], set[str]]:
    """Ask other sources about what is held, by fetches that follow those of the batch: how many follow each, and the platforms that have new work."""
    return await asking.ask(transaction, gated.judged.asking) if gated.judged.asking else (Counter(), set())


async def mark(transaction: Transaction, gated: Gated) -> None:
    """Mark the things of which a record is held from now on, or no more. After the entities are written."""
    for (platform, table), marks in sorted(gated.marks.items()):
        if marks:
            await remembering.mark(transaction, platforms()[platform].entity_in(table), marks)


def _entry(rejected: Rejected) -> dict[str, object]:
    reason = rejected.reason
    field_name = reason.field if reason.field != WHOLE else "the record"
    value = "" if reason.now is None else f" is {reason.now:.15g}"
    said = MEANING.get(reason.rule, "it cannot be true")
    return {
        "id": rejected.claim.id,
        "version": rejected.claim.parser_version,
        "error": f"{field_name}{value}: {said} (rule {reason.rule}; {rejected.records} of the {rejected.kind} in this answer)",
        "path": f"$.{rejected.kind}.{reason.field}".removesuffix("."),
    }
