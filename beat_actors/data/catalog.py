"""What there is to ask for and to read: platforms, their flows with parameters, their operations with chains, their entities."""

from typing import Any

import msgspec

from beat_actors.data.reading import lists_under
from beat_actors.errors import UnknownFlow
from beat_actors.pipeline.entities import column_types
from beat_actors.platforms.interface import Entity, Flow, Platform
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.platforms.registry import platforms


class FlowSchema(msgspec.Struct, frozen=True):
    """`params`: a JSON Schema of the parameters. A platform's first flow is the default flow."""

    name: str
    params: dict[str, Any]


class EntityView(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of data. An entity is found by its `key` or by one of its `names`. `lists`: the kinds that are listed under an entity, by the name of
    the list.

    `max_age`: seconds for which stored data counts as fresh. `refreshed_by`: the flows that refresh an entity.
    """

    kind: str
    key: str
    names: tuple[str, ...]
    dimensions: list[str]
    metrics: list[str]
    history: bool
    max_age: float
    refreshed_by: list[str]
    lists: dict[str, str]


class PlatformView(msgspec.Struct, frozen=True):
    """A platform. `operations`: the sources of each operation, in the order in which Beat asks them. An operation with one source has no fallback."""

    name: str
    sources: list[str]
    flows: list[FlowSchema]
    operations: dict[str, tuple[str, ...]]
    entities: list[EntityView]
    on_demand: str | None


def kinds() -> list[str]:
    """The kinds of things that any platform keeps."""
    return sorted({entity.kind for platform in platforms().values() for entity in platform.entities})


def lists_of(kind: str) -> list[str]:
    """The names of the lists that any platform has under this kind."""
    return sorted({name for platform in platforms().values() for name in lists_under(platform, kind)})


def check_flow(platform: str | None, flow: str | None) -> None:
    """Raises `UnknownPlatform` for a platform, and `UnknownFlow` for a flow of it, or of any, that does not exist. The error lists those that do."""
    if platform is not None:
        named = platform_named(platform)
        if flow is not None:
            named.flow(flow)
    elif flow is not None:
        known = sorted({name for each in platforms().values() for name in each.flows})
        if flow not in known:
            raise UnknownFlow(f"there is no flow {flow!r}; there are {', '.join(known)}", field="flow")


def view(platform: Platform) -> PlatformView:
    return PlatformView(
        name=platform.name,
        sources=list(platform.sources),
        flows=[FlowSchema(flow.name, _schema(flow)) for flow in platform.flows.values()],
        operations=dict(platform.chains),
        entities=[_entity(platform, entity) for entity in platform.entities],
        on_demand=platform.on_demand.flow if platform.on_demand is not None else None,
    )


def _schema(flow: Flow) -> dict[str, Any]:
    (schema,), components = msgspec.json.schema_components([flow.params], ref_template="#/$defs/{name}")
    return {**components.pop(flow.params.__name__, schema), **({"$defs": components} if components else {})}


def _entity(platform: Platform, entity: Entity) -> EntityView:
    fields = list(column_types(entity))
    return EntityView(
        kind=entity.kind,
        key=entity.key,
        names=entity.names,
        dimensions=[name for name in fields if name not in entity.metrics],
        metrics=[name for name in fields if name in entity.metrics],
        history=entity.log is not None,
        max_age=entity.max_age,
        refreshed_by=[refetch.flow for refetch in entity.refetch],
        lists={name: other.kind for name, (other, _) in lists_under(platform, entity.kind).items()},
    )
