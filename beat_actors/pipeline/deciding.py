"""The end of held records that a person decides: what is accepted is written with the time of its own answer, and what is remembered follows."""

from collections.abc import Sequence

from beat_actors import audit
from beat_actors.assets import intake
from beat_actors.database import Database, Transaction
from beat_actors.errors import Conflict
from beat_actors.holds import cohorts, remembering
from beat_actors.holds.gates import judge_about
from beat_actors.holds.operators import one
from beat_actors.holds.records import BY_BEAT, HeldRecord, change, take
from beat_actors.holds.remembering import Mark
from beat_actors.logger import get_logger
from beat_actors.pipeline.judging import decided, packed
from beat_actors.pipeline.writing import values_of, write_entities
from beat_actors.platforms.registry import platforms
from beat_actors.requests.swept import Swept
from beat_actors.text import check_text
from beat_actors.trust.cohort import Cause

log = get_logger(__name__)
CHUNK, CHUNKS = 200, 15
"""Held records that are decided in one transaction, and transactions of one run."""


async def decide(transaction: Transaction, record_id: int, *, accept: bool, actor: str, reason: str) -> None:
    """Accept or reject a held record. Raises `NotFound`, `Conflict` where it is decided already, and `BadInput`."""
    check_text(reason, "reason", longest=1000)
    records = await take(transaction, [record_id])
    if not records:
        found = await one(transaction, record_id)
        raise Conflict(f"the held record {record_id} is decided: {found.state} ({found.why})")
    (record,) = records
    record.held = judge_about(record.about).witnesses.decided(record.held, accept=accept, by=actor)
    await settle(transaction, [record], by=actor)
    action = "held.accept" if accept else "held.reject"
    detail = {"kind": record.about.kind, "fields": record.fields, "source": record.source, "reason": reason}
    await audit.record(transaction, actor=actor, action=action, target=f"held/{record_id}", detail=detail)


async def settle(transaction: Transaction, records: Sequence[HeldRecord], *, by: str) -> None:
    """Write what became of these records, which the transaction has taken and decided."""
    await change(transaction, records, by=by)
    kinds = sorted({(record.about.platform, record.about.kind) for record in records})
    media: list[intake.Row] = []
    for name, kind in kinds:
        entity = platforms()[name].entity_named(kind)
        group = sorted((one for one in records if one.about[:2] == (name, kind)), key=lambda one: one.about)
        how = judge_about(group[0].about)
        things = [(one.about.key, one.about.account_id, one.about.owner) for one in group]
        asked = remembering.asked(name, entity, things, [None] * len(things))
        known = {row.of: row for row in await transaction.rows(remembering.remember(entity, how), asked, binary=True)}
        written, marks = [], []
        for place, (record, thing) in enumerate(zip(group, things, strict=True), 1):
            memory, rows = decided(how, record, known[place].memory(how))
            written += rows
            marks.append(Mark(*thing, None, packed(memory)))
        if written:
            media += await write_entities(transaction, name, entity, values_of(written, {}), judged=True)
        await remembering.mark(transaction, entity, marks)
    await intake.observe(transaction, media)


async def settle_incidents(database: Database, epoch: int | None = None) -> Swept:
    """Accept or reject all that is held of cohorts whose sample has told what it means: the world moved, or the source broke. Afterwards the cohort is
    counted anew. `CHUNKS` transactions at most; the next run goes on."""
    count = 0
    for _ in range(CHUNKS):
        async with database.transaction() as transaction:
            found = await cohorts.caused(transaction, most=CHUNK, epoch=epoch)
            if found is None:
                break
            records = await take(transaction, found.held)
            if records:
                for record in records:
                    record.held = judge_about(record.about).witnesses.decided(
                        record.held, accept=found.cause == Cause.WORLD_MOVED, by="the sample of its source"
                    )
                await settle(transaction, records, by=BY_BEAT)
                count += len(records)
                continue
            standing, _ = await cohorts.take(transaction, {found.key})
            standing[found.key].cohort = standing[found.key].cohort.closed()
            await cohorts.write(transaction, standing)
            log.warning("incident_ended", cause=found.cause, source=found.source, operation=found.operation)
    return Swept(count=count)
