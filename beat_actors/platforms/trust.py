"""What a platform declares of its numbers: what they cannot be, how they usually move, and which of its sources are independent.

The engine judges every record by these declarations (`beat_actors/trust`). They have no code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from beat_actors.platforms.entities import Record, fields_of


@dataclass(frozen=True, slots=True)
class Number:
    """A count of an entity, and how it moves from one observation to the next.

    `usual`: the mean absolute log change within a day over the platform's entities (0.01 is about 1 %). `None`: the number has no range of its own.
    `least`: a change by less than this share is never held. `drop_from`: a fall by 90 % or more is held if the last value was at least
    this. `None`: falls are not judged by this rule. `only_grows`: the platform does not lower it, so a fall beyond the rounding is held.
    `settles`: days after the entity's first date (`EntityRules.born`) within which a rise is not judged. `most`: a larger value is held.
    `digits`: the significant digits to which a source rounds it; the source `*` stands for all others.
    `agrees`: two sources agree if their values differ by at most this share, because time passes between the two calls.
    `signed`: it may be negative.
    """

    name: str
    usual: float | None = None
    least: float = 0.05
    drop_from: int | None = None
    only_grows: bool = False
    settles: float = 0.0
    most: int | None = None
    digits: Mapping[str, int] = field(default_factory=dict, hash=False)
    agrees: float = 0.02
    signed: bool = False

    def __post_init__(self) -> None:
        if self.signed and self.is_remembered:
            raise ValueError(f"{self.name} may be negative, so it has no range in which it moves")

    @property
    def is_remembered(self) -> bool:
        """Whether a rule compares it with its last value."""
        return self.usual is not None or self.drop_from is not None

    def digits_of(self, source: str) -> int:
        """The significant digits to which the source rounds it; 0 where the source reports it exactly."""
        return self.digits.get(source, self.digits.get("*", 0)) if self.digits else 0


@dataclass(frozen=True, slots=True)
class NeverMore:
    """`name` is never more than `than`, once it is at least `at_least`. Where both are told and it is, the record is rejected."""

    name: str
    than: str
    at_least: int = 0


@dataclass(frozen=True, slots=True)
class SeldomMore:
    """`name` is seldom more than `times` times `than`, once it is at least `at_least`. Where it is, `name` is held."""

    name: str
    than: str
    times: float = 1.0
    at_least: int = 0


@dataclass(frozen=True, slots=True)
class Placeholder:
    """What sources say of a number that the platform hides: `value` on more than half of at least `at_least` records of one answer."""

    name: str
    value: int
    at_least: int = 5


@dataclass(frozen=True, slots=True)
class EntityRules:
    """The rules of one entity. Raise `version` when a rule changes: each judgement names the version.

    `identity`: for each operation that asks for one thing, the parameters by which it asks and the fields that must equal them. `handle`: the
    field that people know the thing by. `dates`: the fields that lie between the platform's first day and the time of the answer.
    `born`: the one of them by which the entity's age is told. `verified`: the field whose loss is held. `face`: the fields that seldom
    change all at once; of a URL only the last part of the path counts.
    """

    record: type[Record]
    version: int
    key: str
    numbers: tuple[Number, ...] = ()
    identity: Mapping[str, Mapping[str, str]] = field(default_factory=dict, hash=False)
    handle: str | None = None
    dates: tuple[str, ...] = ()
    born: str | None = None
    verified: str | None = None
    face: tuple[str, ...] = ()
    never: tuple[NeverMore, ...] = ()
    seldom: tuple[SeldomMore, ...] = ()
    placeholder: Placeholder | None = None

    def __post_init__(self) -> None:
        names = {each.name for each in self.numbers}
        fields = set(fields_of(self.record))
        used = names | {self.key} | set(self.dates) | set(self.face)
        used |= {one for asked in self.identity.values() for one in asked.values()}
        used |= {one for one in (self.handle, self.born, self.verified) if one}
        used |= {one for pair in self.never for one in (pair.name, pair.than)}
        used |= {one for pair in self.seldom for one in (pair.name, pair.than)}
        if unknown := used - fields:
            raise ValueError(f"{self.record.__name__} has no field {', '.join(sorted(unknown))}")
        if self.placeholder is not None and self.placeholder.name not in names:
            raise ValueError(f"the placeholder's {self.placeholder.name} is none of the numbers")
        if len(self.face) == 1:
            raise ValueError(f"{self.face[0]} alone is no face: one field that changes says nothing")
        if self.born is not None and self.born not in self.dates:
            raise ValueError(f"{self.born} is none of the dates")


@dataclass(frozen=True, slots=True)
class Trust:
    """All that a platform declares of the plausibility of its data.

    `since`: the day on which the platform opened. `backends`: the backend that a source resells. Two sources with one backend do not confirm
    each other. A source that is not named here has a backend of its own.
    """

    since: datetime = datetime(1990, 1, 1, tzinfo=UTC)
    entities: tuple[EntityRules, ...] = ()
    backends: Mapping[str, str] = field(default_factory=dict, hash=False)

    def backend(self, source: str) -> str:
        return self.backends.get(source, source)

    def are_independent(self, one: str, other: str) -> bool:
        """Whether the two sources can confirm each other."""
        return self.backend(one) != self.backend(other)


NO_TRUST = Trust()
