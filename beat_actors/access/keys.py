"""The rows of API keys: make, list, revoke, rotate. A key is audited in the transaction that changes it, and its secret is stored nowhere."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec

from beat_actors import audit
from beat_actors.access import scopes as scopes_
from beat_actors.access.scopes import OF_AN_ACCOUNT, Scope
from beat_actors.access.tokens import Minted, mint
from beat_actors.database import Statements, Transaction
from beat_actors.errors import BadInput, NotFound
from beat_actors.shapes import one_of
from beat_actors.text import check_text
from beat_actors.webhooks.makers import HandedOver, hand_over, paused_by

if TYPE_CHECKING:
    from beat_actors.credentials.vault import Vault

RATE_LIMIT = 6_000
MOST_CALLS = 1_000_000
LONGEST_LIFE = timedelta(days=3650)
GRACE = timedelta(hours=24)


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is listed. `state`: active, expired or revoked. `last_used` is at most a minute behind."""

    id: int
    prefix: str
    name: str
    account_id: str | None
    scopes: list[Annotated[str, one_of(Scope)]]
    rate_limit: int
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used: datetime | None
    state: Annotated[str, one_of(("active", "expired", "revoked"))]


class Inserted(NamedTuple):
    """A key that was added."""

    id: int
    expires_at: datetime | None


class Found(NamedTuple):
    """A key that is changed. `life`: from its making to its end."""

    id: int
    prefix: str
    name: str
    account_id: str | None
    scopes: list[str]
    rate_limit: int
    revoked_at: datetime | None
    life: timedelta | None
    expired: bool | None


SQL = Statements(__file__)
CREATE = SQL("create", Inserted)
LIST = SQL("list", KeyView)
FIND = SQL("find", Found)
REVOKE = SQL("revoke")
RETIRE = SQL("retire", datetime)


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key shall be. `rate_limit`: calls a minute. `life`: until it expires; `None`: it does not.

    Raises `BadInput` for what cannot be.
    """

    name: str
    scopes: Sequence[Scope]
    account_id: str | None = None
    rate_limit: int = RATE_LIMIT
    life: timedelta | None = None

    def __post_init__(self) -> None:
        for field, value in (("name", self.name), ("account", self.account_id)):
            if value is not None:
                check_text(value, field, longest=255, one_line=True)
                if not value.strip():
                    raise BadInput(f"{field} cannot be empty", field=field)
        if not self.scopes:
            raise BadInput("a key needs one scope at least", field="scope")
        beyond = set(self.scopes) - OF_AN_ACCOUNT
        if self.account_id is not None and beyond:
            raise BadInput(
                f"a key of one account holds submit, urgent and read; {', '.join(sorted(beyond))} affects all accounts",
                field="scope",
            )
        if not 1 <= self.rate_limit <= MOST_CALLS:
            raise BadInput(f"the rate is 1 to {MOST_CALLS} calls a minute", field="rate")
        if self.life is not None and not timedelta(0) < self.life <= LONGEST_LIFE:
            raise BadInput(f"a key expires after {LONGEST_LIFE.days} days at most", field="expires")


@dataclass(frozen=True, slots=True)
class Created:
    """`minted.text` is the only copy of the key."""

    id: int
    minted: Minted
    new: NewKey
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Revoked:
    """`was_alive`: it was not revoked before. `webhooks`: the endpoints that it made and that are paused therefore."""

    id: int
    was_alive: bool
    webhooks: list[int]


@dataclass(frozen=True, slots=True)
class Rotated:
    """The successor, until when the key before it works, and the webhooks that it handed over, each with a new signing secret."""

    before: int
    works_until: datetime
    created: Created
    webhooks: list[HandedOver]


async def create(transaction: Transaction, new: NewKey, *, actor: str) -> Created:
    created = await _insert(transaction, new)
    detail: dict[str, Any] = {"name": new.name, "scopes": list(new.scopes), "account_id": new.account_id}
    detail |= {"rate_limit": new.rate_limit, "expires_at": created.expires_at, "prefix": created.minted.token.prefix}
    await audit.record(transaction, actor=actor, action="key.create", target=f"key/{created.id}", detail=detail)
    return created


async def overview(transaction: Transaction) -> list[KeyView]:
    return await transaction.rows(LIST)


async def revoke(transaction: Transaction, which: str, *, reason: str, actor: str) -> Revoked:
    """End a key for good, and with it the deliveries to the webhooks that it made. `which`: its id or prefix. Raises `NotFound`."""
    check_text(reason, "reason", longest=1000)
    row = await _find(transaction, which)
    alive = row.revoked_at is None
    webhooks = await paused_by(transaction, row.id)
    if alive:
        await transaction.run(REVOKE, {"id": row.id})
        detail = {"prefix": row.prefix, "name": row.name, "reason": reason, "webhooks": len(webhooks)}
        await audit.record(transaction, actor=actor, action="key.revoke", target=f"key/{row.id}", detail=detail)
    return Revoked(row.id, alive, webhooks)


async def rotate(
    transaction: Transaction, vault: "Vault", which: str, *, grace: timedelta = GRACE, actor: str
) -> Rotated:
    """Give a key a successor that may do the same for as long, and let the old one live on for `grace`.

    The webhooks that the old one made become the successor's, with new signing secrets; the old secrets sign as well during the grace.

    Raises `NotFound`, and `BadInput` for a key that does not work any more.
    """
    if not timedelta(0) <= grace <= LONGEST_LIFE:
        raise BadInput(f"the grace is 0 s to {LONGEST_LIFE.days} days", field="grace")
    row = await _find(transaction, which)
    if row.revoked_at is not None or row.expired:
        raise BadInput(f"key {row.id} is revoked or expired and cannot be rotated; create a new one")
    new = NewKey(row.name, scopes_.named(row.scopes), row.account_id, row.rate_limit, row.life)
    created = await _insert(transaction, new)
    works_until = await transaction.only(RETIRE, {"id": row.id, "grace": grace})
    handed = await hand_over(transaction, vault, before=row.id, after=created.id, until=works_until)
    detail = {"successor": created.id, "prefix": created.minted.token.prefix, "works_until": works_until}
    detail["webhooks"] = len(handed)
    await audit.record(transaction, actor=actor, action="key.rotate", target=f"key/{row.id}", detail=detail)
    return Rotated(row.id, works_until, created, handed)


async def _insert(transaction: Transaction, new: NewKey) -> Created:
    minted = mint()
    values: dict[str, Any] = {
        "prefix": minted.token.prefix,
        "hash": minted.token.digest,
        "name": new.name,
        "account": new.account_id,
    }
    values |= {"scopes": list(new.scopes), "rate_limit": new.rate_limit, "life": new.life}
    row = await transaction.only(CREATE, values)
    return Created(row.id, minted, new, row.expires_at)


async def _find(transaction: Transaction, which: str) -> Found:
    check_text(which, "key", longest=200)
    number = int(which) if re.fullmatch(r"[0-9]{1,18}", which) else None
    # As it is listed, or the whole key as it was found somewhere it should not be.
    prefix = which.removeprefix("beat_").partition("_")[0]
    row = await transaction.row(FIND, {"id": number, "prefix": prefix})
    if row is None:
        raise NotFound("there is no such key; `beat keys list` shows their ids and prefixes")
    return row
