"""What happens to one held record until it is accepted or rejected: which source is asked next, when, and what its answer means.

A source that is independent of the one that was held is asked first. If it says the same, the held record is accepted. If it says what was known, the
record is rejected, and this counts against its source. Where no such source can be asked, or none knows, the same question is put again after
1, 6 and 24 hours. Then a person decides.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

import msgspec

from beat_actors.platforms.interface import EntityRules, Number, Trust
from beat_actors.trust.gate import reach, step
from beat_actors.trust.judgement import WHOLE, Judgement
from beat_actors.trust.memory import Known, Memory, mark

AGAIN = (3600.0, 21_600.0, 86_400.0)
"""Seconds after which a held record is asked about again."""

Told = int | float | str | bool | None


class State(StrEnum):
    ASKING = "asking"
    WAITING = "waiting"
    PERSON = "person"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


ENDED = frozenset({State.ACCEPTED, State.REJECTED})


class Report(msgspec.Struct, frozen=True):
    """What one source said of the held fields. `at`: epoch seconds of its answer. A field that it does not report is missing or `None`."""

    source: str
    values: dict[str, Told]
    at: float


class Held(msgspec.Struct, frozen=True):
    """A held record. `good`: the last accepted values of the held fields. `asks`: the source whose answer is awaited; `asked`: those that were
    asked in this round. `next_at`: when the next round begins. `why`: what ended it, or why a person has to decide."""

    said: Report
    good: dict[str, Known]
    since: float
    state: State = State.WAITING
    asks: str = ""
    asked: tuple[str, ...] = ()
    witnesses: tuple[Report, ...] = ()
    rounds: int = 0
    next_at: float | None = None
    why: str = ""

    @property
    def is_decided(self) -> bool:
        return self.state in ENDED


class Meaning(StrEnum):
    """What a report says of the held one."""

    SAME = "same"
    KNOWN = "known"
    THIRD = "third"
    SILENT = "silent"


def reported(rules: EntityRules, record: object, judgement: Judgement, *, source: str, at: float) -> Report:
    """What a record says of the fields that were held."""
    return told(rules, record, judgement.withheld, source=source, at=at)


def told(rules: EntityRules, record: object, fields: Collection[str], *, source: str, at: float) -> Report:
    """What a record says of these fields. Of a record that is held as a whole these are its key and the texts of its face: sources
    keep pictures under names of their own."""
    values: dict[str, Told] = {}
    for name in fields:
        if name != WHOLE:
            values[name] = getattr(record, name)
            continue
        values[rules.key] = getattr(record, rules.key)
        for text in rules.face:
            value = getattr(record, text)
            if isinstance(value, str) and not value.startswith(("https://", "http://")):
                values[text] = mark(value)
    return Report(source, values, at)


class Witnesses:
    """The rules by which held records of one entity are decided."""

    def __init__(self, trust: Trust, rules: EntityRules) -> None:
        self._trust = trust
        self._numbers: Mapping[str, Number] = {number.name: number for number in rules.numbers}

    def hold(self, said: Report, memory: Memory, chain: Sequence[str], now: float) -> Held:
        """`chain`: the sources that can be asked for this now, in order."""
        good = {name: memory.numbers[name] for name in said.values if name in memory.numbers}
        return self._onward(Held(said, good, now), chain, now)

    def answered(self, held: Held, told: Report, chain: Sequence[str], now: float) -> Held:
        """An answer came: of the source that was asked, or of another one that was asked for another reason."""
        if held.is_decided:
            return held
        meaning = self.meaning(held, told)
        held = msgspec.structs.replace(held, witnesses=(*held.witnesses, told)[-MOST_WITNESSES:])
        if meaning is Meaning.KNOWN:
            return _ended(held, State.REJECTED, f"{told.source} says what was known")
        if meaning is Meaning.SAME and self._trust.are_independent(told.source, held.said.source):
            return _ended(held, State.ACCEPTED, f"{told.source} says the same")
        if held.state is State.ASKING and told.source == held.asks:
            return self._onward(held, chain, now)
        return held

    def failed(self, held: Held, source: str, chain: Sequence[str], now: float) -> Held:
        """The source that was asked has no answer."""
        if held.state is not State.ASKING or source != held.asks:
            return held
        return self._onward(held, chain, now)

    def unasked(self, held: Held, now: float) -> Held:
        """Nobody is asked about it now, because many records are held: it waits for the next round."""
        return self._onward(msgspec.structs.replace(held, asks="", asked=()), (), now) if not held.is_decided else held

    def due(self, held: Held, chain: Sequence[str], now: float) -> Held:
        """The next round, if it is time. The source itself is asked where no other can be."""
        if held.state is not State.WAITING or held.next_at is None or now < held.next_at:
            return held
        asks = self._witness(held, chain) or held.said.source
        return _asking(held, asks)

    def decided(self, held: Held, *, accept: bool, by: str) -> Held:
        """A person decided."""
        return held if held.is_decided else _ended(held, State.ACCEPTED if accept else State.REJECTED, f"by {by}")

    def meaning(self, held: Held, told: Report) -> Meaning:
        """A report that lacks one of the held fields says nothing."""
        same = known = True
        for name, said in held.said.values.items():
            value = told.values.get(name)
            if value is None:
                return Meaning.SILENT
            number = self._numbers.get(name)
            if number is None or not _are_numbers(value, said):
                equal = value == said
                same, known = same and equal, known and not equal
                continue
            same = same and agree(number, _number(said), held.said.source, _number(value), told.source)
            good = held.good.get(name)
            known = known and good is not None and _is_within(number, good, _number(value), told)
        if same:
            return Meaning.SAME
        return Meaning.KNOWN if known else Meaning.THIRD

    def _witness(self, held: Held, chain: Sequence[str]) -> str | None:
        """The next source that can confirm the record and was not asked in this round."""
        for source in chain:
            if source not in held.asked and self._trust.are_independent(source, held.said.source):
                return source
        return None

    def _onward(self, held: Held, chain: Sequence[str], now: float) -> Held:
        if held.rounds == 0 or held.asks != held.said.source:
            witness = self._witness(held, chain)
            if witness is not None:
                return _asking(held, witness)
        if held.rounds == len(AGAIN):
            return msgspec.structs.replace(
                held, state=State.PERSON, asks="", next_at=None, why="no independent source confirms or refutes it"
            )
        next_at = max(now, held.since + AGAIN[held.rounds])
        return msgspec.structs.replace(
            held, state=State.WAITING, asks="", asked=(), rounds=held.rounds + 1, next_at=next_at
        )


MOST_WITNESSES = 8


def agree(number: Number, one: float, one_source: str, other: float, other_source: str) -> bool:
    """Whether two sources say the same. Each may round or cut to its own number of digits, and some time lies between them."""
    steps = step(int(one), number.digits_of(one_source)) + step(int(other), number.digits_of(other_source))
    slack = number.agrees * max(abs(one), abs(other))
    return abs(one - other) <= max(steps - 1, slack, 1)


def _is_within(number: Number, good: Known, value: float, told: Report) -> bool:
    if agree(number, good.value, told.source, value, told.source):
        return True
    if good.value <= 0 or value <= 0:
        return False
    return abs(math.log(value / good.value)) <= reach(number, good, told.at, told.source)


def _are_numbers(*values: Told) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _number(value: Told) -> float:
    assert isinstance(value, int | float)
    return value


def _asking(held: Held, source: str) -> Held:
    return msgspec.structs.replace(held, state=State.ASKING, asks=source, asked=(*held.asked, source), next_at=None)


def _ended(held: Held, state: State, why: str) -> Held:
    return msgspec.structs.replace(held, state=state, asks="", next_at=None, why=why)
