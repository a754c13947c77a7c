"""The gate of an entity, and how another source is asked about one such thing: by what its platform declares."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import msgspec

from beat_actors.holds.records import About, Question
from beat_actors.platforms.interface import Entity, EntityRules, Platform, Trust
from beat_actors.platforms.registry import platforms
from beat_actors.trust.facts import reader
from beat_actors.trust.gate import Gate
from beat_actors.trust.witnesses import Witnesses


@dataclass(frozen=True, slots=True)
class Judge:
    """What is needed to judge the records of one entity. `remembers`: whether a rule compares an observation with the ones before it. `facts`: reads
    what the rules name of a JSON array of records."""

    gate: Gate
    witnesses: Witnesses
    remembers: bool
    facts: Callable[[bytes | msgspec.Raw], Sequence[object]]

    @property
    def rules(self) -> EntityRules:
        return self.gate.rules


def judge_of(platform: Platform, entity: Entity) -> Judge | None:
    """`None` where the platform declares no rules for the entity."""
    rules = next((one for one in platform.trust.entities if one.record is entity.record), None)
    return None if rules is None else _judge(rules, _Trusted(platform.trust))


def judge_about(about: About) -> Judge:
    """The judge of a thing of which a record was held, which only a declared rule can do."""
    platform = platforms()[about.platform]
    judge = judge_of(platform, platform.entity_named(about.kind))
    assert judge is not None
    return judge


class _Trusted:
    """A platform's declaration as a key: it has mappings, so it has no hash of its own."""

    __slots__ = ("trust",)

    def __init__(self, trust: Trust) -> None:
        self.trust = trust

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Trusted) and other.trust is self.trust

    def __hash__(self) -> int:
        return id(self.trust)


@cache
def _judge(rules: EntityRules, trusted: _Trusted) -> Judge:
    remembers = bool(rules.handle or rules.face or rules.verified) or any(one.is_remembered for one in rules.numbers)
    return Judge(Gate(rules, trusted.trust.since), Witnesses(trusted.trust, rules), remembers, reader(rules))


def platform_judging(entity: Entity) -> str | None:
    """The platform that declares rules for the entity; `None` where none does."""
    for platform in platforms().values():
        if any(rules.record is entity.record for rules in platform.trust.entities):
            return platform.name
    return None


def asked_handle(rules: EntityRules, operation: str, params: Mapping[str, object]) -> str | None:
    """The handle that a call asked for; `None` where it asked for something else."""
    for param, field in rules.identity.get(operation, {}).items():
        if field == rules.handle and isinstance(wanted := params.get(param), str):
            return wanted.removeprefix("@")
    return None


def question(rules: EntityRules, operation: str, params: Mapping[str, object], record: object) -> Question | None:
    """The call that asks about this thing alone: the same, if that is one, or the first operation whose parameters the record has."""
    if operation in rules.identity:
        return Question(operation, dict(params))
    for other, wanted in rules.identity.items():
        values = {param: getattr(record, field) for param, field in wanted.items()}
        if all(value is not None for value in values.values()):
            return Question(other, values)
    return None
