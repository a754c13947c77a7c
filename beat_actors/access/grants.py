"""Which account may use which owner.

An owner is whom a credential belongs to: a store, a business account. What an operation that needs the owner's credential observes
belongs to the owner, and reaches only accounts that hold a grant of it. A grant is checked when a request is accepted or run again
(`requests.intake`, `requests.retry`), when the broker leases (`credentials.turn`), and in the condition of every read
(`access.reader`), so that a revoked grant takes effect at once.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import msgspec

from beat_actors import audit
from beat_actors.database import Statements, Transaction, arrays
from beat_actors.errors import BadInput, NotFound, NotGranted
from beat_actors.fetches.states import Stage
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.requests.lifecycle import fail_fetches
from beat_actors.text import check_text

LONGEST = 255
MAX_PAGE = 1000


class Use(NamedTuple):
    """That an account uses an owner."""

    account_id: str
    platform: str
    owner: str


class GrantView(msgspec.Struct, frozen=True, kw_only=True):
    """A grant as it is listed. `granted_by`: the person or key that granted it."""

    account_id: str
    platform: str
    owner: str
    granted_at: datetime
    granted_by: str


SQL = Statements(__file__)
GRANT, REVOKE = SQL("grant", str), SQL("revoke", str)
WAITING = SQL("waiting", int)
LIST = SQL("list", GrantView)
MISSING = SQL("missing", Use)


async def grant(transaction: Transaction, use: Use, *, reason: str, actor: str) -> bool:
    """Let an account use an owner; false where it could already. Audited. Raises `BadInput`."""
    _check(use, reason)
    new = await transaction.value(GRANT, {**use._asdict(), "actor": actor}) is not None
    if new:
        await _record(transaction, "grant", use, reason, actor)
    return new


async def revoke(transaction: Transaction, use: Use, *, reason: str, actor: str) -> None:
    """End a grant. From the commit on the account reads nothing of the owner, and nothing is leased for it. Audited.

    What waits for a lease fails now, also where the owner has no credential that could be leased. Up to 10,000 fetches; the broker fails
    the others when it comes to them. Raises `NotFound` where the account does not hold the grant.
    """
    _check(use, reason)
    if await transaction.value(REVOKE, use._asdict()) is None:
        raise NotFound(f"account {use.account_id} holds no grant of {use.platform} {use.owner}")
    waiting = await transaction.rows(WAITING, use._asdict())
    await fail_fetches(transaction, [(number, taken(use.owner)) for number in waiting], stages=(Stage.WAITING,))
    await _record(transaction, "revoke", use, reason, actor)


async def overview(
    transaction: Transaction,
    *,
    account_id: str | None = None,
    platform: str | None = None,
    owner: str | None = None,
    after: Use | None = None,
    limit: int = MAX_PAGE,
) -> list[GrantView]:
    """Grants in the order of account, platform and owner: up to `limit`, from behind `after` on."""
    place = after or Use("", "", "")
    values = {"account": account_id, "platform": platform, "owner": owner, "limit": limit}
    values |= {"after_account": place.account_id, "after_platform": place.platform, "after_owner": place.owner}
    return await transaction.rows(LIST, values)


async def missing(transaction: Transaction, uses: Iterable[Use]) -> set[Use]:
    """Those of these uses for which no grant is held. No statement where there are none."""
    asked = sorted(set(uses))
    if not asked:
        return set()
    return set(await transaction.rows(MISSING, arrays(asked, "accounts", "platforms", "owners")))


def taken(owner: str) -> dict[str, str]:
    """The error of a fetch whose account lost the grant of its owner after it had asked."""
    return {"code": NotGranted.code, "message": f"the grant of {owner} was taken from this account"}


def refusal(use: Use) -> NotGranted:
    """The same words whether the owner is not connected at all, or connected for another account."""
    return NotGranted(
        f"account {use.account_id} has no {use.platform} {use.owner}: an operator connects it with a credential, or grants it "
        f"(`beat accounts grant {use.account_id} {use.platform} {use.owner} --reason …`)"
    )


def _check(use: Use, reason: str) -> None:
    platform_named(use.platform)
    for name, value in (("account_id", use.account_id), ("owner", use.owner)):
        check_text(value, name, longest=LONGEST, one_line=True)
        if not value.strip():
            raise BadInput(f"{name} cannot be empty", field=name)
    check_text(reason, "reason", longest=1000)


async def _record(transaction: Transaction, action: str, use: Use, reason: str, actor: str) -> None:
    detail = {"platform": use.platform, "owner": use.owner, "reason": reason}
    await audit.record(
        transaction, actor=actor, action=f"account.{action}", target=f"account/{use.account_id}", detail=detail
    )
