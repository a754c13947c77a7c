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


class Here(operators.Here):
    async def credentials(self, source: str | None) -> list[CredentialInfo]:
        return list(await self.session.credentials.overview(source))

    async def info(self, credential: int) -> CredentialInfo:
        return await self.session.credentials.info(credential)

    async def history(self, credential: int) -> Sequence[CredentialEvent]:
        return await self.session.credentials.history(credential)

    async def add(self, offer: Offer) -> tuple[CredentialInfo, bool]:
        number, new = await self.session.credentials.add(
            offer.source,
            dict(offer.secret),
            label=offer.label,
            weight=offer.weight,
            account_id=offer.account,
            shared=offer.shared,
        )
        found = await self.info(number)
        await self.session.wake(found.platform)
        return found, new

    async def replace(self, credential: int, secret: Mapping[str, str], *, reason: str) -> CredentialInfo:
        await self.session.credentials.replace(credential, dict(secret), reason=reason)
        found = await self.info(credential)
        await self.session.wake(found.platform)
        return found

    async def change(self, credential: int, change: str, *, reason: str) -> None:
        manager = self.session.credentials
        changes = {name: getattr(manager, name) for name in CHANGES}
        await changes[change](credential, reason=reason)
        await self.session.wake((await self.info(credential)).platform)

    async def check_now(self, credential: int) -> bool:
        """Let a worker check it at once; whether one listens."""
        import asyncio

        from actors.mailbox import CREDENTIALS

        try:
            if not await asyncio.to_thread(self.session.mailbox.listeners):
                return False
        except OSError:
            return False
        # What is not due any more is not done twice.
        await self.session.mailbox.send(CREDENTIALS, [credential])
        return True

    async def rotate_keys(self) -> int:
        return await self.session.credentials.rotate_keys()


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
