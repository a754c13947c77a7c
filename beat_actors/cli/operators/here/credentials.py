"""Provider credentials."""

from collections.abc import Mapping, Sequence

from beat_actors.cli.operators import here
from beat_actors.cli.operators.credentials import CHANGES, Offer
from beat_actors.credentials.info import CredentialEvent, CredentialInfo


class Here(here.Here):
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
