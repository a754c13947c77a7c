"""`beat keys`: who may use the API. A key is shown when it is made, and never again."""

import sys
from datetime import datetime, timedelta
from typing import Annotated, Any

from cyclopts import App, Parameter

from beat_actors.access import keys as rows
from beat_actors.access import scopes
from beat_actors.access.keyring import FRESH
from beat_actors.access.keys import GRACE, RATE_LIMIT, Created, KeyView, NewKey, Revoked, Rotated
from beat_actors.cli.output import FAILED, printable, say, show_json, show_rows, tell
from beat_actors.cli.session import Session, run, who

MOST_SHOWN = 20
"""Webhooks that are named where a key is revoked."""

app = App(name="keys", help="API keys: create, list, revoke, rotate.")


@app.command
def create(
    name: str,
    /,
    *,
    scope: list[str],
    account: str | None = None,
    days: float | None = None,
    rate: int = RATE_LIMIT,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Make a key. It is printed once, alone on standard output; only its hash is kept.

    Parameters
    ----------
    name
        Whose it is, or what for.
    scope
        submit, urgent (the priority customer, beside submit), read, operate (which contains these) or admin (which contains all); may be given
        several times.
    account
        Bind it to this account: it asks in its name, and sees nothing of others. Only with submit, urgent and read.
    days
        How long it works; for good if not given.
    rate
        Calls a minute.
    """
    life = None if days is None else _days(days)
    new = NewKey(name, scopes.named(scope), account, rate, life)

    async def work(session: Session) -> Created:
        async with session.engine.database.transaction() as transaction:
            return await rows.create(transaction, new, actor=who())

    created = run(work)
    if json:
        show_json(_told(created))
        return
    _show(created)


@app.command(name="list")
def list_(*, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """List the keys, without their secrets. The last use is a minute late at most."""

    async def work(session: Session) -> list[KeyView]:
        async with session.engine.database.transaction() as transaction:
            return await rows.overview(transaction)

    found = run(work)
    if json:
        show_json(found)
        return
    columns = (
        "id",
        "prefix",
        "name",
        "state",
        "scopes",
        "account",
        "calls a minute",
        "created (UTC)",
        "expires",
        "last used",
    )
    lines = [
        (
            *(str(key.id), key.prefix, key.name, key.state, " ".join(key.scopes), key.account_id, key.rate_limit),
            *(_moment(at) for at in (key.created_at, key.expires_at, key.last_used)),
        )
        for key in found
    ]
    show_rows(columns, lines, empty="there is no key; `beat keys create NAME --scope submit` makes one")


@app.command
def revoke(key: str, /, *, reason: str) -> int:
    """End a key for good; in a few seconds no process of the API takes it any more. Exits with 1 if it was revoked before.

    Parameters
    ----------
    key
        Its id or its prefix, or all of it as it was found where it should not be.
    reason
        Kept in the audit log.
    """

    async def work(session: Session) -> Revoked:
        async with session.engine.database.transaction() as transaction:
            return await rows.revoke(transaction, key, reason=reason, actor=who())

    revoked = run(work)
    if not revoked.was_alive:
        tell(f"key {revoked.id} was revoked before")
        return FAILED
    say(f"key {revoked.id} revoked; it opens nothing after {FRESH:g} s")
    if revoked.webhooks:
        shown = " ".join(str(number) for number in revoked.webhooks[:MOST_SHOWN])
        more = " …" if len(revoked.webhooks) > MOST_SHOWN else ""
        tell(
            f"{len(revoked.webhooks)} webhooks that it made are paused: {shown}{more}; "
            "`beat webhooks resume ID` takes one over, `beat webhooks remove ID` drops it"
        )
    return 0


@app.command
def rotate(
    key: str, /, *, hours: float = GRACE / timedelta(hours=1), json: Annotated[bool, Parameter(negative="")] = False
) -> None:
    """Make a key's successor, which may do the same for as long; the old one works on for a while.

    The webhooks that it made become the successor's. Each gets a new signing secret, printed after the key as `webhook ID SECRET`;
    the old secret signs as well while the old key works.

    Parameters
    ----------
    key
        Its id or its prefix.
    hours
        How long the old one still works.
    """

    async def work(session: Session) -> Rotated:
        async with session.engine.database.transaction() as transaction:
            return await rows.rotate(transaction, session.engine.vault, key, grace=_days(hours / 24), actor=who())

    rotated = run(work)
    if json:
        webhooks = [{"id": one.id, "secret": one.secret} for one in rotated.webhooks]
        show_json(_told(rotated.created) | {"webhooks": webhooks})
        return
    tell(f"key {rotated.before} works until {_moment(rotated.works_until)} UTC")
    _show(rotated.created)
    if rotated.webhooks:
        tell("the webhooks that it made have new signing secrets, shown this once; the old ones sign until then too:")
        sys.stdout.writelines(f"webhook {one.id} {one.secret}\n" for one in rotated.webhooks)


def _told(created: Created) -> dict[str, Any]:
    told = {"id": created.id, "prefix": created.minted.token.prefix, "key": created.minted.text}
    return told | {"expires_at": created.expires_at}


def _show(created: Created) -> None:
    allowed = " ".join(created.new.scopes)
    whose = f" of account {created.new.account_id}" if created.new.account_id else ""
    ends = f", until {_moment(created.expires_at)} UTC" if created.expires_at else ""
    tell(
        printable(
            f"key {created.id} for {created.new.name}{whose}: {allowed}{ends}. This is the only time that it is shown:"
        )
    )
    sys.stdout.write(f"{created.minted.text}\n")


def _days(days: float) -> timedelta:
    """So many days; what no calendar holds is the longest time, which is refused where it is used."""
    try:
        return timedelta(days=days)
    except (ValueError, OverflowError):
        return timedelta.max


def _moment(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%d %H:%M}"
