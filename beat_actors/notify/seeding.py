"""The sinks of BEAT_NOTIFY become rows when a deliverer starts."""

from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.errors import BadInput, BadSettings
from beat_actors.notify import sinks
from beat_actors.notify.kinds import Definition, Route, address, check_route
from beat_actors.notify_settings import NotifySink
from beat_actors.settings import Settings

ACTOR = "settings"


def check(settings: Settings) -> None:
    """Raises `BadSettings`, with the name of the sink, for one that cannot be."""
    for name, sink in (settings.notify or {}).items():
        try:
            address(_definition(sink), private=True)
            check_route(_route(sink), sink.kind)
        except BadInput as error:
            raise BadSettings(f"BEAT_NOTIFY: {name}: {error}") from None


async def seed(database: Database, vault: Vault) -> None:
    """Write them down, where the setting is set."""
    named = database.settings.notify
    if named is not None:
        given = {name: (_definition(sink), _route(sink)) for name, sink in named.items()}
        async with database.transaction() as transaction:
            await sinks.seed(transaction, vault, given, actor=ACTOR)


def _definition(sink: NotifySink) -> Definition:
    return Definition(
        kind=sink.kind,
        url=None if sink.url is None else sink.url.get_secret_value(),
        key=None if sink.key is None else sink.key.get_secret_value(),
        to=sink.to,
        sender=sink.sender,
    )


def _route(sink: NotifySink) -> Route:
    return Route(
        severity=sink.severity,
        platforms=sink.platforms,
        hours=sink.hours,
        days=sink.days,
        timezone=sink.timezone,
        group_by=sink.group_by,
        repeat=sink.repeat,
        resolved=sink.resolved,
    )
