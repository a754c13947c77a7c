"""What the gate said of a batch, and what is written of it. No I/O, and no decision: `judging` makes these."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeAlias

import msgspec

from beat_actors.fetches.claims import Ingested, Retrieved
from beat_actors.holds.asking import Asking
from beat_actors.holds.cohorts import Counts, Key, key_of
from beat_actors.holds.records import HeldRecord
from beat_actors.trust.judgement import Judgement, Reason, Ruling

Claimed: TypeAlias = Retrieved | Ingested


class Written(NamedTuple):
    """The records of one kind that are written of an answer: a row of the arrays that `write_records` takes. `hold`: the held record that was accepted,
    where the rest of the answer was written before. `judgements`: what the gate says of the records, a JSON array of `Said`."""

    fetch_id: int
    request_id: int
    account_id: str
    owner: str
    observed_at: datetime
    source: str
    parser_version: int | None
    records: str
    hold: int | None = None
    judgements: str = "[]"


class Said(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What the gate says of a record that is written, as `write_records` takes it. `trust`: what is remembered of the thing, packed."""

    trust_score: int
    trust: bytes | None = None
    trust_reasons: tuple[Reason, ...] = ()


class Rejected(NamedTuple):
    """Of an answer, the records of one kind that cannot be true for this reason, which is the first one's."""

    claim: Claimed
    kind: str
    reason: Reason
    records: int


@dataclass(slots=True)
class Judged:
    """What the gate said of a batch. `held`: how many records of each fetch are held; `new` and `changed`: the records that are to be stored; `asking`:
    those about which a source is to be asked. `heard`: the ids of those of which an answer said something. `counted`: observations by cohort; `refuted`:
    held records that another source refuted, by cohort."""

    rejected: list[Rejected] = field(default_factory=list)
    held: Counter[int] = field(default_factory=Counter)
    new: list[HeldRecord] = field(default_factory=list)
    changed: list[HeldRecord] = field(default_factory=list)
    asking: list[Asking] = field(default_factory=list)
    heard: set[int] = field(default_factory=set)
    counted: dict[Key, Counts] = field(default_factory=dict)
    refuted: Counter[Key] = field(default_factory=Counter)

    def counts(self, key: Key) -> Counts:
        """The counts of the cohort, which may be changed."""
        return self.counted.setdefault(key, Counts())

    def observed(self, key: Key, judgements: Sequence[Judgement], records: int) -> None:
        """The records of one kind in one answer are one observation: it is what most of them are. A page of posts has an unusual one on many days.
        `judgements`: of these records, or of those of them that are unusual."""
        if not records:
            return
        counts, half = self.counts(key), records / 2
        counts.seen += 1
        if not judgements:
            return
        unusual = [one for one in judgements if one.reasons]
        held = [one for one in unusual if one.ruling is Ruling.HOLD]
        counts.odd += sum(one.is_odd for one in unusual) > half
        counts.bad += sum(one.ruling is Ruling.REJECT for one in unusual) > half
        if len(held) > half:
            falls = 2 * sum(_falls(one) for one in held) > len(held)
            counts.falls, counts.rises = counts.falls + falls, counts.rises + (not falls)

    def told(self, record: HeldRecord, *, confirms: bool | None) -> None:
        """A source that was asked about the record has answered."""
        counts = self.counts(key_of(record))
        counts.told = (*counts.told, confirms)

    def ask(self, record: HeldRecord, claim: Claimed) -> None:
        """Another source is to be asked about the record, by a fetch that follows this one. Each record is one question."""
        self.asking = [*(one for one in self.asking if one.record is not record), Asking(record, claim)]

    def note(self, record: HeldRecord) -> None:
        """Store the record as it is now."""
        if not any(one is record for one in (*self.new, *self.changed)):
            self.changed.append(record)

    def rejected_of(self, fetch_id: int) -> int:
        """How many records of the fetch are rejected."""
        return sum(one.records for one in self.rejected if one.claim.id == fetch_id)


def written_of(claim: Claimed, records: str, said: Sequence[Said] = ()) -> Written:
    """These records of an answer, as they were read of it, and what the gate says of each."""
    return Written(
        claim.id,
        claim.request_id,
        claim.account_id or "",
        claim.owner or "",
        claim.payload_at,
        claim.source,
        claim.parser_version,
        records,
        None,
        msgspec.json.encode(said).decode(),
    )


def _falls(judgement: Judgement) -> bool:
    """Whether a number fell that is held."""
    return any(
        reason.before is not None and reason.now is not None and reason.now < reason.before
        for reason in judgement.reasons
        if reason.ruling is Ruling.HOLD
    )
