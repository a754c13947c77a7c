"""What a platform declares of the things that it knows: their tables, names, lists and personal data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from beat_actors.assets.classes import AssetClass


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One observation of a thing. A field that is `None` is unknown, and never overwrites a known value."""


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
    def parent(self) -> Listed | None:
        """The first list that these things are in by the key of its owner, as the posts of a profile. An answer about the owner brings them too."""
        return next((listed for listed in self.lists if listed.theirs is None), None)
