"""Sinks of notifications as operators see and change them; each change is audited in its own transaction. Addresses and keys are sealed."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec

from beat_actors import audit
from beat_actors.database import Statements, Transaction
from beat_actors.errors import BadInput, Conflict, NotFound
from beat_actors.notify.kinds import GROUPS, KINDS, WEBHOOK, Definition, Route, address, check_name, check_route
from beat_actors.severities import SEVERITIES
from beat_actors.shapes import one_of
from beat_actors.text import check_text

if TYPE_CHECKING:
    from beat_actors.credentials.vault import Vault

SEALED_FOR = "notification sink"
"""In the place of a source in the vault: no source has a space in its name."""
MOST_SINKS = 32
MOST_REASON = 500
MAX_PAGE = 200
STATES = ("pending", "sent", "failed", "dropped")
TEST_SECONDS = 60
"""Seconds within which a test has to be sent."""


class NotificationSinkView(msgspec.Struct, frozen=True, kw_only=True):
    """A sink, without its secrets. `target`: host and port. `hours`, `days`: in `timezone`; none: always. `repeat_seconds`: after so long what is still
    open is sent again; none: never. `resolved`: ends are sent, too. `from_settings`: BEAT_NOTIFY defines it. `failures`: in a row.
    `open_until`: nothing is sent before. `pending`: messages that wait."""

    id: int
    name: str
    kind: Annotated[str, one_of(KINDS)]
    target: str
    recipients: list[str]
    sender: str | None
    severity: Annotated[str, one_of(SEVERITIES)]
    platforms: list[str] | None
    hours: str | None
    days: str | None
    timezone: str
    group_by: Annotated[str, one_of(GROUPS)]
    repeat_seconds: int | None
    resolved: bool
    state: Annotated[str, one_of(("active", "paused"))]
    from_settings: bool
    failures: int
    open_until: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_error: str | None
    pending: int
    created_at: datetime


class NotificationView(msgspec.Struct, frozen=True, kw_only=True):
    """A message to a sink. `group_key`: of its alerts; none for a test. `firing`, `resolved`: how many alerts it names as open, and as resolved.
    `status`: the HTTP status of the last attempt."""

    id: int
    sink: str
    group_key: str | None
    test: bool
    state: Annotated[str, one_of(STATES)]
    attempt: int
    created_at: datetime
    next_at: datetime | None
    ended_at: datetime | None
    firing: int | None
    resolved: int | None
    status: int | None
    error: str | None


class Sealed(NamedTuple):
    id: int
    key_id: str
    secret: bytes


SQL = Statements(__file__)
NEXT_ID, COUNT = SQL("next_id", int), SQL("count", int)
CREATE, DEFINE, ROUTE = (
    SQL("create", NotificationSinkView),
    SQL("define", NotificationSinkView),
    SQL("route", NotificationSinkView),
)
LIST, FIND, LOCK = SQL("list", NotificationSinkView), SQL("find", NotificationSinkView), SQL("lock", int)
SET_STATE, DROP_PENDING, DELETE = SQL("set_state", NotificationSinkView), SQL("drop_pending"), SQL("delete")
OTHERS_FROM_SETTINGS = SQL("others_from_settings", str)
TEST = SQL("test", int)
MESSAGES, ONE_MESSAGE = SQL("messages", NotificationView), SQL("one_message", NotificationView)
OTHERWISE_SEALED, SEAL_ANEW = SQL("otherwise_sealed", Sealed), SQL("seal_anew")


async def create(
    transaction: Transaction, vault: "Vault", name: str, given: Definition, route: Route, *, private: bool, actor: str
) -> tuple[NotificationSinkView, str | None]:
    """A sink, and the secret that signs its messages if it is a webhook. Raises `BadInput`, and `Conflict` where the name is taken."""
    check_name(name)
    if await transaction.only(COUNT) >= MOST_SINKS:
        raise Conflict(f"there are {MOST_SINKS} sinks already, which is all that there may be; remove one first")
    values, key = _values(vault, await transaction.only(NEXT_ID), name, given, route, private=private)
    made = await transaction.row(CREATE, values | {"from_settings": False})
    if made is None:
        raise Conflict(f"there is a sink {name} already; remove it first, or choose another name")
    await _audit(transaction, actor, "add", name, {"kind": made.kind, "target": made.target})
    return made, key if made.kind == WEBHOOK else None


async def overview(transaction: Transaction) -> list[NotificationSinkView]:
    return await transaction.rows(LIST)


async def find(transaction: Transaction, name: str) -> NotificationSinkView:
    """Raises `NotFound`."""
    found = await transaction.row(FIND, {"name": name})
    if found is None:
        raise NotFound(f"there is no sink {name[:80]!r}; `beat notify list` shows those that exist")
    return found


async def change(
    transaction: Transaction, name: str, changes: Mapping[str, Any], *, actor: str
) -> NotificationSinkView:
    """Change fields of the sink's route, by their names in `Route`. Raises `BadInput` for a sink of BEAT_NOTIFY."""
    before = await _own(transaction, name)
    route = Route(
        severity=before.severity,
        platforms=before.platforms,
        hours=before.hours,
        days=before.days,
        timezone=before.timezone,
        group_by=before.group_by,
        repeat=before.repeat_seconds or 0,
        resolved=before.resolved,
    )
    route = check_route(msgspec.structs.replace(route, **changes), before.kind)
    after = await transaction.only(ROUTE, {"id": before.id} | _of_route(route))
    await _audit(transaction, actor, "change", name, changes)
    return after


async def pause(transaction: Transaction, name: str, *, paused: bool, actor: str) -> NotificationSinkView:
    """Stop sending to a sink, also one of BEAT_NOTIFY, or go on. What waits for it is dropped; what is open then is sent when it goes on."""
    number = await _locked(transaction, name)
    after = await transaction.only(SET_STATE, {"id": number, "state": "paused" if paused else "active"})
    if paused:
        await transaction.run(DROP_PENDING, {"id": number})
    await _audit(transaction, actor, "pause" if paused else "resume", name, {})
    return after


async def remove(transaction: Transaction, name: str, *, reason: str, actor: str) -> None:
    """Raises `NotFound`, and `BadInput` for a sink of BEAT_NOTIFY."""
    check_text(reason, "reason", longest=MOST_REASON)
    before = await _own(transaction, name)
    await transaction.run(DELETE, {"id": before.id})
    await _audit(transaction, actor, "remove", name, {"reason": reason, "target": before.target})


async def send_test(transaction: Transaction, name: str, *, actor: str) -> int:
    """Make a test message; its id. Raises `NotFound`, and `Conflict` while one waits."""
    await find(transaction, name)
    made = await transaction.value(TEST, {"name": name, "seconds": TEST_SECONDS})
    if made is None:
        raise Conflict(f"a test waits for the sink {name} already; it is sent, or fails, within {TEST_SECONDS} s")
    await _audit(transaction, actor, "test", name, {})
    return made


async def messages(
    transaction: Transaction,
    *,
    sink: str | None = None,
    state: str | None = None,
    limit: int = 50,
    before: int | None = None,
) -> list[NotificationView]:
    """Messages, newest first. Raises `BadInput`, and `NotFound` for a sink that does not exist."""
    if state is not None and state not in STATES:
        raise BadInput(f"state is {', '.join(STATES)}", field="state")
    if not 1 <= limit <= MAX_PAGE:
        raise BadInput(f"limit is 1 to {MAX_PAGE}", field="limit")
    if sink is not None:
        await find(transaction, sink)
    return await transaction.rows(MESSAGES, {"sink": sink, "state": state, "limit": limit, "before": before})


async def message(transaction: Transaction, number: int) -> NotificationView:
    """Raises `NotFound`."""
    found = await transaction.row(ONE_MESSAGE, {"id": number})
    if found is None:
        raise NotFound(f"there is no message {number}; `beat notify log` shows the last ones")
    return found


async def seed(
    transaction: Transaction, vault: "Vault", named: Mapping[str, tuple[Definition, Route]], *, actor: str
) -> None:
    """Make the sinks of BEAT_NOTIFY what it says: add, change, delete. A sink of the same name that was added otherwise becomes its own."""
    await transaction.only(COUNT)  # one process at a time
    for name, (given, route) in named.items():
        check_name(name)
        number = await transaction.value(LOCK, {"name": name})
        fresh = number is None
        values, _ = _values(
            vault, await transaction.only(NEXT_ID) if number is None else number, name, given, route, private=True
        )
        await transaction.rows(CREATE if fresh else DEFINE, values | {"from_settings": True})
        if fresh:
            await _audit(transaction, actor, "add", name, {"kind": given.kind, "target": values["target"]})
    for name in await transaction.rows(OTHERS_FROM_SETTINGS, {"names": list(named)}):
        await transaction.run(DELETE, {"id": await _locked(transaction, name)})
        await _audit(transaction, actor, "remove", name, {"reason": "BEAT_NOTIFY does not name it any more"})


async def seal_anew(transaction: Transaction, vault: "Vault", *, batch: int) -> list[int]:
    """Seal again, with the ring's first key, the secrets of up to so many sinks that another key sealed; which they were."""
    rows = await transaction.rows(OTHERWISE_SEALED, {"key": vault.sealing_key_id, "limit": batch})
    for row in rows:
        key_id, secret = vault.seal(row.id, SEALED_FOR, vault.open(row.id, SEALED_FOR, row.key_id, row.secret))
        await transaction.run(SEAL_ANEW, {"id": row.id, "key_id": key_id, "secret": secret})
    return [row.id for row in rows]


def _values(
    vault: "Vault", number: int, name: str, given: Definition, route: Route, *, private: bool
) -> tuple[dict[str, Any], str | None]:
    """The row of a sink, and its key."""
    found, route = address(given, private=private), check_route(route, given.kind)
    key_id, secret = vault.seal(number, SEALED_FOR, found.secrets)
    values: dict[str, Any] = {
        "id": number,
        "name": name,
        "kind": given.kind,
        "target": found.target,
        "private": private,
    }
    values |= {"recipients": list(given.to), "sender": given.sender, "key_id": key_id, "secret": secret}
    return values | _of_route(route), found.secrets.get("key")


def _of_route(route: Route) -> dict[str, Any]:
    return msgspec.structs.asdict(route) | {"repeat": route.repeat or None}


async def _own(transaction: Transaction, name: str) -> NotificationSinkView:
    await _locked(transaction, name)
    found = await find(transaction, name)
    if found.from_settings:
        raise BadInput(f"BEAT_NOTIFY defines the sink {name}: change it there, and restart the deliverer", field="name")
    return found


async def _locked(transaction: Transaction, name: str) -> int:
    number = await transaction.value(LOCK, {"name": name})
    return (await find(transaction, name)).id if number is None else number


async def _audit(transaction: Transaction, actor: str, verb: str, name: str, detail: Mapping[str, Any]) -> None:
    await audit.record(transaction, actor=actor, action=f"notify.{verb}", target=f"notify/{name}", detail=detail)
