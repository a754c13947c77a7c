"""The gate: judges each record before it is written, by its platform's rules and by what is known of the entity.

Hard rules reject: a negative count, a count beyond int64, an impossible date, another identity than the one that was asked for, a count that the
platform never lets exceed another. Soft rules hold: a fall by 90 % or more, a change beyond the entity's own range, a count that only grows and
fell, a count beyond all others, a handle that leads to another entity, a lost verification, a face that changed at once, a placeholder.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec

from beat_actors.platforms.interface import EntityRules, NeverMore, Number, SeldomMore
from beat_actors.trust.judgement import WHOLE, Judgement, Reason, Ruling, judged
from beat_actors.trust.memory import DAY, MOST_MOVES, NOTHING, SCALE, Known, Memory, mark, seen

Values: TypeAlias = tuple[Any, ...]
"""All that the rules name of a record, as `Gate.read` gives it."""
NONE: frozenset[str] = frozenset()

INT64 = 2**63 - 1
SLACK = timedelta(days=1)
"""Clocks and time zones of providers may be off by this much."""
AHEAD = SLACK.total_seconds()
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


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What the call asked for. `known_key`: the key of the entity that is known by the handle that was asked for, if one is."""

    operation: str
    params: Mapping[str, object] = {}
    known_key: str | None = None


class Gate:
    """The rules of one entity, prepared. A record is anything that has the attributes that the rules name.

    All that the rules name is read of a record at once, as a tuple. What is prepared here are the places in it.
    """

    def __init__(self, rules: EntityRules, since: datetime) -> None:
        self.rules = rules
        self.accepted = Judgement(Ruling.ACCEPT, 100, rules.version)
        self._since = since - SLACK
        pairs: tuple[NeverMore | SeldomMore, ...] = (*rules.never, *rules.seldom)
        named = [
            rules.key,
            *(number.name for number in rules.numbers),
            *(name for pair in pairs for name in (pair.name, pair.than)),
        ]
        named += [*rules.dates, *rules.face, *(name for name in (rules.handle, rules.verified) if name)]
        named += [name for asked in rules.identity.values() for name in asked.values()]
        places = self._places = {name: place for place, name in enumerate(dict.fromkeys(named))}
        # With the key twice, so that the getter returns a tuple for one field too.
        self.read = attrgetter(*places, rules.key)
        self._numbers = tuple((places[number.name], number.name, number) for number in rules.numbers)
        self._learns = tuple(one for one in self._numbers if one[2].is_remembered)
        self._never = tuple((pair, places[pair.name], places[pair.than]) for pair in rules.never)
        self._seldom = tuple((pair, places[pair.name], places[pair.than]) for pair in rules.seldom)
        remembered = {name for _, name, _ in self._learns}
        self._compares_unknown = any(not {pair.name, pair.than} <= remembered for pair in rules.seldom)
        self._dates = tuple((places[name], name) for name in rules.dates)
        self._face = tuple(places[name] for name in rules.face)
        self._handle = places[rules.handle] if rules.handle else None
        self._verified = places[rules.verified] if rules.verified else None
        self._born = places[rules.born] if rules.born else None
        self._recognises = bool(rules.face or rules.handle or rules.verified)

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
        return self._judge(self.read(record), memory, at, source, asked, widened)

    def _judge(
        self, values: Values, memory: Memory, at: float, source: str, asked: Asked | None, widened: Widened
    ) -> Judgement:
        reasons: list[Reason] = []
        known = memory.numbers
        for place, name, number in self._numbers:
            value = values[place]
            if value is None:
                continue
            last = known.get(name)
            if last is not None and value == last.value:
                continue
            if value < 0 and not number.signed:
                reasons.append(Reason("negative", Ruling.REJECT, name, 100, now=float(value)))
            elif value > INT64:
                reasons.append(Reason("beyond_int64", Ruling.REJECT, name, 100, now=float(value)))
            elif number.most is not None and value > number.most:
                reasons.append(Reason("beyond_all", Ruling.HOLD, name, 100, now=value))
            elif last is not None:
                self._moved(values, number, last, value, at, source, widened, reasons)
            elif value == 0 and number.drop_from == 1:
                reasons.append(Reason("first_zero", Ruling.NOTE, name, 10, now=0))
        for never, place, than in self._never:
            value, other = values[place], values[than]
            if value is not None and other is not None and value >= never.at_least and value > other:
                reasons.append(Reason("more_than_possible", Ruling.REJECT, never.name, 100, now=float(value)))
        for seldom, place, than in self._seldom:
            value, other = values[place], values[than]
            if value is None or other is None or value < seldom.at_least or value <= seldom.times * other:
                continue
            self._compare(seldom, value, known, reasons)
        for place, name in self._dates:
            value = values[place]
            if value is None:
                continue
            if value < self._since:
                reasons.append(Reason("before_the_platform", Ruling.REJECT, name, 100))
            elif value.timestamp() > at + AHEAD:
                reasons.append(Reason("in_the_future", Ruling.REJECT, name, 100))
        if asked is not None:
            self._identify(values, asked, reasons)
        if self._recognises and memory is not NOTHING:
            self._recognise(values, memory, reasons)
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
        return self.judge_read([self.read(record) for record in records], memories, at, source, asked, widened)

    def judge_read(
        self,
        records: Sequence[Values],
        memories: Sequence[Memory],
        at: float,
        source: str,
        asked: Asked | None,
        widened: Widened,
        steady: Sequence[Memory | None] | None = None,
    ) -> list[Judgement]:
        """As `judge_answer`, of records that `read` has read. `steady`: what `steady` said of each, where it was asked."""
        if asked is not None and asked.known_key is None and asked.operation not in self.rules.identity:
            asked = None  # a page of posts was asked for by nothing that a post has
        if steady is None:
            steady = (None,) * len(records)
        found = [
            self._judge(record, memory, at, source, asked, widened) if same is None else self._asked_for(record, asked)
            for record, memory, same in zip(records, memories, steady, strict=True)
        ]
        placeholder = self.rules.placeholder
        if placeholder is None or len(records) < placeholder.at_least:
            return found
        where = self._places[placeholder.name]
        told = [value for record in records if (value := record[where]) is not None]
        same = told.count(placeholder.value)
        if len(told) < placeholder.at_least or same * 2 <= len(told):
            return found
        for place, (record, memory) in enumerate(zip(records, memories, strict=True)):
            last = memory.numbers.get(placeholder.name)
            if record[where] == placeholder.value and (last is None or last.value != placeholder.value):
                before = None if last is None else last.value
                reason = Reason("placeholder", Ruling.HOLD, placeholder.name, 60, before, placeholder.value)
                found[place] = judged(self.rules.version, (*found[place].reasons, reason))
        return found

    def steady(self, values: Values, memory: Memory, at: int, latest: datetime) -> Memory | None:
        """The memory after an observation that tells nothing but what is known, as most do: no rule finds such a record unusual, except by what was asked
        for. `None`: it has to be judged. `latest`: no date may be later.

        It does in one pass what `judge` and `learn` do in two, and leaves out the rules of which the last accepted values are an answer already.
        """
        known = memory.numbers
        if not known or self._compares_unknown:
            return None
        numbers = known.copy()
        for place, name, _ in self._numbers:
            value = values[place]
            if value is None:
                continue
            last = known.get(name)
            if last is None or value != last.value or at < last.at:
                return None
            # As `moved` has it, without the call.
            moves, spread = last.moves + 1 if last.moves < MOST_MOVES else MOST_MOVES, last.spread
            numbers[name] = Known(value, at, moves, spread - spread // moves)
        for place, _ in self._dates:
            value = values[place]
            if value is not None and not self._since <= value <= latest:
                return None
        for never, place, than in self._never:
            value, other = values[place], values[than]
            if value is not None and other is not None and value >= never.at_least and value > other:
                return None
        if not self._recognises:
            return Memory(numbers, memory.face, memory.handle, memory.is_verified, memory.held_since)
        verified = memory.is_verified
        if self._verified is not None and (told := values[self._verified]) is not None:
            if verified and not told:
                return None
            verified = told
        face = seen(memory.face, [values[place] for place in self._face])
        handle = (mark(values[self._handle]) if self._handle is not None else 0) or memory.handle
        if face != memory.face or handle != memory.handle:
            return None
        return Memory(numbers, face, handle, verified, memory.held_since)

    def learn(self, memory: Memory, record: object, judgement: Judgement, *, at: float) -> Memory:
        """The memory after this observation. Nothing of a record that was rejected or held as a whole is learnt, and no field that was held."""
        return self.learn_read(memory, self.read(record), judgement, at)

    def learn_read(self, memory: Memory, values: Values, judgement: Judgement, at: float) -> Memory:
        """As `learn`, of a record that `read` has read."""
        withheld = NONE
        if judgement is not self.accepted and judgement.ruling > Ruling.NOTE:
            withheld = judgement.withheld
            if judgement.ruling is Ruling.REJECT:
                return memory
            memory = memory.holding(int(at))
            if WHOLE in withheld:
                return memory
        numbers, seconds = memory.numbers.copy(), int(at)
        for place, name, number in self._learns:
            value = values[place]
            if value is None or name in withheld:
                continue
            known = numbers.get(name)
            if known is None:
                numbers[name] = Known(value, seconds)
            elif value == known.value and seconds >= known.at:
                # Most values stay. As `moved` has it, without the call.
                moves = known.moves + 1 if known.moves < MOST_MOVES else MOST_MOVES
                numbers[name] = Known(value, seconds, moves, known.spread - known.spread // moves)
            else:
                numbers[name] = known.moved(number, value, seconds)
        if not self._recognises:
            return Memory(numbers, memory.face, memory.handle, memory.is_verified, memory.held_since)
        told = None
        if self._verified is not None and self.rules.verified not in withheld:
            told = values[self._verified]
        return Memory(
            numbers,
            seen(memory.face, [values[place] for place in self._face]),
            (mark(values[self._handle]) if self._handle is not None else 0) or memory.handle,
            memory.is_verified if told is None else told,
            memory.held_since,
        )

    def _moved(
        self,
        values: Values,
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
        elif abs(value - before) <= number.least * before or self._may_rise(values, number, at, falls=falls):
            return
        else:
            limit = reach(number, last, at, source)
        start, end = (before, max(value, 0.5)) if falls else (max(before, FEW), max(value, FEW))
        share = abs(math.log(end / start)) / limit
        if share > 1:
            reasons.append(Reason("range", Ruling.HOLD, number.name, min(100, int(50 * share)), before, value))
        elif share >= NOTED:
            reasons.append(Reason("range", Ruling.NOTE, number.name, int(50 * share), before, value))

    def _may_rise(self, values: Values, number: Number, at: float, *, falls: bool) -> bool:
        """Whether the number rises on a young entity, where it may rise without limit. An entity whose age was not told counts as young."""
        if falls or not number.settles:
            return False
        born = values[self._born] if self._born is not None else None
        return born is None or at - born.timestamp() < number.settles * DAY

    def _asked_for(self, values: Values, asked: Asked | None) -> Judgement:
        """The judgement on a record of which `steady` gives a memory."""
        if asked is None:
            return self.accepted
        reasons: list[Reason] = []
        self._identify(values, asked, reasons)
        return judged(self.rules.version, tuple(reasons)) if reasons else self.accepted

    def _compare(self, seldom: SeldomMore, value: int, known: Mapping[str, Known], reasons: list[Reason]) -> None:
        """A number that is seldom so much more than another one. Where it was accepted before, it is usual for this entity."""
        last, last_than = known.get(seldom.name), known.get(seldom.than)
        if last is None or last_than is None or last.value <= seldom.times * last_than.value:
            reasons.append(Reason("more_than_usual", Ruling.HOLD, seldom.name, 60, now=float(value)))

    def _identify(self, values: Values, asked: Asked, reasons: list[Reason]) -> None:
        for param, name in self.rules.identity.get(asked.operation, {}).items():
            wanted, told = asked.params.get(param), values[self._places[name]]
            if wanted is not None and told is not None and _same(str(wanted)) != _same(str(told)):
                reasons.append(Reason("another_identity", Ruling.REJECT, name, 100))
                return
        if asked.known_key is not None and values[-1] != asked.known_key:
            # The handle may have been given away, or the source may have mixed two entities up.
            reasons.append(Reason("handle_moved", Ruling.HOLD, WHOLE, 80))

    def _recognise(self, values: Values, memory: Memory, reasons: list[Reason]) -> None:
        rules = self.rules
        if rules.verified and memory.is_verified and self._verified is not None and values[self._verified] is False:
            reasons.append(Reason("verified_lost", Ruling.HOLD, rules.verified, 60))
        if self._face and memory.face:
            changed = 0
            for place, old in zip(self._face, memory.face, strict=True):
                new = mark(values[place]) if old else 0
                if not new or new == old:
                    break
                changed += 1
            if changed == len(self._face):
                reasons.append(Reason("face_changed", Ruling.HOLD, WHOLE, 60))
        if rules.handle and memory.handle and self._handle is not None:
            told = mark(values[self._handle])
            if told and told != memory.handle:
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
