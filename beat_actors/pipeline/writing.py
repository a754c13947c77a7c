"""What was read of answers, written in the caller's transaction: entities, the fetches that are wanted next, and the ends of requests."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from beat_actors.assets import intake
from beat_actors.database import Transaction, arrays
from beat_actors.failpoints import hit
from beat_actors.fetches.follow_ups import follow_up
from beat_actors.pipeline import builds, gating
from beat_actors.pipeline.builds import Build
from beat_actors.pipeline.entities import Returned, writing
from beat_actors.pipeline.judged import Claimed, Judged, Written
from beat_actors.pipeline.judging import Answer
from beat_actors.pipeline.late import add_late
from beat_actors.pipeline.records import Records
from beat_actors.platforms.interface import Entity
from beat_actors.platforms.registry import platforms
from beat_actors.requests.lifecycle import Closing, close
from beat_actors.scores.tally import TALLY

Read = tuple[Claimed, Records]
"""A claim, and what was read for it."""

OF_ROWS = (
    "fetches",
    "requests",
    "accounts",
    "owners",
    "observed",
    "sources",
    "versions",
    "records",
    "holds",
    "judgements",
)
"""The arrays of what `Written` has, in its order."""


class Wrote(NamedTuple):
    """`wake`: the platforms that have new work. `judged`: what the gate said."""

    wake: set[str]
    judged: Judged


async def write(transaction: Transaction, read: Sequence[Read]) -> Wrote:
    """Write what was read for fetches that this transaction has moved to DONE."""
    gated = await _write_entities(transaction, read)
    followed = await follow_up(transaction, [(claim, spec) for claim, records in read for spec in records.follow_ups])
    asked, asked_on = await gating.ask(transaction, gated)
    await close(transaction, [_closing(claim, records, gated.judged, asked[claim.id]) for claim, records in read])
    return Wrote(followed | asked_on, gated.judged)


async def _write_entities(transaction: Transaction, read: Sequence[Read]) -> gating.Gated:
    by_table: defaultdict[tuple[str, str], list[Answer]] = defaultdict(list)
    for claim, records in read:
        hit("process.write", claim.request_id)
        for table, found in records.entities.items():
            by_table[claim.platform, table].append(Answer(claim, bytes(found)))
    deploy = transaction.settings.deploy
    made = {claim.id: _build(claim, records, deploy) for claim, records in read if records.entities}
    ids = await builds.ids_of(transaction, set(made.values()))
    gated = await gating.judge(transaction, [claim for claim, _ in read], by_table)
    await gating.hold(transaction, gated)
    media: list[intake.Row] = []
    # Always in this order, and by key within a statement, so that two batches with the same entities cannot deadlock. Assets come last.
    for kind, rows in sorted(gated.written.items()):
        if rows:
            platform, table = kind
            values = values_of(rows, {fetch: ids[build] for fetch, build in made.items()})
            entity, judged = platforms()[platform].entity_in(table), gated.is_judged(kind)
            media += await write_entities(transaction, platform, entity, values, judged=judged)
    await gating.mark(transaction, gated)
    await intake.observe(transaction, media)
    return gated


def values_of(rows: Sequence[Written], built: Mapping[int, int]) -> dict[str, list[Any]]:
    """The arrays that `write_entities` takes. `built`: the builds that read the answers, by fetch; which one read a record that was held is not kept."""
    return arrays(rows, *OF_ROWS) | {"builds": [built.get(row.fetch_id) for row in rows]}


async def write_entities(
    transaction: Transaction,
    platform: str,
    entity: Entity,
    values: Mapping[str, Sequence[Any]],
    *,
    judged: bool = False,
) -> list[intake.Row]:
    """Write records of one kind, given as `values_of` has them; the assets that are to be observed after all kinds are written. `judged`: the
    gate has judged the records, and there are the arrays `holds` and `judgements`."""
    parameters = {"platform": platform, "log_days": transaction.settings.log_days, **values}
    rows = await transaction.rows(writing(entity, judged=judged), parameters)
    late = [row for row in rows if row.field is None]
    if late:
        await add_late(transaction, platform, entity, late, values)
    return intake.rows_of(platform, entity, [media_of(row, row.field) for row in rows if row.field is not None])


def media_of(row: Returned, field: str) -> intake.Media:
    return intake.Media(
        row.entity_key, field, row.owner, row.account_id, row.url, row.observed_at, row.parent, row.taken_at
    )


def tally(claims: Iterable[Claimed], judged: Judged) -> None:
    """Count what was held, rejected and refuted for the scorecard, once that is committed."""
    for claim in claims:
        held, impossible = judged.held[claim.id], judged.rejected_of(claim.id)
        TALLY.judged(claim.platform, claim.source, claim.operation, held=held, impossible=impossible)
    for key, refuted in judged.refuted.items():
        TALLY.judged(key.platform, key.source, key.operation, refuted=refuted)


def _build(claim: Claimed, records: Records, deploy: str | None) -> Build:
    """What read the answer. Its records may have been kept by a process with another version."""
    software = records.software or builds.software(deploy)
    return Build(software, claim.platform, claim.source, claim.operation, claim.parser_version or 0)


def _closing(claim: Claimed, records: Records, judged: Judged, asked: int) -> Closing:
    """`asked`: how many fetches ask other sources about what is held of this one."""
    rejected = judged.rejected_of(claim.id)
    data: dict[str, Any] = {"source": claim.source} if claim.is_first else {}
    if records.partial is not None:
        data["partial"] = records.partial
    elif rejected:
        said = f"records that cannot be true, and were not written: {rejected}"
        data["partial"] = {"code": "implausible", "message": said}
    return Closing(claim.request_id, claim.run, len(records.follow_ups) + asked, records.items, data, claim.payload_at)
