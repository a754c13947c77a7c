"""`beat keys`: who may use the API. A key is shown when it is made, and never again."""

import sys
from datetime import timedelta
from typing import Annotated

from cyclopts import App, Parameter

from beat_actors.access import scopes
from beat_actors.access.keyring import FRESH
from beat_actors.access.keys import GRACE, RATE_LIMIT, NewKey
from beat_actors.cli.operators import ask
from beat_actors.cli.operators.access import MadeKey, There
from beat_actors.cli.output import FAILED, TABLE, Shape, printable, say, show_json, show_list, tell
from beat_actors.moments import moment

MOST_SHOWN = 20
"""Webhooks that are named where a key is revoked."""

app = App(name="keys", help="API keys: create, list, revoke, rotate.")


@app.command
def create(
    name: str,
    /,
    *,
    scope: Annotated[list[str], Parameter(negative="")],
    account: str | None = None,
    days: float | None = None,
    rate: int = RATE_LIMIT,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Create a key. It is printed once, alone on standard output; only its hash is kept.

    Parameters
    ----------
    name
        Whose it is, or what for.
    scope
        submit, urgent (the priority customer, beside submit), read, metrics, operate (which contains these) or admin (which contains all); may be given
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
    created = ask(There, lambda beat: beat.create(new))
    if json:
        show_json(created)
        return
    _show(created, name, " ".join(new.scopes), account)


@app.command(name="list")
def list_(*, shape: Shape = TABLE) -> None:
    """List the keys, without their secrets. Last-used times may lag by a minute."""
    show_list(
        ask(There, lambda beat: beat.keys()),
        ("id", "prefix", "name", "state", "scopes", "account", "calls/min", "created", "expires", "last used"),
        lambda key: (
            key.id, key.prefix, key.name, key.state, " ".join(key.scopes), key.account_id, key.rate_limit,
            key.created_at, key.expires_at, key.last_used,
        ),
        shape,
        spare=("calls/min", "last used", "expires", "created"),
        empty="there is no key; make one: `beat keys create NAME --scope submit`",
    )  # fmt: skip


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
    revoked = ask(There, lambda beat: beat.revoke(key, reason=reason))
    if not revoked.was_alive:
        tell(f"key {revoked.id} was revoked before")
        return FAILED
    say(f"key {revoked.id} revoked; it opens nothing after {FRESH:g} s")
    if revoked.webhooks:
        shown = " ".join(str(number) for number in revoked.webhooks[:MOST_SHOWN])
        more = " …" if len(revoked.webhooks) > MOST_SHOWN else ""
        tell(
            f"{len(revoked.webhooks)} webhooks that it made are paused: {shown}{more}; "
            "`beat webhooks resume ID` takes one over, `beat webhooks remove ID --reason …` drops it"
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
    rotated = ask(There, lambda beat: beat.rotate(key, _days(hours / 24)))
    if json:
        show_json(rotated)
        return
    tell(f"key {rotated.before.id} works until {moment(rotated.before.works_until)}")
    _show(rotated)
    if rotated.webhooks:
        tell("the webhooks that it made have new signing secrets, shown this once; the old ones sign until then too:")
        sys.stdout.writelines(f"webhook {one.id} {one.secret}\n" for one in rotated.webhooks)


def _show(created: MadeKey, name: str = "", allowed: str = "", account: str | None = None) -> None:
    """The key alone on standard output, and what it is on standard error."""
    what = f" for {name}{f' of account {account}' if account else ''}: {allowed}" if name else ""
    ends = f", until {moment(created.expires_at)}" if created.expires_at else ""
    tell(printable(f"key {created.id}{what}{ends}. This is the only time that it is shown:"))
    sys.stdout.write(f"{created.key}\n")


def _days(days: float) -> timedelta:
    """So many days; what no calendar holds is the longest time, which is refused where it is used."""
    try:
        return timedelta(days=days)
    except (ValueError, OverflowError):
        return timedelta.max
