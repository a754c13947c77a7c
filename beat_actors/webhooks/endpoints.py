"""Endpoints and their deliveries as their owners see and change them; each change is audited in its own transaction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol
from uuid import UUID, uuid4

import msgspec

from beat_actors import audit
from beat_actors.data import cursors
from beat_actors.database import Statements, Transaction, jsonb
from beat_actors.errors import BadInput, Conflict, NotFound, TooManyTests
from beat_actors.events.catalog import TEST
from beat_actors.shapes import one_of
from beat_actors.text import check_text
from beat_actors.webhooks.addresses import check_url
from beat_actors.webhooks.backoff import FAILURES
from beat_actors.webhooks.catalog import check_events
from beat_actors.webhooks.makers import SEALED_FOR
from beat_actors.webhooks.signing import new_secret

if TYPE_CHECKING:
    from beat_actors.credentials.vault import Vault

TESTS, TESTS_OF_ACCOUNT = 10, 30
"""Test events a minute to one endpoint, and to all endpoints of one account."""
MOST_ENDPOINTS, MOST_OF_THE_INSTALLATION = 32, 100
"""Endpoints of one account, and those without an account."""
MOST_RESENT = 10_000
MAX_PAGE = 200
MOST_REASON = 500
"""Characters of the reason that is kept in the audit log."""
STATES = ("pending", "delivered", "failed")


class EndpointView(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint, without its secret.

    `reason`: why nothing is sent to it: it was `asked` for, the endpoint is `gone` (410), or the key that made it has ended.
    `api_key_id`, `api_key_name`: the key that made it, for those who may know. `breaker`: open while one probe decides for all.
    `open_until`: nothing is sent before.
    """

    id: int
    account_id: str | None
    url: str
    events: list[str]
    state: Annotated[str, one_of(("active", "paused", "disabled"))]
    reason: Annotated[str, one_of(("asked", "gone", "key_revoked", "key_expired"))] | None
    api_key_id: int | None
    api_key_name: str | None
    breaker: Annotated[str, one_of(("open", "closed"))]
    failures: int
    open_until: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_error: str | None
    created_at: datetime


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way to an endpoint. `status`, `error`: of the last attempt."""

    id: int
    event_id: UUID
    type: str
    occurred_at: datetime
    state: Annotated[str, one_of(STATES)]
    attempt: int
    next_at: datetime | None
    expires_at: datetime
    status: int | None
    error: str | None
    ended_at: datetime | None


class Tests(NamedTuple):
    """How many test events a subject has in its window, with this one; the window ends in so many seconds."""

    subject: str
    sent: int
    seconds: float


class Signing(Protocol):
    """The sealed signing secrets of an endpoint; the old one counts where `old_key_id` is not None."""

    @property
    def key_id(self) -> str: ...
    @property
    def secret(self) -> bytes: ...
    @property
    def old_key_id(self) -> str | None: ...
    @property
    def old_secret(self) -> bytes | None: ...


class Sealed(NamedTuple):
    """An endpoint with its `Signing` secrets."""

    id: int
    key_id: str
    secret: bytes
    old_key_id: str | None
    old_secret: bytes | None


SQL = Statements(__file__)
NEXT_ID = SQL("next_id", int)
COUNT = SQL("count", int)
ALONE = SQL("alone")
CREATE = SQL("create", EndpointView)
LIST = SQL("list", EndpointView)
FIND, FIND_TO_CHANGE = SQL("find", EndpointView), SQL("find_to_change", EndpointView)
CHANGE = SQL("change", EndpointView)
DELETE = SQL("delete")
ROTATE = SQL("rotate", datetime)
COUNT_TEST = SQL("count_test", Tests)
SEND_TEST = SQL("send_test", int)
DELIVERIES = SQL("deliveries", DeliveryView)
STATE_OF = SQL("state_of", str)
RESEND = SQL("resend", int)
OTHERWISE_SEALED = SQL("otherwise_sealed", Sealed)
SEAL_ANEW = SQL("seal_anew")


class DeliveryList(msgspec.Struct, frozen=True):
    deliveries: list[DeliveryView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Reader:
    """Who looks. `account_id`: its own endpoints alone; without one those that the key `key_id` made, and with `all` everybody's."""

    actor: str
    account_id: str | None = None
    all: bool = False
    key_id: int | None = None

    @property
    def sees(self) -> dict[str, Any]:
        return {"account": self.account_id, "all": self.all, "key": self.key_id, "failures": FAILURES}


def opened(vault: "Vault", number: int, row: Signing) -> list[str]:
    """The secrets that sign for this endpoint, the newest first. Raises `VaultError`."""
    sealed = [(row.key_id, row.secret)]
    if row.old_key_id is not None and row.old_secret is not None:
        sealed.append((row.old_key_id, row.old_secret))
    return [vault.open(number, SEALED_FOR, key_id, secret)["secret"] for key_id, secret in sealed]


async def create(
    transaction: Transaction,
    vault: "Vault",
    *,
    url: str,
    events: Sequence[str] = ("*",),
    account_id: str | None,
    actor: str,
    api_key_id: int | None = None,
    allow_private: bool,
) -> tuple[EndpointView, str]:
    """An endpoint, of this account or, without one, of the installation, which gets every account's events; and its secret.

    Raises `BadInput` for a URL or a filter that cannot be, `Conflict` where the account has too many.
    """
    check_url(url, allow_private=allow_private)
    if account_id is not None:
        check_text(account_id, "account_id", longest=255, one_line=True)
    wanted = check_events(events)
    await transaction.run(ALONE)
    most = MOST_OF_THE_INSTALLATION if account_id is None else MOST_ENDPOINTS
    if await transaction.only(COUNT, {"account": account_id}) >= most:
        raise Conflict(f"there are {most} endpoints already, which is all that there may be; delete one first")
    number, secret = await transaction.only(NEXT_ID), new_secret()
    key_id, sealed = vault.seal(number, SEALED_FOR, {"secret": secret})
    values: dict[str, Any] = {
        "id": number,
        "account": account_id,
        "url": url,
        "events": wanted,
        "key": api_key_id,
        "all": True,
    }
    values |= {"key_id": key_id, "secret": sealed, "failures": FAILURES}
    made = await transaction.only(CREATE, values)
    await _audit(transaction, actor, "create", number, {"account_id": account_id, "host": _host(url), "events": wanted})
    return made, secret


async def overview(transaction: Transaction, reader: Reader) -> list[EndpointView]:
    return await transaction.rows(LIST, reader.sees)


async def find(transaction: Transaction, number: int, reader: Reader, *, lock: bool = False) -> EndpointView:
    """Raises `NotFound`, also for an endpoint of somebody else."""
    found = await transaction.row(FIND_TO_CHANGE if lock else FIND, {"id": number} | reader.sees)
    if found is None:
        raise NotFound(f"there is no webhook {number}; list them to see which there are")
    return found


async def change(
    transaction: Transaction,
    number: int,
    reader: Reader,
    *,
    allow_private: bool,
    url: str | None = None,
    events: Sequence[str] | None = None,
    paused: bool | None = None,
) -> EndpointView:
    """A new URL, a new filter, a pause or its end, which also wakes what was disabled. A new URL or an end begins with a closed breaker."""
    before = await find(transaction, number, reader, lock=True)
    if url is not None:
        check_url(url, allow_private=allow_private)
    state = None if paused is None else "paused" if paused else "active"
    anew = url is not None or (state == "active" and before.state != "active")
    values = {"id": number, "url": url, "events": check_events(events) if events is not None else None}
    after = await transaction.only(CHANGE, values | {"state": state, "anew": anew} | reader.sees)
    detail = {"host": _host(url) if url else None, "events": values["events"], "state": state}
    detail = {name: value for name, value in detail.items() if value is not None}
    await _audit(transaction, reader.actor, "change", number, detail)
    return after


async def delete(transaction: Transaction, number: int, reader: Reader, *, reason: str | None = None) -> None:
    """Its deliveries go with it. `reason`: for the audit log. Raises `BadInput` and `NotFound`."""
    if reason is not None:
        check_text(reason, "reason", longest=MOST_REASON)
    found = await find(transaction, number, reader, lock=True)
    await transaction.run(DELETE, {"id": number})
    detail = {"account_id": found.account_id, "host": _host(found.url)}
    await _audit(transaction, reader.actor, "delete", number, detail | ({} if reason is None else {"reason": reason}))


async def rotate(transaction: Transaction, vault: "Vault", number: int, reader: Reader) -> tuple[str, datetime]:
    """A new secret, and until when the one before it signs as well."""
    await find(transaction, number, reader, lock=True)
    secret = new_secret()
    key_id, sealed = vault.seal(number, SEALED_FOR, {"secret": secret})
    until = await transaction.only(ROTATE, {"id": number, "key_id": key_id, "secret": sealed})
    await _audit(transaction, reader.actor, "rotate", number, {"old_until": until})
    return secret, until


async def send_test(transaction: Transaction, number: int, reader: Reader) -> int:
    """Send an event of the type `beat.webhook.test` to this endpoint alone; the delivery's id.

    Raises `Conflict` if it is not active, and `TooManyTests` where the minute's are spent.
    """
    found = await find(transaction, number, reader)
    if found.state != "active":
        raise Conflict(f"webhook {number} is {found.state}; resume it first")
    await _count_test(transaction, number, found.account_id)
    event = uuid4()
    content = {"message": "This is a test.", "webhook_id": number}
    values = {"endpoint": number, "event": event, "type": TEST, "data": jsonb(content)}
    delivery = await transaction.only(SEND_TEST, values)
    await _audit(transaction, reader.actor, "test", number, {"event_id": event})
    return delivery


async def deliveries(
    transaction: Transaction,
    number: int,
    reader: Reader,
    *,
    state: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> DeliveryList:
    """A page, newest first. Raises `BadInput` for a state or a cursor that there is not."""
    if state is not None and state not in STATES:
        raise BadInput(f"state is {', '.join(STATES)}", field="state")
    if not 1 <= limit <= MAX_PAGE:
        raise BadInput(f"limit is 1 to {MAX_PAGE}", field="limit")
    before = cursors.read(cursor, cursors.Before).id if cursor else None
    await find(transaction, number, reader)
    values = {"id": number, "state": state, "before": before, "limit": limit + 1}
    rows = await transaction.rows(DELIVERIES, values)
    following = cursors.write(cursors.Before(rows[limit - 1].id)) if len(rows) > limit else None
    return DeliveryList(rows[:limit], following)


async def resend(transaction: Transaction, number: int, delivery: int, reader: Reader) -> None:
    """Send it again, whether it failed or was delivered. Raises `NotFound`, or `Conflict` while it is pending."""
    await find(transaction, number, reader)
    values = {"endpoint": number, "id": delivery, "since": None, "limit": 1}
    if not await transaction.rows(RESEND, values):
        if await transaction.value(STATE_OF, values) is None:
            raise NotFound(f"webhook {number} has no delivery {delivery}; list its deliveries to see which there are")
        raise Conflict(f"delivery {delivery} is pending: it is tried again by itself")
    await _audit(transaction, reader.actor, "resend", number, {"delivery": delivery})


async def resend_failed(transaction: Transaction, number: int, since: datetime, reader: Reader) -> int:
    """Send again what failed of the events since then, the oldest first, up to `MOST_RESENT` at once; how many."""
    await find(transaction, number, reader)
    values = {"endpoint": number, "id": None, "since": since, "limit": MOST_RESENT}
    count = len(await transaction.rows(RESEND, values))
    await _audit(transaction, reader.actor, "resend", number, {"since": since, "count": count})
    return count


async def seal_anew(transaction: Transaction, vault: "Vault", *, batch: int) -> list[int]:
    """Seal again, with the ring's first key, the secrets of up to so many endpoints that another key sealed; which they were."""
    rows = await transaction.rows(OTHERWISE_SEALED, {"key": vault.sealing_key_id, "limit": batch})
    for row in rows:
        sealed = [vault.seal(row.id, SEALED_FOR, {"secret": secret}) for secret in opened(vault, row.id, row)]
        new, old = sealed[0], sealed[1] if len(sealed) > 1 else (None, None)
        names = ("id", "key_id", "secret", "old_key_id", "old_secret")
        await transaction.run(SEAL_ANEW, dict(zip(names, (row.id, *new, *old), strict=True)))
    return [row.id for row in rows]


def _host(url: str) -> str:
    """What may be shown of a URL: path and query may hold somebody's token."""
    return url.partition("://")[2].partition("/")[0].partition("?")[0]


async def _count_test(transaction: Transaction, number: int, account_id: str | None) -> None:
    account = "installation" if account_id is None else f"account:{account_id}"
    most = {account: TESTS_OF_ACCOUNT, f"endpoint:{number}": TESTS}
    counted = await transaction.rows(COUNT_TEST, {"subjects": sorted(most)})
    spent = [row for row in counted if row.sent > most[row.subject]]
    if spent:
        seconds = max(1, math.ceil(max(row.seconds for row in spent)))
        raise TooManyTests(
            f"{TESTS} test events a minute may go to one webhook, and {TESTS_OF_ACCOUNT} to all of an account; "
            f"nothing was sent. Try again in {seconds} s.",
            seconds=seconds,
        )


async def _audit(transaction: Transaction, actor: str, verb: str, number: int, detail: dict[str, Any]) -> None:
    await audit.record(transaction, actor=actor, action=f"webhook.{verb}", target=f"webhook/{number}", detail=detail)
