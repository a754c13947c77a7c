"""Endpoints and their deliveries as their owners see and change them; each change is audited in its own transaction."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

import msgspec

from beat_actors import audit
from beat_actors.credentials.vault import Vault
from beat_actors.data import cursors
from beat_actors.database import Transaction, jsonb
from beat_actors.errors import BadInput, Conflict, NotFound, TooManyTests
from beat_actors.shapes import one_of
from beat_actors.text import check_text
from beat_actors.webhooks.addresses import check_url
from beat_actors.webhooks.backoff import FAILURES
from beat_actors.webhooks.makers import MAKER_LIVES, SEALED_FOR
from beat_actors.webhooks.signing import new_secret

TEST = "beat.webhook.test"
TESTS, TESTS_OF_ACCOUNT = 10, 30
"""Test events a minute to one endpoint, and to all endpoints of one account."""
MOST_EVENTS = 20
MOST_ENDPOINTS, MOST_OF_THE_INSTALLATION = 32, 100
"""Endpoints of one account, and those without an account."""
MOST_RESENT = 10_000
MAX_PAGE = 200
STATES = ("pending", "delivered", "failed")
PATTERN = re.compile(r"\*|beat(\.[a-z_]+){1,3}(\.\*)?")

SEEN = "(%(account)s::text IS NULL AND (%(all)s OR e.api_key_id = %(key)s) OR e.account_id = %(account)s)"
# Who made it is shown to those who operate, to keys of the same account, and to the maker itself.
SHOWS_MAKER = "(%(all)s OR k.account_id = %(account)s OR k.id = %(key)s)"
VIEW = f"""e.id, e.account_id, e.url, e.events, CASE WHEN e.state = 'active' AND NOT ({MAKER_LIVES}) THEN 'paused' ELSE e.state END AS state,
    CASE WHEN e.state = 'paused' THEN 'asked' WHEN e.state = 'disabled' THEN 'gone'
         WHEN NOT ({MAKER_LIVES}) THEN (SELECT CASE WHEN k.revoked_at IS NULL THEN 'key_expired' ELSE 'key_revoked' END
                                        FROM api_key k WHERE k.id = e.api_key_id) END AS reason,
    (SELECT k.id FROM api_key k WHERE k.id = e.api_key_id AND {SHOWS_MAKER}) AS api_key_id,
    (SELECT k.name FROM api_key k WHERE k.id = e.api_key_id AND {SHOWS_MAKER}) AS api_key_name,
    CASE WHEN e.failures >= {FAILURES} THEN 'open' ELSE 'closed' END AS breaker, e.failures,
    CASE WHEN e.open_until > clock_timestamp() THEN e.open_until END AS open_until, e.last_success_at, e.last_failure_at, e.last_error,
    e.created_at"""  # noqa: S608 - this module's own text
CREATE = f"""
INSERT INTO webhook_endpoint AS e (id, account_id, url, events, api_key_id, key_id, secret) OVERRIDING SYSTEM VALUE
VALUES (%(id)s, %(account)s, %(url)s, %(events)s, %(key)s, %(key_id)s, %(secret)s) RETURNING {VIEW}
"""  # noqa: S608 - this module's own text
NEXT_ID = "SELECT nextval(pg_get_serial_sequence('webhook_endpoint', 'id'))"
COUNT = """
SELECT count(*) FROM webhook_endpoint WHERE account_id IS NOT DISTINCT FROM %s::text
"""
# Two that add an endpoint at once count one after the other.
ALONE = "SELECT pg_advisory_xact_lock(hashtext('beat.webhooks'))"
LIST = f"SELECT {VIEW} FROM webhook_endpoint e WHERE {SEEN} ORDER BY e.id"  # noqa: S608 - as above
FIND = f"SELECT {VIEW} FROM webhook_endpoint e WHERE e.id = %(id)s AND {SEEN}"  # noqa: S608 - as above
# Whoever resumes an endpoint whose maker's key has ended answers for it from then on.
CHANGE = f"""
UPDATE webhook_endpoint e SET url = coalesce(%(url)s, url), events = coalesce(%(events)s::text[], events),
    state = coalesce(%(state)s, state),
    failures = CASE WHEN %(anew)s THEN 0 ELSE failures END, trips = CASE WHEN %(anew)s THEN 0 ELSE trips END,
    open_until = CASE WHEN %(anew)s THEN NULL ELSE open_until END,
    api_key_id = CASE WHEN %(state)s = 'active' AND NOT ({MAKER_LIVES}) THEN %(key)s ELSE api_key_id END
WHERE e.id = %(id)s RETURNING {VIEW}
"""  # noqa: S608 - as above
ROTATE = """
UPDATE webhook_endpoint SET old_key_id = key_id, old_secret = secret, old_until = clock_timestamp() + interval '24 hours',
    key_id = %s, secret = %s WHERE id = %s RETURNING old_until
"""
# One window of a minute for each subject, the endpoint and its account. Rows of long ago are dropped on the way.
COUNT_TEST = """
WITH gone AS (
    DELETE FROM webhook_test WHERE subject = ANY(ARRAY(
        SELECT subject FROM webhook_test WHERE began < clock_timestamp() - interval '1 hour' AND NOT (subject = ANY(%(subjects)s::text[]))
        ORDER BY began LIMIT 100 FOR UPDATE SKIP LOCKED))
)
INSERT INTO webhook_test AS t (subject, began, sent) SELECT subject, clock_timestamp(), 1 FROM unnest(%(subjects)s::text[]) AS s(subject)
ON CONFLICT (subject) DO UPDATE SET
    began = CASE WHEN t.began <= clock_timestamp() - interval '1 minute' THEN excluded.began ELSE t.began END,
    sent = CASE WHEN t.began <= clock_timestamp() - interval '1 minute' THEN 1 ELSE t.sent + 1 END
RETURNING subject, sent, extract(epoch FROM began + interval '1 minute' - clock_timestamp())::float8 AS seconds
"""
TELL = """
INSERT INTO webhook_delivery (endpoint_id, event_id, type, data, occurred_at, next_at, expires_at)
VALUES (%s, %s, %s, %s::jsonb, clock_timestamp(), clock_timestamp(), clock_timestamp() + interval '24 hours') RETURNING id
"""
DELIVERIES = """
SELECT id, event_id, type, occurred_at, state, attempt, CASE WHEN state = 'pending' THEN next_at END AS next_at, expires_at,
       status, error, ended_at
FROM webhook_delivery WHERE endpoint_id = %(id)s AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(before)s::bigint IS NULL OR id < %(before)s) ORDER BY id DESC LIMIT %(limit)s
"""
# What is out at this moment is left alone. Delays start anew; `attempt` goes on, since it is the fence.
RESEND = """
WITH again AS (
    SELECT id FROM webhook_delivery WHERE endpoint_id = %(endpoint)s AND state <> 'pending'
      AND CASE WHEN %(id)s::bigint IS NULL THEN state = 'failed' AND occurred_at >= %(since)s ELSE id = %(id)s END
    ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE
)
UPDATE webhook_delivery d SET state = 'pending', next_at = clock_timestamp(), expires_at = clock_timestamp() + interval '24 hours',
    ended_at = NULL, lease_until = NULL, resent_after = attempt FROM again WHERE d.id = again.id RETURNING d.id
"""
OTHERWISE_SEALED = """
SELECT id, key_id, secret, CASE WHEN old_until > clock_timestamp() THEN old_key_id END AS old_key_id, old_secret
FROM webhook_endpoint WHERE key_id <> %(key)s OR old_key_id <> %(key)s ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE
"""
SEAL_ANEW = "UPDATE webhook_endpoint SET key_id = %s, secret = %s, old_key_id = %s, old_secret = %s WHERE id = %s"


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


class Deliveries(msgspec.Struct, frozen=True):
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
        return {"account": self.account_id, "all": self.all, "key": self.key_id}


def opened(vault: Vault, row: Any) -> list[str]:
    """The secrets that sign for this endpoint, the newest first. Raises `VaultError`."""
    sealed = [(row.key_id, row.secret)] + ([(row.old_key_id, row.old_secret)] if row.old_key_id else [])
    number = getattr(row, "endpoint_id", None) or row.id
    return [vault.open(number, SEALED_FOR, key_id, bytes(secret))["secret"] for key_id, secret in sealed]


async def create(
    transaction: Transaction,
    vault: Vault,
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
    wanted = _checked(events)
    await transaction.value(ALONE)
    most = MOST_OF_THE_INSTALLATION if account_id is None else MOST_ENDPOINTS
    if await transaction.value(COUNT, (account_id,)) >= most:
        raise Conflict(f"there are {most} endpoints already, which is all that there may be; delete one first")
    number, secret = await transaction.value(NEXT_ID), new_secret()
    key_id, sealed = vault.seal(number, SEALED_FOR, {"secret": secret})
    values = {"id": number, "account": account_id, "url": url, "events": wanted, "key": api_key_id, "all": True}
    row = await transaction.row(CREATE, values | {"key_id": key_id, "secret": sealed})
    assert row is not None
    await _audit(transaction, actor, "create", number, {"account_id": account_id, "host": _host(url), "events": wanted})
    return EndpointView(**row._asdict()), secret


async def overview(transaction: Transaction, reader: Reader) -> list[EndpointView]:
    rows = await transaction.rows(LIST, reader.sees)
    return [EndpointView(**row._asdict()) for row in rows]


async def find(transaction: Transaction, number: int, reader: Reader, *, lock: bool = False) -> EndpointView:
    """Raises `NotFound`, also for an endpoint of somebody else."""
    statement = f"{FIND} FOR NO KEY UPDATE OF e" if lock else FIND
    row = await transaction.row(statement, {"id": number} | reader.sees)
    if row is None:
        raise NotFound(f"there is no webhook {number}; list them to see which there are")
    return EndpointView(**row._asdict())


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
    values = {"id": number, "url": url, "events": _checked(events) if events is not None else None}
    row = await transaction.row(CHANGE, values | {"state": state, "anew": anew} | reader.sees)
    assert row is not None
    detail = {"host": _host(url) if url else None, "events": values["events"], "state": state}
    detail = {name: value for name, value in detail.items() if value is not None}
    await _audit(transaction, reader.actor, "change", number, detail)
    return EndpointView(**row._asdict())


async def delete(transaction: Transaction, number: int, reader: Reader) -> None:
    """Its deliveries go with it."""
    found = await find(transaction, number, reader, lock=True)
    await transaction.run("DELETE FROM webhook_endpoint WHERE id = %s", (number,))
    await _audit(
        transaction, reader.actor, "delete", number, {"account_id": found.account_id, "host": _host(found.url)}
    )


async def rotate(transaction: Transaction, vault: Vault, number: int, reader: Reader) -> tuple[str, datetime]:
    """A new secret, and until when the one before it signs as well."""
    await find(transaction, number, reader, lock=True)
    secret = new_secret()
    until = await transaction.value(ROTATE, (*vault.seal(number, SEALED_FOR, {"secret": secret}), number))
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
    told = {"message": "This is a test.", "webhook_id": number}
    delivery = await transaction.value(TELL, (number, event, TEST, jsonb(told)))
    await _audit(transaction, reader.actor, "test", number, {"event_id": event})
    return int(delivery)


async def deliveries(
    transaction: Transaction,
    number: int,
    reader: Reader,
    *,
    state: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Deliveries:
    """A page, newest first. Raises `BadInput` for a state or a cursor that there is not."""
    if state is not None and state not in STATES:
        raise BadInput(f"state is {', '.join(STATES)}", field="state")
    if not 1 <= limit <= MAX_PAGE:
        raise BadInput(f"limit is 1 to {MAX_PAGE}", field="limit")
    before = cursors.read(cursor, cursors.Before).id if cursor else None
    await find(transaction, number, reader)
    values = {"id": number, "state": state, "before": before, "limit": limit + 1}
    rows = [DeliveryView(**row._asdict()) for row in await transaction.rows(DELIVERIES, values)]
    following = cursors.write(cursors.Before(rows[limit - 1].id)) if len(rows) > limit else None
    return Deliveries(rows[:limit], following)


async def resend(transaction: Transaction, number: int, delivery: int, reader: Reader) -> None:
    """Send it again, whether it failed or was delivered. Raises `NotFound`, or `Conflict` while it is pending."""
    await find(transaction, number, reader)
    values = {"endpoint": number, "id": delivery, "since": None, "limit": 1}
    if not await transaction.rows(RESEND, values):
        here = "SELECT state FROM webhook_delivery WHERE endpoint_id = %s AND id = %s"
        if await transaction.value(here, (number, delivery)) is None:
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


async def seal_anew(transaction: Transaction, vault: Vault, *, batch: int) -> list[int]:
    """Seal again, with the ring's first key, the secrets of up to so many endpoints that another key sealed; which they were."""
    rows = await transaction.rows(OTHERWISE_SEALED, {"key": vault.sealing_key_id, "limit": batch})
    for row in rows:
        sealed = [vault.seal(row.id, SEALED_FOR, {"secret": secret}) for secret in opened(vault, row)]
        new, old = sealed[0], sealed[1] if len(sealed) > 1 else (None, None)
        await transaction.run(SEAL_ANEW, (*new, *old, row.id))
    return [row.id for row in rows]


def _checked(events: Sequence[str]) -> list[str]:
    wrong = [name for name in events if not PATTERN.fullmatch(name[:100])]
    if wrong or not 1 <= len(events) <= MOST_EVENTS:
        raise BadInput(
            f"events is 1 to {MOST_EVENTS} types such as beat.scrape_request.complete, beat.alert.* or *",
            field="events",
        )
    return list(dict.fromkeys(events))


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
