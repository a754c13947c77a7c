"""The result of the gate for one record: a ruling, a score, and the reasons."""

from enum import IntEnum

import msgspec

WHOLE = ""
"""The field of a reason that is about the whole record."""


class Ruling(IntEnum):
    """In the order of severity. ACCEPT and NOTE are written. HOLD has to be confirmed first. REJECT is never written."""

    ACCEPT = 0
    NOTE = 1
    HOLD = 2
    REJECT = 3


class Reason(msgspec.Struct, frozen=True, gc=False):
    """One rule that did not find the record normal. `field` is empty where it is about the whole record. `penalty`: what it costs of the score.

    `before` is the last accepted value, `now` the one that was judged; both are unknown where the rule is about no number.
    """

    rule: str
    ruling: Ruling
    field: str
    penalty: int
    before: float | None = None
    now: float | None = None


class Judgement(msgspec.Struct, frozen=True, gc=False):
    """`score`: 100 where nothing is unusual, 0 where the record cannot be true. `version`: of the rules."""

    ruling: Ruling
    score: int
    version: int
    reasons: tuple[Reason, ...] = ()

    @property
    def is_written(self) -> bool:
        """Whether all of the record is written now."""
        return self.ruling <= Ruling.NOTE

    @property
    def withheld(self) -> frozenset[str]:
        """The fields that are not written; `WHOLE` among them where none is."""
        return frozenset(reason.field for reason in self.reasons if reason.ruling >= Ruling.HOLD)

    @property
    def is_odd(self) -> bool:
        """Whether it counts as out of range in its cohort: held, rejected, or a zero that nothing was known before."""
        return self.ruling >= Ruling.HOLD or any(reason.rule == "first_zero" for reason in self.reasons)


def judged(version: int, reasons: tuple[Reason, ...]) -> Judgement:
    """The judgement for these reasons: the severest ruling, and 100 less all penalties."""
    ruling = max((reason.ruling for reason in reasons), default=Ruling.ACCEPT)
    score = 0 if ruling is Ruling.REJECT else max(0, 100 - sum(reason.penalty for reason in reasons))
    return Judgement(ruling, score, version, reasons)
