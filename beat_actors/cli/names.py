"""Parameters that take a name, with the names that the shell offers to complete."""

from collections.abc import Iterable
from typing import Annotated

from cyclopts import Parameter


def _platforms(_: object) -> Iterable[str]:
    from beat_actors.platforms.registry import platforms

    return sorted(platforms())


def _sources(_: object) -> Iterable[str]:
    from beat_actors.platforms.registry import platforms

    return sorted(name for platform in platforms().values() for name in platform.sources)


def _flows(_: object) -> Iterable[str]:
    from beat_actors.platforms.registry import platforms

    return sorted({name for platform in platforms().values() for name in platform.flows})


def _queues(_: object) -> Iterable[str]:
    from actors.mailbox import QUEUES

    return sorted(QUEUES)


def _statuses(_: object) -> Iterable[str]:
    return ("pending", "processing", "complete", "failed", "cancelled")


def _asset_statuses(_: object) -> Iterable[str]:
    return ("pending", "waiting", "processing", "refetch", "complete", "failed", "expired", "gone")


def _asset_classes(_: object) -> Iterable[str]:
    return ("avatar", "thumbnail", "story", "other")


def _kinds(_: object) -> Iterable[str]:
    return ("malformed", "poison", "implausible", "message")


def _faults(_: object) -> Iterable[str]:
    from beat_actors.simulator.faults import FaultKind

    return sorted({*FaultKind, "malformed"})


PlatformName = Annotated[str, Parameter(completer=_platforms)]
AnyPlatform = Annotated[str | None, Parameter(completer=_platforms)]
SourceName = Annotated[str, Parameter(completer=_sources)]
AnySource = Annotated[str | None, Parameter(completer=_sources)]
FlowName = Annotated[str, Parameter(completer=_flows)]
AnyFlow = Annotated[str | None, Parameter(completer=_flows)]
QueueName = Annotated[str, Parameter(completer=_queues)]
AnyStatus = Annotated[str | None, Parameter(completer=_statuses)]
AnyAssetStatus = Annotated[str | None, Parameter(completer=_asset_statuses)]
AnyAssetClass = Annotated[str | None, Parameter(completer=_asset_classes)]
KindOfEntry = Annotated[str, Parameter(completer=_kinds)]
KindOfFault = Annotated[str, Parameter(completer=_faults)]
