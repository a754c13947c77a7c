"""The answers of a batch about things of one kind, judged one after the other. No I/O: `gating` reads what is remembered, and stores what is held."""

from binascii import b2a_base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple, TypeAlias

import msgspec

from beat_actors.fetches.claims import Ingested, Retrieved
from beat_actors.holds.asking import Asking, chain_of
from beat_actors.holds.cohorts import WIDENING, Counts, Key, key_of
from beat_actors.holds.gates import Judge, asked_handle, question
from beat_actors.holds.records import About, HeldRecord
from beat_actors.holds.remembering import Mark, Remembered
from beat_actors.platforms.interface import Entity, Platform
from beat_actors.trust.facts import facts
from beat_actors.trust.gate import Asked
from beat_actors.trust.judgement import WHOLE, Judgement, Reason, Ruling
from beat_actors.trust.memory import NOTHING, Memory, encode
from beat_actors.trust.witnesses import ENDED, State, told

NONE: frozenset[str] = frozenset()
MOST_ASKED = 3
"""Of one answer so many held records are asked about at once. The others wait: a page of false posts is not to cost a call for each of them."""
Claimed: TypeAlias = Retrieved | Ingested
Thing: TypeAlias = tuple[str, str, str]
"""A key, an account and an owner."""


_texts = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Answer(NamedTuple):
    """The records of one kind in an answer, as a JSON array."""

    claim: Claimed
    records: bytes


class Written(NamedTuple):
    """The records of one kind that are written of an answer: a row of the arrays that `write_records` takes. `hold`: the held record that was accepted,
    where the rest of the answer was written before."""

    fetch_id: int
    request_id: int
    account_id: str
    owner: str
    observed_at: datetime
    source: str
    parser_version: int | None
    records: str
    hold: int | None = None


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

    def observed(self, key: Key, judgements: Sequence[Judgement]) -> None:
        """The records of one kind in one answer are one observation: it is what most of them are. A page of posts has an unusual one on many days."""
        if not judgements:
            return
        counts, half = self.counts(key), len(judgements) / 2
        counts.seen += 1
        unusual = [one for one in judgements if one.reasons]
        if not unusual:
            return
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


class _Known(msgspec.Struct, gc=False):
    """What is known of a thing while the batch is judged. `observed_at`: epoch seconds of its last observation that was written. `is_marked`: its
    row is to say what is held. A batch has hundreds, of which none refers to itself, so the garbage collector need not look at them."""

    memory: Memory
    observed_at: float = -1.0
    known_key: str | None = None
    held: HeldRecord | None = None
    is_marked: bool = False


class Table:
    """The answers of a batch about things of one kind. `things`: each, with the handle by which it was asked for. `asked`: the held records that some of
    these fetches ask about, by the fetch."""

    def __init__(
        self,
        platform: Platform,
        entity: Entity,
        how: Judge,
        answers: Sequence[Answer],
        asked: Mapping[int, HeldRecord],
    ) -> None:
        self.platform, self.entity, self.how = platform, entity, how
        self._asked = asked
        self.answers = sorted(answers, key=lambda answer: answer.claim.payload_at)
        self.things: dict[Thing, str | None] = {}
        self._key = attrgetter(how.rules.key)
        self._facts = [facts(how.rules, answer.records) for answer in self.answers]
        self._of = [
            [self._thing(answer, record) for record in records]
            for answer, records in zip(self.answers, self._facts, strict=True)
        ]
        self._known: dict[Thing, _Known] = {}
        for answer, things in zip(self.answers, self._of, strict=True):
            handle = asked_handle(how.rules, answer.claim.operation, answer.claim.params)
            for thing in things:
                if handle is None:
                    self.things.setdefault(thing, None)
                else:
                    self.things[thing] = handle
            if (about := self._asked_about(answer)) is not None:
                self.things.setdefault(about, None)

    def remember(self, rows: Sequence[Remembered], held: Mapping[About, HeldRecord]) -> None:
        """Take up what is known of the things, and which records of them are held."""
        found = {row.i: row for row in rows}
        for place, thing in enumerate(self.things, 1):
            row = found.get(place)
            if row is None:
                self._known[thing] = _Known(NOTHING)
                continue
            at = -1.0 if row.observed_at is None else row.observed_at.timestamp()
            record = None if row.held is None and not self._asked else held.get(self._about(thing))
            self._known[thing] = _Known(row.memory(self.how), at, row.known_key, record)

    def judge(self, judged: Judged) -> list[Written]:
        """What is written of these answers. What is not is added to `judged`."""
        written: list[Written] = []
        for answer, records, things in zip(self.answers, self._facts, self._of, strict=True):
            known = [self._known[thing] for thing in things]
            for record, thing in zip(records, known, strict=True):
                if thing.held is not None:
                    written += self._hear(answer, record, thing, judged)
            about = self._asked_about(answer)
            if about is not None and records and about not in things:
                # The source that was asked for it answers with another one.
                written += self._hear(answer, records[0], self._known[about], judged)
            kept = self._judge(answer, records, known, judged)
            if kept:
                written.append(written_of(answer.claim, f"[{b','.join(kept).decode()}]"))
        return written

    def marks(self) -> list[Mark]:
        """Of the things whose held record is new or decided."""
        found = []
        for thing, known in self._known.items():
            if known.is_marked:
                since = None if known.held is None else known.held.held.since
                found.append(Mark(*thing, since, packed(known.memory)))
        return sorted(found)

    def _judge(self, answer: Answer, records: Sequence[object], known: Sequence[_Known], judged: Judged) -> list[bytes]:
        claim, gate = answer.claim, self.how.gate
        at = claim.payload_at.timestamp()
        asked = Asked(
            claim.operation, claim.params, next((thing.known_key for thing in known if thing.known_key), None)
        )
        memories = [thing.memory for thing in known]
        key = Key(self.platform.name, claim.source, claim.operation, claim.parser_version or 0)
        judgements = gate.judge_answer(
            records, memories, at=at, source=claim.source, asked=asked, widened=WIDENING.of(key)
        )
        raw = _texts(answer.records)
        kept: list[bytes] = []
        rejected: Counter[Reason] = Counter()
        for record, thing, judgement, text in zip(records, known, judgements, raw, strict=True):
            if judgement.ruling is Ruling.REJECT:
                rejected[_why(judgement)] += 1
                continue
            withheld = judgement.withheld if judgement.ruling is Ruling.HOLD else NONE
            if withheld:
                judged.held[claim.id] += 1
                self._hold(answer, record, text, judgement, thing, judged)
            if WHOLE in withheld:
                continue
            if at >= thing.observed_at:
                thing.memory = gate.learn(thing.memory, record, judgement, at=at)
                thing.observed_at = at
            left = _without(text, withheld) if withheld else bytes(text)
            kept.append(_with_trust(self.how, left, judgement.score, judgement.reasons, thing.memory))
        judged.observed(key, judgements)
        judged.rejected += _rejected(claim, self.entity.kind, rejected)
        return kept

    def _hear(self, answer: Answer, record: object, thing: _Known, judged: Judged) -> list[Written]:
        """Another observation of a thing of which a record is held may decide about that one. What is written for it."""
        kept, claim = thing.held, answer.claim
        if kept is None or claim.payload_at <= kept.observed_at:
            return []
        at = claim.payload_at.timestamp()
        before = kept.held
        said = told(self.how.rules, record, kept.fields, source=claim.source, at=at)
        kept.held = self.how.witnesses.answered(before, said, chain_of(kept), at)
        judged.heard.add(kept.id)
        judged.note(kept)
        after = kept.held
        if before.state is State.ASKING and (after.state is not State.ASKING or after.asked != before.asked):
            judged.told(kept, confirms={State.ACCEPTED: True, State.REJECTED: False}.get(after.state))
        if after.state is State.REJECTED:
            judged.counts(key_of(kept)).refuted += 1
            judged.refuted[key_of(kept)] += claim.source != kept.source
        if kept.held.state not in ENDED:
            if kept.held.asked != before.asked:
                judged.ask(kept, claim)
            return []
        thing.held, thing.is_marked = None, True
        thing.memory, written = decided(self.how, kept, thing.memory)
        if written:
            thing.observed_at = max(thing.observed_at, kept.held.said.at)
        return written

    def _hold(
        self, answer: Answer, record: object, text: msgspec.Raw, judgement: Judgement, thing: _Known, judged: Judged
    ) -> None:
        """Hold a record. One that is older than what is written is neither written nor asked about, since nothing would change by it."""
        claim, held, at = answer.claim, thing.held, answer.claim.payload_at.timestamp()
        if at < thing.observed_at:
            return
        fields = tuple(sorted(judgement.withheld))
        said = told(self.how.rules, record, fields, source=claim.source, at=at)
        if held is not None:
            # The source says it again: what it says last is what will be written, once it is confirmed.
            if (
                held.source == claim.source
                and held.held.state is not State.ASKING
                and claim.payload_at > held.observed_at
            ):
                good = {name: thing.memory.numbers[name] for name in said.values if name in thing.memory.numbers}
                held.held = msgspec.structs.replace(held.held, said=said, good=good)
                held.record, held.fields, held.reasons, held.score = text, fields, judgement.reasons, judgement.score
                held.fetch_id, held.request_id, held.observed_at = claim.id, claim.request_id, claim.payload_at
                held.parser_version, held.rules_version = claim.parser_version or 0, judgement.version
                judged.note(held)
            return
        asks = question(self.how.rules, claim.operation, claim.params, record)
        chain = () if asks is None else self.platform.chains.get(asks.operation, ())
        if sum(one.follows is claim for one in judged.asking) >= MOST_ASKED:
            chain = ()
        thing.held = HeldRecord(
            about=self._about(self._thing(answer, record)),
            fetch_id=claim.id,
            request_id=claim.request_id,
            operation=claim.operation,
            parser_version=claim.parser_version or 0,
            rules_version=judgement.version,
            priority=claim.priority,
            observed_at=claim.payload_at,
            record=text,
            fields=fields,
            reasons=judgement.reasons,
            score=judgement.score,
            held=self.how.witnesses.hold(said, thing.memory, chain, at),
            question=asks,
        )
        thing.is_marked = True
        judged.new.append(thing.held)
        judged.ask(thing.held, claim)

    def _thing(self, answer: Answer, record: object) -> Thing:
        return self._key(record), answer.claim.account_id or "", answer.claim.owner or ""

    def _about(self, thing: Thing) -> About:
        return About(self.platform.name, self.entity.kind, *thing)

    def _asked_about(self, answer: Answer) -> Thing | None:
        """The thing about which this answer was asked for, where one of it is held."""
        record = self._asked.get(answer.claim.id)
        if record is None or record.about.kind != self.entity.kind:
            return None
        return record.about.key, record.about.account_id, record.about.owner


def written_of(claim: Claimed, records: str) -> Written:
    """These records of an answer, as they were read of it."""
    return Written(
        claim.id,
        claim.request_id,
        claim.account_id or "",
        claim.owner or "",
        claim.payload_at,
        claim.source,
        claim.parser_version,
        records,
    )


def decided(how: Judge, kept: HeldRecord, memory: Memory) -> tuple[Memory, list[Written]]:
    """What is remembered of a thing once the record that was held of it is decided, and what is written of the record."""
    memory = memory.released()
    if kept.held.state is not State.ACCEPTED:
        return memory, []
    (record,) = facts(how.rules, b"[" + bytes(kept.record) + b"]")
    memory = how.gate.learn(memory, record, how.gate.accepted, at=kept.held.said.at)
    text = _with_trust(how, bytes(kept.record), kept.score, kept.reasons, memory)
    about = kept.about
    row = Written(
        kept.fetch_id,
        kept.request_id,
        about.account_id,
        about.owner,
        kept.observed_at,
        kept.source,
        kept.parser_version,
        f"[{text.decode()}]",
        kept.id,
    )
    return memory, [row]


def _with_trust(how: Judge, text: bytes, score: int, reasons: Sequence[Reason], memory: Memory) -> bytes:
    """The record with what the gate says of it, as `write_records` takes it."""
    trust = b',"trust":"%s"' % b2a_base64(encode(memory), newline=False) if how.remembers else b""
    why = b',"trust_reasons":' + msgspec.json.encode(reasons) if reasons else b""
    return b'%s,"trust_score":%d%s%s}' % (text[:-1], score, trust, why)


def packed(memory: Memory) -> str:
    """A memory as `TRUST` has it."""
    return b2a_base64(encode(memory), newline=False).decode()


def _without(text: msgspec.Raw, names: frozenset[str]) -> bytes:
    """The record without these fields, which then keep the values that they have."""
    fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({name: value for name, value in fields.items() if name not in names})


def _falls(judgement: Judgement) -> bool:
    """Whether a number fell that is held."""
    return any(
        reason.before is not None and reason.now is not None and reason.now < reason.before
        for reason in judgement.reasons
        if reason.ruling is Ruling.HOLD
    )


def _why(judgement: Judgement) -> Reason:
    return next(reason for reason in judgement.reasons if reason.ruling is Ruling.REJECT)


def _rejected(claim: Claimed, kind: str, found: Counter[Reason]) -> list[Rejected]:
    """One for each rule and field: an answer may have hundreds of records that are false in the same way."""
    together: dict[tuple[str, str], Rejected] = {}
    for reason, count in found.items():
        place = (reason.rule, reason.field)
        before = together.get(place, Rejected(claim, kind, reason, 0))
        together[place] = before._replace(records=before.records + count)
    return list(together.values())
