"""Provider credentials."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from beat_actors.cli import operators
from beat_actors.cli.operators import named, segment
from beat_actors.credentials.info import CredentialEvent, CredentialInfo

CHANGES = ("enable", "disable", "reset", "share", "unshare")


class CredentialList(msgspec.Struct):
    credentials: list[CredentialInfo]


class History(msgspec.Struct):
    credential: CredentialInfo
    history: list[CredentialEvent]


class Sealed(msgspec.Struct):
    sealed: int


class Offer(NamedTuple):
    """A credential that is to be added."""

    source: str
    secret: Mapping[str, str]
    label: str
    weight: int
    account: str | None
    shared: bool | None


class There(operators.There):
    async def credentials(self, source: str | None) -> list[CredentialInfo]:
        return (await self.client.fetch("/v1/credentials", CredentialList, {"source": source})).credentials

    async def info(self, credential: int) -> CredentialInfo:
        return (await self.client.fetch(_path(credential), History, {"limit": 1})).credential

    async def history(self, credential: int) -> Sequence[CredentialEvent]:
        return (await self.client.fetch(_path(credential), History)).history

    async def add(self, offer: Offer) -> tuple[CredentialInfo, bool]:
        known = {one.id for one in await self.credentials(offer.source)}
        body = named(
            source=offer.source,
            secret=offer.secret,
            label=offer.label,
            weight=offer.weight,
            account_id=offer.account,
            shared=offer.shared,
        )
        found = await self.client.send("POST", "/v1/credentials", CredentialInfo, body)
        return found, found.id not in known

    async def replace(self, credential: int, secret: Mapping[str, str], *, reason: str) -> CredentialInfo:
        body = {"secret": secret, "reason": reason}
        return await self.client.send("POST", f"{_path(credential)}/secret", CredentialInfo, body)

    async def change(self, credential: int, change: str, *, reason: str) -> None:
        path = f"{_path(credential)}/change/{segment(change)}"
        await self.client.send("POST", path, CredentialInfo, {"reason": reason})

    async def check_now(self, credential: int) -> bool:  # noqa: ARG002
        """The API has the check made by itself; that somebody listens is not known here."""
        return True

    async def rotate_keys(self) -> int:
        return (await self.client.send("POST", "/v1/credentials/rotate-keys", Sealed)).sealed


def _path(credential: int) -> str:
    return f"/v1/credentials/{segment(credential)}"
