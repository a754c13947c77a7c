"""What a platform declares. A platform imports the names of its declarations from this module.

A platform is one folder. It declares entities (what is known about a thing), sources (one module for each provider), chains (which sources
serve an operation, in order), and flows (what a consumer may ask for). Nothing here does I/O: a source builds a `Call` and reads an
`Answer`, and the engine's HTTP client makes the call in between.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from beat_actors.assets.classes import AssetClass
from beat_actors.errors import NotFound, UnknownFlow
from beat_actors.platforms.calls import (
    FINAL,
    NOT_SENT,
    Answer,
    Call,
    FetchSpec,
    Outcome,
    Parsed,
    Reported,
    Secret,
    Verdict,
)
from beat_actors.platforms.entities import (
    Entity,
    Listed,
    Personal,
    Record,
    Refetch,
    Tells,
    Told,
    fields_of,
    observed,
    told,
)
from beat_actors.platforms.flows import Flow, FollowUps, OnDemand, RequestLimit, Resume
from beat_actors.platforms.logins import Login, LoginStep
from beat_actors.platforms.sources import (
    CHECK,
    REFRESH,
    UPKEEP,
    WAITS,
    CallBuilder,
    Check,
    Endpoint,
    ErrorRule,
    Health,
    Limit,
    Many,
    NextParser,
    Parser,
    Refresh,
    Renewed,
    Source,
)
from beat_actors.platforms.trust import NO_TRUST, EntityRules, NeverMore, Number, Placeholder, SeldomMore, Trust

__all__ = [
    "CHECK",
    "FINAL",
    "NOT_SENT",
    "REFRESH",
    "UPKEEP",
    "WAITS",
    "Answer",
    "AssetClass",
    "Call",
    "CallBuilder",
    "Check",
    "Endpoint",
    "Entity",
    "EntityRules",
    "ErrorRule",
    "FetchSpec",
    "Flow",
    "FollowUps",
    "Health",
    "Limit",
    "Listed",
    "Login",
    "LoginStep",
    "Many",
    "NeverMore",
    "NextParser",
    "Number",
    "OnDemand",
    "Outcome",
    "Parsed",
    "Parser",
    "Personal",
    "Placeholder",
    "Platform",
    "Record",
    "Refetch",
    "Refresh",
    "Renewed",
    "Reported",
    "RequestLimit",
    "Resume",
    "Secret",
    "SeldomMore",
    "Source",
    "Tells",
    "Told",
    "Trust",
    "Verdict",
    "fields_of",
    "observed",
    "told",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Platform:
    """All that the engine needs to know of one platform. The first flow is the default of `beat scrape`.

    `record_lists`: the fields of its payloads whose items are records and not parts of a record ("" for a list without a name). An item that
    cannot be read is left out, and the rest of the list is read. `trust`: what its data cannot be, and how its numbers usually move.
    """

    name: str
    sources: Mapping[str, Source]
    chains: Mapping[str, tuple[str, ...]]
    flows: Mapping[str, Flow]
    entities: tuple[Entity, ...]
    on_demand: OnDemand | None = None
    record_lists: frozenset[str] = frozenset()
    trust: Trust = NO_TRUST

    def flow(self, name: str) -> Flow:
        """Raises `UnknownFlow`."""
        try:
            return self.flows[name]
        except KeyError:
            known = ", ".join(sorted(self.flows))
            raise UnknownFlow(f"{self.name} has no flow {name!r}; it has: {known}", field="flow") from None

    def entity_in(self, table: str) -> Entity:
        """The entity of this table. Raises `StopIteration` where the platform has none."""
        return next(entity for entity in self.entities if entity.table == table)

    def entity_named(self, kind: str) -> Entity:
        """Raises `NotFound` where the platform keeps no such things."""
        for entity in self.entities:
            if entity.kind == kind:
                return entity
        raise NotFound(f"{self.name} keeps no {kind}; it keeps: {', '.join(sorted(one.kind for one in self.entities))}")

    def entity_of(self, record: Record) -> Entity:
        """Raises `TypeError` for a record that no entity declares."""
        for entity in self.entities:
            if type(record) is entity.record:
                return entity
        raise TypeError(f"{self.name} declares no entity for {type(record).__name__}")
