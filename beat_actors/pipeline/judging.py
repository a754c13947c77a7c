"""The answers of a batch about things of one kind, judged one after the other. No I/O: `gating` reads what is remembered, and stores what is held."""

from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

import msgspec

from beat_actors.database import Statement
from beat_actors.holds import remembering
from beat_actors.holds.asking import chain_of
from beat_actors.holds.cohorts import WIDENING, Key, key_of
from beat_actors.holds.gates import Judge, asked_handle, question
from beat_actors.holds.records import About, HeldRecord
from beat_actors.holds.remembering import Mark, Remembered
from beat_actors.pipeline.judged import Claimed, Judged, Rejected, Said, Written, written_of
from beat_actors.platforms.interface import Entity, Platform
from beat_actors.trust.gate import SLACK, Asked, Values
from beat_actors.trust.judgement import WHOLE, Judgement, Reason, Ruling
from beat_actors.trust.memory import NOTHING, Memory, decode, encode
from beat_actors.trust.witnesses import ENDED, State, told

NONE: frozenset[str] = frozenset()
NEVER = datetime.min.replace(tzinfo=UTC)
MOST_ASKED = 3
"""Of one answer so many held records are asked about at once. The others wait: a page of false posts is not to cost a call for each of them."""
Thing: TypeAlias = tuple[str, str, str]
"""A key, an account and an owner."""


_texts = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Answer(NamedTuple):
    """The records of one kind in an answer, as a JSON array."""

    claim: Claimed
    records: bytes


class _Known(msgspec.Struct, gc=False):
    """What is known of a thing while the batch is judged. `observed_at`: of its last observation that was written. `is_marked`: its
    row is to say what is held. A batch has hundreds, of which none refers to itself, so the garbage collector need not look at them."""

    memory: Memory = NOTHING
    observed_at: datetime = NEVER
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
        self._facts = [how.facts(answer.records) for answer in self.answers]
        self._read = [[*map(how.gate.read, records)] for records in self._facts]
        self._of = [self._things(answer, read) for answer, read in zip(self.answers, self._read, strict=True)]
        self._known: dict[Thing, _Known] = {}
        self._holds = False
        """Whether a record of any of the things is held."""
        for answer, things in zip(self.answers, self._of, strict=True):
            handle = asked_handle(how.rules, answer.claim.operation, answer.claim.params)
            if handle is None:
                for thing in things:
                    self.things.setdefault(thing, None)
            else:
                self.things.update(dict.fromkeys(things, handle))
            if asked and (about := self._asked_about(answer)) is not None:
                self.things.setdefault(about, None)
        self._are_alike = remembering.are_alike(self.things)

    def question(self) -> tuple[Statement[Remembered], Mapping[str, object]]:
        """The statement that tells what is remembered of the things, and its parameters."""
        name, entity, how, things, handles = (
            self.platform.name,
            self.entity,
            self.how,
            [*self.things],
            [*self.things.values()],
        )
        if not self._are_alike:
            return remembering.remember(entity, how), remembering.asked(name, entity, things, handles)
        first = self.answers[0].claim.payload_at
        return remembering.remember_alike(entity, how), remembering.asked_alike(name, entity, things, handles, first)

    def remember(self, rows: Sequence[Remembered], held: Mapping[About, HeldRecord]) -> None:
        """Take up what is known of the things, and which records of them are held."""
        things, how, all_known = list(self.things), self.how, self._known
        alike = things[0][1:] if things else ()
        for row in rows:
            of, trust, _, observed_at, held_id, known_key = row
            thing = things[of - 1] if isinstance(of, int) else (of, *alike)
            if thing not in all_known:
                memory = row.memory(how) if trust is None else decode(trust)
                all_known[thing] = _Known(memory, observed_at or NEVER, known_key)
            elif trust is not None or observed_at is not None:
                all_known[thing].memory, all_known[thing].observed_at = row.memory(how), observed_at or NEVER
            elif known_key is not None:
                all_known[thing].known_key = known_key
            if held_id is not None:
                all_known[thing].held = held.get(self._about(thing))
                self._holds = True
        for thing in things:
            if thing not in all_known:
                all_known[thing] = _Known()
        if self._asked:
            for thing, known in all_known.items():
                known.held = held.get(self._about(thing))
            self._holds = True

    def judge(self, judged: Judged) -> list[Written]:
        """What is written of these answers. What is not is added to `judged`."""
        written: list[Written] = []
        for answer, records, read, things in zip(self.answers, self._facts, self._read, self._of, strict=True):
            known = [self._known[thing] for thing in things]
            if self._holds:
                written += self._hear_all(answer, records, things, known, judged)
            written += self._judge(answer, records, read, known, judged)
        return written

    def _hear_all(
        self,
        answer: Answer,
        records: Sequence[object],
        things: Sequence[Thing],
        known: Sequence[_Known],
        judged: Judged,
    ) -> list[Written]:
        written: list[Written] = []
        for record, thing in zip(records, known, strict=True):
            if thing.held is not None:
                written += self._hear(answer, record, thing, judged)
        about = self._asked_about(answer)
        if about is not None and records and about not in things:
            # The source that was asked for it answers with another one.
            written += self._hear(answer, records[0], self._known[about], judged)
        return written

    def marks(self) -> list[Mark]:
        """Of the things whose held record is new or decided."""
        found = []
        for thing, known in self._known.items():
            if known.is_marked:
                since = None if known.held is None else known.held.held.since
                found.append(Mark(*thing, since, packed(known.memory)))
        return sorted(found)

    def _judge(
        self,
        answer: Answer,
        records: Sequence[object],
        read: Sequence[Values],
        known: Sequence[_Known],
        judged: Judged,
    ) -> list[Written]:
        claim, gate = answer.claim, self.how.gate
        at = claim.payload_at.timestamp()
        known_key = None
        if self.how.rules.handle is not None:
            known_key = next((thing.known_key for thing in known if thing.known_key), None)
        asked = Asked(claim.operation, claim.params, known_key)
        key = Key(self.platform.name, claim.source, claim.operation, claim.parser_version or 0)
        seconds, latest = int(at), claim.payload_at + SLACK
        steady = [gate.steady(values, thing.memory, seconds, latest) for values, thing in zip(read, known, strict=True)]
        if None not in steady and known_key is None and claim.operation not in self.how.rules.identity:
            judgements = [gate.accepted] * len(steady)
        else:
            before = [thing.memory for thing in known]
            judgements = gate.judge_read(read, before, at, claim.source, asked, WIDENING.of(key), steady)
        # Nearly always all of them are the one judgement that says that nothing is unusual.
        usual = judgements.count(gate.accepted) == len(judgements)
        judged.observed(key, () if usual else judgements, len(judgements))
        if usual or all(one.is_written for one in judgements):
            # The records are written as they were read.
            said = self._learn(claim, known, read, judgements, at, steady)
            return [written_of(claim, answer.records.decode(), said)] if said else []
        return self._kept(answer, records, read, known, judgements, judged)

    def _kept(
        self,
        answer: Answer,
        records: Sequence[object],
        read: Sequence[Values],
        known: Sequence[_Known],
        judgements: Sequence[Judgement],
        judged: Judged,
    ) -> list[Written]:
        """What is written of an answer of which something is not."""
        claim, at = answer.claim, answer.claim.payload_at.timestamp()
        kept: list[bytes] = []
        said: list[Said] = []
        rejected: Counter[Reason] = Counter()
        for record, values, thing, judgement, text in zip(
            records, read, known, judgements, _texts(answer.records), strict=True
        ):
            if judgement.ruling is Ruling.REJECT:
                rejected[_why(judgement)] += 1
                continue
            withheld = judgement.withheld if judgement.ruling is Ruling.HOLD else NONE
            if withheld:
                judged.held[claim.id] += 1
                self._hold(answer, record, text, judgement, thing, judged)
            if WHOLE in withheld:
                continue
            said += self._learn(claim, (thing,), (values,), (judgement,), at, (None,))
            kept.append(_without(text, withheld) if withheld else bytes(text))
        judged.rejected += _rejected(claim, self.entity.kind, rejected)
        return [written_of(claim, f"[{b','.join(kept).decode()}]", said)] if kept else []

    def _learn(
        self,
        claim: Claimed,
        known: Sequence[_Known],
        read: Sequence[Values],
        judgements: Sequence[Judgement],
        at: float,
        steady: Sequence[Memory | None],
    ) -> list[Said]:
        """What is said of records that are written, and learnt of each where nothing newer is known. `steady`: what the gate learnt already."""
        learn, remembers, came = self.how.gate.learn_read, self.how.remembers, claim.payload_at
        said: list[Said] = []
        for thing, values, judgement, learnt in zip(known, read, judgements, steady, strict=True):
            if came >= thing.observed_at:
                thing.memory = learn(thing.memory, values, judgement, at) if learnt is None else learnt
                thing.observed_at = came
            trust = encode(thing.memory) if remembers else None
            said.append(Said(judgement.score, trust, judgement.reasons))
        return said

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
            thing.observed_at = max(thing.observed_at, kept.observed_at)
        return written

    def _hold(
        self, answer: Answer, record: object, text: msgspec.Raw, judgement: Judgement, thing: _Known, judged: Judged
    ) -> None:
        """Hold a record. One that is older than what is written is neither written nor asked about, since nothing would change by it."""
        claim, held, at = answer.claim, thing.held, answer.claim.payload_at.timestamp()
        if claim.payload_at < thing.observed_at:
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
            about=self._about((self.how.gate.read(record)[-1], claim.account_id or "", claim.owner or "")),
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
        thing.is_marked = self._holds = True
        judged.new.append(thing.held)
        judged.ask(thing.held, claim)

    def _things(self, answer: Answer, read: Sequence[Values]) -> list[Thing]:
        account, owner = answer.claim.account_id or "", answer.claim.owner or ""
        return [(values[-1], account, owner) for values in read]

    def _about(self, thing: Thing) -> About:
        return About(self.platform.name, self.entity.kind, *thing)

    def _asked_about(self, answer: Answer) -> Thing | None:
        """The thing about which this answer was asked for, where one of it is held."""
        record = self._asked.get(answer.claim.id)
        if record is None or record.about.kind != self.entity.kind:
            return None
        return record.about.key, record.about.account_id, record.about.owner


def decided(how: Judge, kept: HeldRecord, memory: Memory) -> tuple[Memory, list[Written]]:
    """What is remembered of a thing once the record that was held of it is decided, and what is written of the record."""
    memory = memory.released()
    if kept.held.state is not State.ACCEPTED:
        return memory, []
    (record,) = how.facts(b"[" + bytes(kept.record) + b"]")
    memory = how.gate.learn(memory, record, how.gate.accepted, at=kept.held.said.at)
    said = Said(kept.score, encode(memory) if how.remembers else None, kept.reasons)
    about = kept.about
    row = Written(
        kept.fetch_id,
        kept.request_id,
        about.account_id,
        about.owner,
        kept.observed_at,
        kept.source,
        kept.parser_version,
        f"[{bytes(kept.record).decode()}]",
        kept.id,
        msgspec.json.encode([said]).decode(),
    )
    return memory, [row]


def packed(memory: Memory) -> str:
    """A memory as `TRUST` has it."""
    return b64encode(encode(memory)).decode()


def _without(text: msgspec.Raw, names: frozenset[str]) -> bytes:
    """The record without these fields, which then keep the values that they have."""
    fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({name: value for name, value in fields.items() if name not in names})


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
