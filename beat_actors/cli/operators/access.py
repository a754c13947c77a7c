"""API keys, and the grants of owners to accounts."""

from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from beat_actors.access.grants import GrantView, Use
from beat_actors.access.keys import KeyView, NewKey, Revoked
from beat_actors.cli import operators
from beat_actors.cli.operators import named, segment


class Secret(msgspec.Struct):
    """A webhook's new signing secret."""

    id: int
    secret: str


class MadeKey(msgspec.Struct, kw_only=True):
    """A key that was made; `key` is the only copy of its text."""

    id: int
    prefix: str
    key: str
    expires_at: datetime | None


class Before(msgspec.Struct):
    """The key that is succeeded, and until when it works."""

    id: int
    works_until: datetime


class Successor(MadeKey, kw_only=True):
    before: Before
    webhooks: list[Secret]


class KeyList(msgspec.Struct):
    keys: list[KeyView]


class Ended(msgspec.Struct):
    id: int
    was_alive: bool
    webhooks_paused: list[int]


class Granted(msgspec.Struct):
    granted: bool


class GrantList(msgspec.Struct):
    grants: list[GrantView]


class Wanted(NamedTuple):
    """Which grants are listed."""

    account: str | None
    platform: str | None
    owner: str | None
    limit: int


class There(operators.There):
    async def keys(self) -> list[KeyView]:
        return (await self.client.fetch("/v1/keys", KeyList)).keys

    async def create(self, new: NewKey) -> MadeKey:
        seconds = None if new.life is None else round(new.life.total_seconds())
        body = named(
            name=new.name, scopes=new.scopes, account_id=new.account_id, rate_limit=new.rate_limit, expires_in=seconds
        )
        return await self.client.send("POST", "/v1/keys", MadeKey, body)

    async def revoke(self, key: str, *, reason: str) -> Revoked:
        ended = await self.client.send("DELETE", f"/v1/keys/{segment(key)}", Ended, params={"reason": reason})
        return Revoked(ended.id, ended.was_alive, ended.webhooks_paused)

    async def rotate(self, key: str, grace: timedelta) -> Successor:
        path, seconds = f"/v1/keys/{segment(key)}/rotate", round(grace.total_seconds())
        return await self.client.send("POST", path, Successor, params={"grace": seconds})

    async def grants(self, wanted: Wanted) -> list[GrantView]:
        return (await self.client.fetch("/v1/grants", GrantList, wanted._asdict())).grants

    async def grant(self, use: Use, *, reason: str) -> bool:
        body = {"platform": use.platform, "owner": use.owner, "reason": reason}
        return (await self.client.send("POST", _grants_of(use), Granted, body)).granted

    async def take(self, use: Use, *, reason: str) -> None:
        wanted = {"platform": use.platform, "owner": use.owner, "reason": reason}
        await self.client.send("DELETE", _grants_of(use), dict, params=wanted)


def _grants_of(use: Use) -> str:
    return f"/v1/accounts/{segment(use.account_id)}/grants"
