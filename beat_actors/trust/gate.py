"""The gate: judges each record before it is written, by its platform's rules and by what is known of the entity.

Hard rules reject: a negative count, a count beyond int64, an impossible date, another identity than the one that was asked for, a count that the
platform never lets exceed another. Soft rules hold: a fall by 90 % or more, a change beyond the entity's own range, a count that only grows and
fell, a count beyond all others, a handle that leads to another entity, a lost verification, a face that changed at once, a placeholder.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter

from beat_actors.platforms.interface import EntityRules, Number
from beat_actors.trust.judgement import WHOLE, Judgement, Reason, Ruling, judged
from beat_actors.trust.memory import DAY, NOTHING, SCALE, Known, Memory, learnt, mark

INT64 = 2**63 - 1
SLACK = timedelta(days=1)
"""Clocks and time zones of providers may be off by this much."""
SPREADS = 8.0
"""A change is out of range from this many spreads on."""
PRIOR = 5
"""The platform's usual change counts as much as this many changes of the entity's own."""
WIDEST = 2.0
"""No range is wider than this log change (7.4 times), so a lost digit is never within one."""
GROWING = 0.005
"""A count that only grows may fall by this share, because servers of one platform are not in step."""
FEW = 50
"""Below this, counts rise as they like: three followers become thirty in a day."""
NOTED = 0.5
"""From this share of the range on, a change costs some of the score."""


@dataclass(frozen=True, slots=True)
class Widened:
    """Whether the ranges of the platform are widened, because many entities moved at once and independent sources confirmed it."""

    falls: bool = False
    rises: bool = False


NORMAL = Widened()


@dataclass(frozen=True, slots=True)
class Asked:
    """What the call asked for. `known_key`: the key of the entity that is known by the handle that was asked for, if one is."""

    operation: str
    params: Mapping[str, object] = field(default_factory=dict)
    known_key: str | None = None


class Gate:
    """The rules of one entity, prepared. A record is anything that has the attributes that the rules name."""

    def __init__(self, rules: EntityRules, since: datetime) -> None:
        self.rules = rules
        self.accepted = Judgement(Ruling.ACCEPT, 100, rules.version)
        self._since = since - SLACK
        self._key = attrgetter(rules.key)
        # With the key in front, so that the getter returns a tuple for one number too.
        self._values = attrgetter(rules.key, *(number.name for number in rules.numbers))
        self._numbers = tuple(enumerate(rules.numbers, 1))
        self._remembered = tuple(number for number in rules.numbers if number.is_remembered)
        self._learns = tuple((n, number.name) for n, number in self._numbers if number.is_remembered)
        self._never = tuple((pair, attrgetter(pair.name, pair.than)) for pair in rules.never)
        self._seldom = tuple((pair, attrgetter(pair.name, pair.than)) for pair in rules.seldom)
        self._face = attrgetter(*rules.face) if len(rules.face) > 1 else None
        self._born = attrgetter(rules.born) if rules.born else None

    def judge(
        self,
        record: object,
        memory: Memory = NOTHING,
        *,
        at: float,
        source: str = "",
        asked: Asked | None = None,
        widened: Widened = NORMAL,
    ) -> Judgement:
        """`at`: epoch seconds of the answer. `memory`: what was known before it, so that the record is no part of what it is compared with."""
        return self._judge(record, memory, at, source, asked, widened)

    def _judge(
        self, record: object, memory: Memory, at: float, source: str, asked: Asked | None, widened: Widened
    ) -> Judgement:
        reasons: list[Reason] = []
        values, known = self._values(record), memory.numbers
        for place, number in self._numbers:
            value = values[place]
            if value is None:
                continue
            last = known.get(number.name)
            if last is not None and value == last.value:
                continue
            if value < 0 and not number.signed:
                reasons.append(Reason("negative", Ruling.REJECT, number.name, 100, now=float(value)))
            elif value > INT64:
                reasons.append(Reason("beyond_int64", Ruling.REJECT, number.name, 100, now=float(value)))
            elif number.most is not None and value > number.most:
                reasons.append(Reason("beyond_all", Ruling.HOLD, number.name, 100, now=value))
            elif last is not None:
                self._moved(record, number, last, value, at, source, widened, reasons)
            elif value == 0 and number.drop_from == 1:
                reasons.append(Reason("first_zero", Ruling.NOTE, number.name, 10, now=0))
        if self._never or self._seldom:
            self._compare(record, known, reasons)
        if self.rules.dates:
            self._date(record, at, reasons)
        if asked is not None:
            self._identify(record, asked, reasons)
        if memory is not NOTHING:
            self._recognise(record, memory, reasons)
        return judged(self.rules.version, tuple(reasons)) if reasons else self.accepted

    def judge_answer(
        self,
        records: Sequence[object],
        memories: Sequence[Memory],
        *,
        at: float,
        source: str = "",
        asked: Asked | None = None,
        widened: Widened = NORMAL,
    ) -> list[Judgement]:
        """All records of one entity in one answer. `memories` has one for each, `NOTHING` for a new entity."""
        if asked is not None and asked.known_key is None and asked.operation not in self.rules.identity:
            asked = None  # a page of posts was asked for by nothing that a post has
        found = [
            self._judge(record, memory, at, source, asked, widened)
            for record, memory in zip(records, memories, strict=True)
        ]
        placeholder = self.rules.placeholder
        if placeholder is None or len(records) < placeholder.at_least:
            return found
        told = [value for record in records if (value := getattr(record, placeholder.name)) is not None]
        same = told.count(placeholder.value)
        if len(told) < placeholder.at_least or same * 2 <= len(told):
            return found
        for place, (record, memory) in enumerate(zip(records, memories, strict=True)):
            last = memory.numbers.get(placeholder.name)
            if getattr(record, placeholder.name) == placeholder.value and (
                last is None or last.value != placeholder.value
            ):
                before = None if last is None else last.value
                reason = Reason("placeholder", Ruling.HOLD, placeholder.name, 60, before, placeholder.value)
                found[place] = judged(self.rules.version, (*found[place].reasons, reason))
        return found

    def learn(self, memory: Memory, record: object, judgement: Judgement, *, at: float) -> Memory:
        """The memory after this observation. Nothing of a record that was rejected or held as a whole is learnt, and no field that was held."""
        if judgement.ruling <= Ruling.NOTE:
            withheld: frozenset[str] = frozenset()
        else:
            withheld = judgement.withheld
            if judgement.ruling is Ruling.REJECT:
                return memory
            memory = memory.holding(int(at))
            if WHOLE in withheld:
                return memory
        values = self._values(record)
        rules = self.rules
        return learnt(
            memory,
            self._remembered,
            [values[place] for place, _ in self._learns]
            if not withheld
            else [None if name in withheld else values[place] for place, name in self._learns],
            int(at),
            tuple([mark(text) for text in self._face(record)]) if self._face is not None else (),
            mark(getattr(record, rules.handle)) if rules.handle else 0,
            getattr(record, rules.verified) if rules.verified and rules.verified not in withheld else None,
        )

    def _moved(
        self,
        record: object,
        number: Number,
        last: Known,
        value: int,
        at: float,
        source: str,
        widened: Widened,
        reasons: list[Reason],
    ) -> None:
        """A number that differs from the last accepted one."""
        before, falls = last.value, value < last.value
        if falls and number.drop_from is not None and before >= number.drop_from and value * 10 <= before:
            rule = "zero" if value == 0 else "drop"
            reasons.append(Reason(rule, Ruling.HOLD, number.name, 100, before, value))
            return
        if number.usual is None or (widened.falls if falls else widened.rises):
            return
        if falls and number.only_grows:
            limit = GROWING + step_share(before, number.digits_of(source))
        elif abs(value - before) <= number.least * before or self._may_rise(record, number, at, falls=falls):
            return
        else:
            limit = reach(number, last, at, source)
        start, end = (before, max(value, 0.5)) if falls else (max(before, FEW), max(value, FEW))
        share = abs(math.log(end / start)) / limit
        if share > 1:
            reasons.append(Reason("range", Ruling.HOLD, number.name, min(100, int(50 * share)), before, value))
        elif share >= NOTED:
            reasons.append(Reason("range", Ruling.NOTE, number.name, int(50 * share), before, value))

    def _may_rise(self, record: object, number: Number, at: float, *, falls: bool) -> bool:
        """Whether the number rises on a young entity, where it may rise without limit. An entity whose age was not told counts as young."""
        if falls or not number.settles:
            return False
        born = self._born(record) if self._born is not None else None
        return born is None or at - born.timestamp() < number.settles * DAY

    def _compare(self, record: object, known: Mapping[str, Known], reasons: list[Reason]) -> None:
        for never, both in self._never:
            value, than = both(record)
            if value is not None and than is not None and value >= never.at_least and value > than:
                reasons.append(Reason("more_than_possible", Ruling.REJECT, never.name, 100, now=float(value)))
        for seldom, both in self._seldom:
            value, than = both(record)
            if value is None or than is None or value < seldom.at_least or value <= seldom.times * than:
                continue
            last, last_than = known.get(seldom.name), known.get(seldom.than)
            # Where it was accepted before, it is usual for this entity.
            if last is None or last_than is None or last.value <= seldom.times * last_than.value:
                reasons.append(Reason("more_than_usual", Ruling.HOLD, seldom.name, 60, now=float(value)))

    def _date(self, record: object, at: float, reasons: list[Reason]) -> None:
        for name in self.rules.dates:
            value = getattr(record, name)
            if value is None:
                continue
            if value < self._since:
                reasons.append(Reason("before_the_platform", Ruling.REJECT, name, 100))
            elif value.timestamp() > at + SLACK.total_seconds():
                reasons.append(Reason("in_the_future", Ruling.REJECT, name, 100))

    def _identify(self, record: object, asked: Asked, reasons: list[Reason]) -> None:
        for param, name in self.rules.identity.get(asked.operation, {}).items():
            wanted, told = asked.params.get(param), getattr(record, name)
            if wanted is not None and told is not None and _same(str(wanted)) != _same(str(told)):
                reasons.append(Reason("another_identity", Ruling.REJECT, name, 100))
                return
        if asked.known_key is not None and self._key(record) != asked.known_key:
            # The handle may have been given away, or the source may have mixed two entities up.
            reasons.append(Reason("handle_moved", Ruling.HOLD, WHOLE, 80))

    def _recognise(self, record: object, memory: Memory, reasons: list[Reason]) -> None:
        rules = self.rules
        if rules.verified and memory.is_verified and getattr(record, rules.verified) is False:
            reasons.append(Reason("verified_lost", Ruling.HOLD, rules.verified, 60))
        if rules.face and memory.face:
            changed = 0
            for name, old in zip(rules.face, memory.face, strict=True):
                new = mark(getattr(record, name)) if old else 0
                if not new or new == old:
                    break
                changed += 1
            if changed == len(rules.face):
                reasons.append(Reason("face_changed", Ruling.HOLD, WHOLE, 60))
        if rules.handle and memory.handle and (told := mark(getattr(record, rules.handle))) and told != memory.handle:
            reasons.append(Reason("renamed", Ruling.NOTE, rules.handle, 0))


def reach(number: Number, last: Known, at: float, source: str = "") -> float:
    """How far the number may move from its last value, as a log change.

    The entity's own spread, drawn to what is usual on the platform while there are few changes, plus the source's rounding and the noise of
    small counts. It grows with the square root of the days since then.
    """
    usual = number.usual or 0.0
    own = (last.moves * last.spread / SCALE + PRIOR * usual) / (last.moves + PRIOR)
    own += step_share(last.value, number.digits_of(source)) + 0.5 / math.sqrt(max(1, last.value))
    limit = max(number.least, SPREADS * own)
    days = (at - last.at) / DAY
    return min(WIDEST, limit * math.sqrt(days) if days > 1 else limit)


def step(value: int, digits: int) -> int:
    """The distance between neighbouring values that have so many significant digits; 1 where the value is exact."""
    return 10 ** max(0, len(str(abs(value))) - digits) if digits else 1


def step_share(value: int, digits: int) -> float:
    return step(value, digits) / value if digits and value > 0 else 0.0


def _same(text: str) -> str:
    return text.strip().removeprefix("@").casefold()
