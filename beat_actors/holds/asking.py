"""How other sources are asked about held records: by fetches of the same request and its class, each limited to one source.

Such a fetch is leased, called and charged as any other. Its answer decides (`pipeline/judging`); where there is none, the next source is asked.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from beat_actors.database import Statements, Transaction, jsonb
from beat_actors.fetches.ending import Failed
from beat_actors.fetches.follow_ups import WITNESS_WITHIN, Followed, follow_up
from beat_actors.holds import cohorts
from beat_actors.holds.gates import judge_about
from beat_actors.holds.records import HeldRecord, change, take
from beat_actors.platforms.interface import FetchSpec
from beat_actors.platforms.registry import platforms
from beat_actors.trust.witnesses import State

SQL = Statements(__file__)
USABLE = SQL("usable", int)


class Asking(NamedTuple):
    """A held record that is asked about, and the fetch that the question follows."""

    record: HeldRecord
    follows: Followed


def chain_of(record: HeldRecord) -> tuple[str, ...]:
    """The sources that serve the operation by which the record is asked about, in order."""
    if record.question is None:
        return ()
    return platforms()[record.about.platform].chains.get(record.question.operation, ())


async def pass_over(transaction: Transaction, records: Sequence[HeldRecord], now: float | None = None) -> None:
    """Pass over the sources that cannot be asked now: they count as sources that do not answer. `now`: epoch seconds; the default is the database's
    time."""
    asking = [record for record in records if record.held.state is State.ASKING]
    calls = {
        (record.about.platform, source, record.question.operation, record.about.owner)
        for record in asking
        if record.question is not None
        for source in chain_of(record)
    }
    if not calls:
        return
    listed = sorted(calls)
    rows = [
        {"place": place, "platform": platform, "source": source, "operation": operation, "owner": owner}
        | {"version": platforms()[platform].sources[source].endpoints[operation].version}
        for place, (platform, source, operation, owner) in enumerate(listed)
    ]
    usable = {listed[place] for place in await transaction.rows(USABLE, {"calls": jsonb(rows), "soon": WITNESS_WITHIN})}
    for record in asking:
        assert record.question is not None
        while record.held.state is State.ASKING:
            about, source = record.about, record.held.asks
            if (about.platform, source, record.question.operation, about.owner) in usable:
                break
            silent(record, record.held.since if now is None else now)


def put_off(record: HeldRecord, now: float) -> None:
    """So many records of the source are held that this one is not asked about now."""
    record.held = judge_about(record.about).witnesses.unasked(record.held, now)


async def ask(transaction: Transaction, wanted: Sequence[Asking]) -> tuple[Counter[int], set[str]]:
    """Add the fetches that ask about these, as far as they are stored and a source is to be asked: how many follow each fetch, and the platforms that
    have new work. The caller counts them to their requests."""
    added: Counter[int] = Counter()
    fetches: list[tuple[Followed, FetchSpec]] = []
    about: list[int] = []
    for record, follows in wanted:
        if record.id and record.question is not None and record.held.state is State.ASKING:
            spec = FetchSpec(
                record.question.operation,
                record.question.params,
                source=record.held.asks,
                owner=record.about.owner or None,
            )
            fetches.append((follows, spec))
            about.append(record.id)
            added[follows.id] += 1
    return added, await follow_up(transaction, fetches, witness_of=about)


async def unanswered(transaction: Transaction, failed: Sequence[Failed]) -> Counter[int]:
    """Fetches that asked about held records have failed: the next source is asked, or it waits. How many fetches follow each of them.

    Locks the records, and adds fetches to the requests of those that have failed.
    """
    by_record = {row.witness_of: row for row in failed if row.witness_of is not None}
    if not by_record:
        return Counter()
    now = await transaction.now()
    records = await take(transaction, list(by_record))
    for record in records:
        if record.held.state is State.ASKING:
            silent(record, now)
    await pass_over(transaction, records, now)
    standing, _ = await cohorts.take(transaction, {cohorts.key_of(record) for record in records})
    for record in records:
        one = standing[cohorts.key_of(record)]
        one.count(cohorts.Counts(told=(None,)), now)
        if record.held.state is State.ASKING and not one.may_ask():
            put_off(record, now)
    await cohorts.write(transaction, standing)
    await change(transaction, records)
    added, _ = await ask(transaction, [Asking(record, by_record[record.id]) for record in records])
    return added


def silent(record: HeldRecord, now: float) -> None:
    """The source that was asked has no answer."""
    record.held = judge_about(record.about).witnesses.failed(record.held, record.held.asks, chain_of(record), now)
