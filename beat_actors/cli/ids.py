"""Parameters that take an id, with the ids that the shell offers to complete: those that the command can do something with.

The shell waits while they are asked for, so a Beat that does not answer within seconds offers nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, TypeVar

from cyclopts import Parameter

from beat_actors.cli.operators import There, ask

ANSWERS_WITHIN = 3.0
"""Seconds within which the ids have to come."""
MOST = 50
"""Ids that are offered: more are of no use to a person who types."""
W = TypeVar("W", bound=There)
Completer = Callable[[object], Iterable[str]]


def _asked(group: type[W], work: Callable[[W], Awaitable[Iterable[int | str]]]) -> Iterable[str]:
    """The ids, at most `MOST`. What is raised where nobody answers, the shell's completion takes as no ids."""

    async def in_time(beat: W) -> Iterable[int | str]:
        async with asyncio.timeout(ANSWERS_WITHIN):
            return await work(beat)

    return [str(found) for found in list(ask(group, in_time))[:MOST]]


def _requests(*statuses: str | None) -> Completer:
    """The newest requests in these statuses."""

    def offered(_: object) -> Iterable[str]:
        from beat_actors.cli.operators.requests import There as Requests
        from beat_actors.requests.views import Filter

        async def work(beat: Requests) -> Iterable[int]:
            pages = [await beat.page(Filter(status=status, limit=MOST)) for status in statuses]
            return sorted((one.id for page in pages for one in page.requests), reverse=True)

        return _asked(Requests, work)

    return offered


def _credentials(*states: str) -> Completer:
    """Credentials in these states; all without any."""

    def offered(_: object) -> Iterable[str]:
        from beat_actors.cli.operators.credentials import There as Credentials

        async def work(beat: Credentials) -> Iterable[int]:
            return [one.id for one in await beat.credentials(None) if not states or one.state in states]

        return _asked(Credentials, work)

    return offered


def _alerts(_: object) -> Iterable[str]:
    from beat_actors.cli.operators.watching import There as Watching

    async def work(beat: Watching) -> Iterable[int]:
        return [one.id for one in await beat.alerts(resolved=False)]

    return _asked(Watching, work)


def _webhooks(_: object) -> Iterable[str]:
    from beat_actors.cli.operators.webhooks import There as Webhooks

    async def work(beat: Webhooks) -> Iterable[int]:
        return [one.id for one in await beat.webhooks()]

    return _asked(Webhooks, work)


def _sinks(_: object) -> Iterable[str]:
    from beat_actors.cli.operators.notify import There as Notify

    async def work(beat: Notify) -> Iterable[str]:
        return [one.name for one in await beat.sinks()]

    return _asked(Notify, work)


def _assets(*statuses: str | None) -> Completer:
    """The newest assets in these statuses."""

    def offered(_: object) -> Iterable[str]:
        from beat_actors.assets.upkeep.listing import Filter as Wanted
        from beat_actors.cli.operators.assets import There as Assets

        async def work(beat: Assets) -> Iterable[str]:
            pages = [await beat.page(Wanted(status=status, limit=MOST)) for status in statuses]
            return [one.id for page in pages for one in page.assets if one.id is not None]

        return _asked(Assets, work)

    return offered


AnyRequest = Annotated[str | None, Parameter(completer=_requests(None))]
OpenRequest = Annotated[str, Parameter(completer=_requests("PROCESSING", "PENDING"))]
UnfinishedRequest = Annotated[str, Parameter(completer=_requests("PROCESSING", "PENDING", "FAILED"))]
AnyFailedRequest = Annotated[str | None, Parameter(completer=_requests("FAILED"))]
CredentialId = Annotated[int, Parameter(completer=_credentials())]
AnyDisabledCredential = Annotated[int | None, Parameter(completer=_credentials("disabled", "dead"))]
AnyUsedCredential = Annotated[int | None, Parameter(completer=_credentials("ready", "cooling", "probing"))]
AnyCoolingCredential = Annotated[int | None, Parameter(completer=_credentials("cooling", "probing"))]
AlertId = Annotated[int, Parameter(completer=_alerts)]
WebhookId = Annotated[int, Parameter(completer=_webhooks)]
NotifySinkName = Annotated[str, Parameter(completer=_sinks)]
AnyNotifySink = Annotated[str | None, Parameter(completer=_sinks)]
AssetId = Annotated[str, Parameter(completer=_assets(None))]
AnyGivenUpAsset = Annotated[str | None, Parameter(completer=_assets("FAILED", "EXPIRED", "GONE"))]
