"""What a process that works holds: settings, database, vault, credentials, the way out, and what it cannot do."""

from dataclasses import dataclass, field
from typing import Self

from beat_actors.credentials.manager import CredentialManager
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.errors import BadSettings
from beat_actors.holds.canaries import Canaries, next_parsers
from beat_actors.own_trouble import OwnTrouble
from beat_actors.platforms.registry import platforms
from beat_actors.routes import ALL, ASSETS
from beat_actors.settings import Settings
from beat_actors.transport.http import ProviderClient


@dataclass(frozen=True, slots=True)
class Engine:
    settings: Settings
    database: Database
    vault: Vault
    credentials: CredentialManager
    client: ProviderClient
    own_trouble: OwnTrouble = field(default_factory=OwnTrouble)
    canaries: Canaries = field(default_factory=Canaries)

    @classmethod
    def start(cls, settings: Settings, *, name: str, actor: str | None = None) -> Self:
        """Inside a running event loop. Connections are made when they are first needed. `actor`: in whose name; default: `name`.

        Raises `BadSettings` where BEAT_SOURCES names a source that no platform has, or BEAT_PARSER_CANARY an operation without a next parser.
        """
        check_sources(settings)
        check_canaries(settings)
        database, vault = Database(settings, name=name), Vault(settings)
        return cls(
            settings, database, vault, CredentialManager(database, vault, actor=actor or name), ProviderClient(settings)
        )

    @property
    def usable_keys(self) -> list[str]:
        """The vault's keys that this process holds, without those that open nothing. Raises `SecretMissing`."""
        return [key_id for key_id in self.vault.key_ids if self.own_trouble.may_open(key_id)]

    async def close(self) -> None:
        await self.client.close()
        await self.database.close()


def check_sources(settings: Settings) -> None:
    """A proxy that is set for a mistyped source would be left out without a word. Raises `BadSettings`."""
    if not settings.sources:
        return
    known = {name for platform in platforms().values() for name in platform.sources}
    unknown = sorted(settings.sources.keys() - known - {ALL, ASSETS})
    if unknown:
        raise BadSettings(
            f"BEAT_SOURCES: there is no source {', '.join(unknown)}; there is: {', '.join(sorted(known))}"
        )


def check_canaries(settings: Settings) -> None:
    """A canary of a mistyped operation would be none without a word. Raises `BadSettings`."""
    if not settings.parser_canary:
        return
    known = {f"{one.source}/{one.operation}" for one in next_parsers()}
    unknown = sorted(settings.parser_canary.keys() - known)
    if unknown:
        raise BadSettings(
            f"BEAT_PARSER_CANARY: no next parser is declared for {', '.join(unknown)}; one is for: {', '.join(sorted(known)) or 'none'}"
        )
