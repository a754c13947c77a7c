"""The part of a record that the gate reads. Stages hand records on as JSON, and to read all of their texts would cost more than to judge them."""

from collections.abc import Callable, Sequence
from functools import cache

import msgspec

from beat_actors.platforms.interface import EntityRules


@cache
def reader(rules: EntityRules) -> Callable[[bytes | msgspec.Raw], Sequence[object]]:
    """`facts` of these rules. Who reads often keeps it: to look it up here takes as long as to read some records."""
    names = {rules.key, *(number.name for number in rules.numbers), *rules.dates, *rules.face}
    names |= {name for asked in rules.identity.values() for name in asked.values()}
    names |= {name for name in (rules.handle, rules.born, rules.verified) if name}
    names |= {name for pair in rules.never for name in (pair.name, pair.than)}
    names |= {name for pair in rules.seldom for name in (pair.name, pair.than)}
    fields = [each for each in msgspec.structs.fields(rules.record) if each.name in names]
    fields.sort(key=lambda each: not each.required)
    declared: list[str | tuple[str, type] | tuple[str, type, object]] = [
        (each.name, each.type) if each.required else (each.name, each.type, each.default) for each in fields
    ]
    facts = msgspec.defstruct(f"FactsOf{rules.record.__name__}", declared, frozen=True, gc=False)
    return msgspec.json.Decoder(list[facts]).decode  # type: ignore[valid-type]


def facts(rules: EntityRules, records: bytes | msgspec.Raw) -> Sequence[object]:
    """A JSON array of records of one entity, each as an object with the attributes that the gate needs. Raises `msgspec.ValidationError` for what is no
    such array."""
    return reader(rules)(records)
