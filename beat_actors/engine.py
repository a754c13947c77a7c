"""What a process that works holds: settings, database, vault, credentials, the way out."""

from dataclasses import dataclass
from typing import Self

from beat_actors.credentials.manager import CredentialManager
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.settings import Settings
from beat_actors.transport.http import ProviderClient


@dataclass(frozen=True, slots=True)
class Engine:
    settings: Settings
    database: Database
    vault: Vault
    credentials: CredentialManager
    client: ProviderClient

    @classmethod
    def start(cls, settings: Settings, *, name: str, actor: str | None = None) -> Self:
        """Inside a running event loop. Connections are made when they are first needed. `actor`: in whose name; default: `name`."""
        database, vault = Database(settings, name=name), Vault(settings)
        return cls(
            settings, database, vault, CredentialManager(database, vault, actor=actor or name), ProviderClient(settings)
        )

    async def close(self) -> None:
        await self.client.close()
        await self.database.close()
