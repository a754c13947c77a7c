"""Held records that are looked at again: by rule after 1, 6 and 24 hours, and where the fetch that asked about one came to nothing.

Each question is a request of its own, of the class batch, with one fetch that is limited to one source.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from beat_actors.database import Database, Statements, Transaction
from beat_actors.fetches.follow_ups import ask_about
from beat_actors.fetches.lanes import LaneKey
from beat_actors.fetches.states import Stage
from beat_actors.holds import cohorts
from beat_actors.holds.asking import chain_of, pass_over, put_off, silent
from beat_actors.holds.gates import judge_about
from beat_actors.holds.records import HeldRecord, change, take
from beat_actors.platforms.interface import FetchSpec
from beat_actors.platforms.registry import platforms
from beat_actors.requests.intake import NewRequest, Prepared, submit
from beat_actors.requests.lifecycle import fail_fetches
from beat_actors.requests.states import Priority
from beat_actors.requests.swept import Swept
from beat_actors.trust.witnesses import State

BATCH = 200
SQL = Statements(__file__)
OVERDUE, DUE = SQL("overdue", int), SQL("due", int)
LATE = {"code": "no_witness", "message": "no source could be asked about it in time"}


async def due(database: Database, epoch: int | None = None) -> Swept:
    """Held records whose time has come, at most `BATCH` of them: the next source is asked, or the next time is set, or a person has to decide."""
    async with database.statements() as alone:
        overdue = await alone.rows(OVERDUE, {"epoch": epoch, "limit": BATCH})
    if overdue:
        async with database.transaction() as transaction:
            await fail_fetches(transaction, [(fetch, LATE) for fetch in overdue], stages=(Stage.WAITING,))
    async with database.statements() as alone:
        ids = await alone.rows(DUE, {"epoch": epoch, "limit": BATCH})
    if not ids:
        return Swept(count=len(overdue))
    async with database.transaction() as transaction:
        wake = await _again(transaction, ids)
    return Swept(wake=wake, count=len(overdue) + len(ids))


async def _again(transaction: Transaction, ids: Sequence[int]) -> set[str]:
    records, now = await take(transaction, ids), await transaction.now()
    lost: list[HeldRecord] = []
    for record in records:
        if record.held.state is State.ASKING:
            silent(record, now)
            lost.append(record)
            continue
        record.held = judge_about(record.about).witnesses.due(record.held, chain_of(record), now)
        if record.held.state is State.ASKING and record.question is None:
            silent(record, now)
    await pass_over(transaction, records, now)
    standing, _ = await cohorts.take(transaction, {cohorts.key_of(record) for record in records})
    for record in lost:
        standing[cohorts.key_of(record)].count(cohorts.Counts(told=(None,)), now)
    for record in records:
        if record.held.state is State.ASKING and not standing[cohorts.key_of(record)].may_ask():
            put_off(record, now)
    await cohorts.write(transaction, standing)
    await change(transaction, records)
    asked = [record for record in records if record.held.state is State.ASKING]
    if not asked:
        return set()
    accepted = await submit(transaction, [_request(record) for record in asked])
    await ask_about(transaction, [(one.id, record.id) for one, record in zip(accepted, asked, strict=True)])
    return {record.about.platform for record in asked}


def _request(record: HeldRecord) -> Prepared:
    """A request by which one source is asked about the thing. It says the flow that would refresh the thing."""
    assert record.question is not None
    about, question = record.about, record.question
    platform = platforms()[about.platform]
    entity = platform.entity_named(about.kind)
    fields = msgspec.json.decode(record.record, type=dict[str, Any])
    refetch = next(iter(entity.refetch), None)
    flow = refetch.flow if refetch is not None else next(iter(platform.flows))
    params: dict[str, Any] = {}
    if refetch is not None:
        params = {**refetch.fixed, **{name: fields.get(field) for name, field in refetch.params.items()}}
    request = NewRequest(about.platform, flow, params, Priority.BATCH, account_id=about.account_id or None, force=True)
    source, owner = record.held.asks, about.owner or None
    first = FetchSpec(question.operation, question.params, source=source, owner=owner)
    lane = LaneKey(about.platform, flow, question.operation, int(Priority.BATCH), (source,), about.owner)
    mark = b"held %d" % record.id
    return Prepared(request, params, first, lane, None, mark, mark)
