"""API keys, and the grants of owners to accounts."""

from datetime import timedelta

from beat_actors.access import grants, keys
from beat_actors.access.grants import GrantView, Use
from beat_actors.access.keys import KeyView, NewKey, Revoked
from beat_actors.cli.operators import here
from beat_actors.cli.operators.access import Before, MadeKey, Secret, Successor, Wanted
from beat_actors.cli.session import who


class Here(here.Here):
    async def keys(self) -> list[KeyView]:
        async with self.session.database.transaction() as transaction:
            return await keys.overview(transaction)

    async def create(self, new: NewKey) -> MadeKey:
        async with self.session.database.transaction() as transaction:
            made = await keys.create(transaction, new, actor=who())
        return MadeKey(id=made.id, prefix=made.minted.token.prefix, key=made.minted.text, expires_at=made.expires_at)

    async def revoke(self, key: str, *, reason: str) -> Revoked:
        async with self.session.database.transaction() as transaction:
            return await keys.revoke(transaction, key, reason=reason, actor=who())

    async def rotate(self, key: str, grace: timedelta) -> Successor:
        async with self.session.database.transaction() as transaction:
            found = await keys.rotate(transaction, self.session.vault, key, grace=grace, actor=who())
        made = found.created
        return Successor(
            id=made.id,
            prefix=made.minted.token.prefix,
            key=made.minted.text,
            expires_at=made.expires_at,
            before=Before(found.before, found.works_until),
            webhooks=[Secret(one.id, one.secret) for one in found.webhooks],
        )

    async def grants(self, wanted: Wanted) -> list[GrantView]:
        async with self.session.database.statements() as alone:
            return await grants.overview(
                alone, account_id=wanted.account, platform=wanted.platform, owner=wanted.owner, limit=wanted.limit
            )

    async def grant(self, use: Use, *, reason: str) -> bool:
        async with self.session.database.transaction() as transaction:
            return await grants.grant(transaction, use, reason=reason, actor=who())

    async def take(self, use: Use, *, reason: str) -> None:
        async with self.session.database.transaction() as transaction:
            await grants.revoke(transaction, use, reason=reason, actor=who())
