"""What a platform declares of the things that it knows: their tables, names, lists and personal data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from beat_actors.assets.classes import AssetClass


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One observation of a thing. A field that is `None` is unknown, and leaves a known value as it is, unless it is in `empty`.

    A parser says two things beside the values. `hidden`: counts that the owner of the thing hides. `untold`: fields that its endpoint usually tells
    (`Told.always`) and this answer does not mention. The engine fills in `empty`: fields that the answer tells to be empty.
    """

    hidden: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()


REMARKS = frozenset({"hidden", "untold", "empty"})
"""Fields of a record that are no fields of the thing."""


def fields_of(record: type[Record]) -> tuple[str, ...]:
    """The fields of the thing that a record observes."""
    return tuple(name for name in record.__struct_fields__ if name not in REMARKS)


@dataclass(frozen=True, slots=True)
class Told:
    """Which fields of things of one type an endpoint tells.

    `always`: every answer speaks of them, so `None` means that the thing has none: it clears what was known. `sometimes`: an answer may have them;
    `None` means that it does not speak of them. An endpoint never has a value for other fields.
    """

    always: frozenset[str]
    sometimes: frozenset[str]

    @property
    def fields(self) -> frozenset[str]:
        return self.always | self.sometimes


Tells = Mapping[type[Record], Told]
"""What an endpoint tells, by the type of the records that its parser returns."""


def told(record: type[Record], *, always: Iterable[str] = (), never: Iterable[str] = ()) -> Tells:
    """What an endpoint tells of one type: `always` and `never` are named, all other fields are told sometimes. Raises `ValueError` for a field that
    the type does not have."""
    fields, always, never = frozenset(fields_of(record)), frozenset(always), frozenset(never)
    if not always | never <= fields or always & never:
        raise ValueError(f"{record.__name__}: {', '.join(sorted((always | never) - fields | always & never))}")
    return {record: Told(always, fields - always - never)}


def observed(record: Record, tells: Tells | None) -> Record:
    """A record with `empty`: what its answer says to be empty, by what its endpoint tells. Without a declaration nothing is empty."""
    of = None if tells is None else tells.get(type(record))
    empty = record.hidden
    if of is not None:
        silent = record.untold
        empty += tuple(
            name for name in of.always if getattr(record, name) is None and name not in silent and name not in empty
        )
    return msgspec.structs.replace(record, empty=tuple(sorted(empty))) if empty else record


@dataclass(frozen=True, slots=True)
class Refetch:
    """A flow that observes a thing again. `params`: the field of the thing from which each parameter is taken. `fixed`: constant parameters.

    A field of the thing's owner is written `KIND.FIELD`, as `profiles.handle`.
    """

    flow: str
    params: Mapping[str, str] = field(hash=False)
    fixed: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """These things are listed under a thing of the kind `under`: those whose `field` equals the owner's field `theirs`.

    `theirs`: the default is the owner's key. `name`: of the list; the default is the entity's kind. `refetch`: the flows that observe the
    list again. Their parameters are taken from the owner's fields.
    """

    under: str
    field: str
    theirs: str | None = None
    name: str | None = None
    refetch: tuple[Refetch, ...] = ()


@dataclass(frozen=True, slots=True)
class Personal:
    """Personal data. `what`: in words, what the data say about whom. `fields`: those that hold it. `subject`: those with a person's id or handle."""

    what: str
    fields: tuple[str, ...] = ()
    subject: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entity:
    """Where the records of one type are kept: the current state in `table`, every observation in `log` (dimensions and metrics).

    `kind`: what consumers call these things, in the plural; the paths of the API have it. `names`: the fields, beside the key, by which a
    thing is found without regard to case. `lists`: the things under which these are listed; `newest`: the time by which a list is sorted.
    `refetch`: the flows that observe a thing again. The first one whose parameters are all known is used. `max_age`: seconds after which a
    thing is no longer fresh.

    `metrics`: the fields that are numbers over time. All others, except the key, are dimensions. `assets`: the fields that hold media
    URLs, and what each shows: Beat stores what the URLs lead to, avatars first. `volatile`: fields that change although the thing does not, as signed URLs do. They are kept in `table` and not logged. `subject`:
    the field by which the log is read; the default is the key. `version`: the field by which the provider says which of two observations
    is newer; the default is the time of the observation. `personal`: the personal data. An entity without any declares no fields.
    """

    record: type[Record]
    kind: str
    table: str
    log: str | None
    key: str
    metrics: frozenset[str]
    assets: Mapping[str, AssetClass] = field(default_factory=dict, hash=False)
    volatile: frozenset[str] = frozenset()
    subject: str | None = None
    version: str | None = None
    names: tuple[str, ...] = ()
    lists: tuple[Listed, ...] = ()
    newest: str | None = None
    refetch: tuple[Refetch, ...] = ()
    max_age: float = 86_400.0
    personal: Personal | None = None

    def __post_init__(self) -> None:
        # Platforms of other distributions declared the names alone before there were classes.
        if isinstance(self.assets, tuple):
            object.__setattr__(self, "assets", dict.fromkeys(self.assets, AssetClass.OTHER))

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of its fields, in the order of the record."""
        return fields_of(self.record)

    @property
    def parent(self) -> Listed | None:
        """The first list that these things are in by the key of its owner, as the posts of a profile. An answer about the owner brings them too."""
        return next((listed for listed in self.lists if listed.theirs is None), None)
