"""`beat credentials`: what people do with credentials. A secret is read from standard input and never shown."""

import asyncio
import getpass
import json as json_module
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

from cyclopts import App, Parameter

from actors.mailbox import CREDENTIALS
from beat_actors.cli.output import FAILED, printable, say, show_json, show_rows
from beat_actors.cli.session import Session, run
from beat_actors.credentials.info import CredentialEvent, CredentialInfo
from beat_actors.credentials.manager import source_named
from beat_actors.errors import BadInput
from beat_actors.platforms.interface import Outcome, Source

app = App(
    name="credentials",
    help="Provider credentials: add, list, show, replace, enable, disable, reset, share, unshare, rotate-keys.",
)

PATIENCE = 6.0
"""Seconds within which a check is waited for."""


@app.command
def add(
    source: str,
    /,
    *,
    label: str = "",
    weight: int = 1,
    account: str | None = None,
    shared: bool | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Add a credential, and say what its check finds. Its fields are asked for, or read from standard input as JSON or as NAME=VALUE
    lines. Exits with 1 if the provider does not take it.

    Parameters
    ----------
    source
        A source of any platform, such as graphapi; an unknown one is answered with those that exist.
    weight
        How often it is picked, relative to its neighbours.
    account
        The account that may use the credential's owner: a store, a business account.
    shared
        Let it also serve calls that need no owner, of all accounts. Without --account it does, with it it does not.
    """
    platform, declared = source_named(source)
    secret = read_secret(declared.secret_forms())

    async def work(session: Session) -> tuple[CredentialInfo, bool]:
        credential, new = await session.engine.credentials.add(
            source, secret, label=label, weight=weight, account_id=account, shared=shared
        )
        await session.wake(platform)
        found = await session.engine.credentials.info(credential)
        return (await checked(session, found, declared) if new else found), new

    found, new = run(work)
    if json:
        show_json({"id": found.id, "source": source, "added": new, "check": check_json(found)})
    elif new:
        say(printable(f"credential {found.id} of {source} added{said_of(found, declared)}"))
    else:
        say(f"credential {found.id} of {source} was there already")
    return FAILED if found.dead_at is not None else 0


@app.command
def replace(credential: int, /, *, reason: str, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Give a credential a new secret, read as by `add`, and say what its check finds. A dead one lives again when that is well.
    Exits with 1 if the provider does not take it.
    """
    before = run(lambda session: session.engine.credentials.info(credential))
    declared = source_named(before.source)[1]
    secret = read_secret(declared.secret_forms())

    async def work(session: Session) -> CredentialInfo:
        await session.engine.credentials.replace(credential, secret, reason=reason)
        await session.wake(before.platform)
        return await checked(session, await session.engine.credentials.info(credential), declared)

    found = run(work)
    if json:
        show_json({"id": found.id, "source": found.source, "state": found.state, "check": check_json(found)})
    else:
        say(printable(f"credential {found.id} of {found.source} has a new secret{said_of(found, declared)}"))
    return FAILED if found.dead_at is not None and found.checked_at is not None else 0


@app.command
def show(credential: int, /, *, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Show all that is known of a credential, and what happened to it; never its secret."""

    async def work(session: Session) -> tuple[CredentialInfo, Sequence[CredentialEvent]]:
        credentials = session.engine.credentials
        return await credentials.info(credential), await credentials.history(credential)

    found, history = run(work)
    if json:
        show_json({"credential": found, "history": history})
        return
    lines: list[tuple[str, object]] = [
        ("id", str(found.id)),
        ("source", found.source),
        ("label", found.label),
        ("owner", found.owner),
        ("serves", "all calls" if found.shared and found.owner else "its owner's calls" if found.owner else None),
        ("state", found.state),
        ("until (UTC)", _until(found)),
        ("why", _why(found)),
        ("may not do", ", ".join(found.denied) or None),
        ("tried again", _moment(found.denied_until) if found.denied else None),
        ("weight", str(found.weight)),
        ("calls", str(found.calls)),
        ("check", _finding(found)),
        ("checked", _moment(found.checked_at)),
        ("next check", _moment(found.check_at)),
        ("scopes", None if found.scopes is None else ", ".join(found.scopes) or "none"),
        ("token until" if found.refreshes else "expires", _moment(found.expires_at)),
        ("refreshed", _moment(found.refreshed_at)),
        ("data access ends", _moment(found.data_access_expires_at)),
        ("sealed with", found.key_id),
        ("added", _moment(found.created_at)),
    ]
    show_rows(("", ""), [line for line in lines if line[1] is not None])
    if history:
        say("")
        rows = [(_moment(e.at), e.kind, _moment(e.until), _cause(e)) for e in history]
        show_rows(("at (UTC)", "what", "until", "cause"), rows)


@app.command(name="list")
def list_(source: str | None = None, *, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Show credentials and their state; never their secrets."""
    found = run(lambda session: session.engine.credentials.overview(source))
    if json:
        show_json(found)
        return
    rows = [(str(c.id), c.source, c.label, c.weight, c.state, _until(c), _why(c), _end(c), c.calls) for c in found]
    columns = ("id", "source", "label", "weight", "state", "until (UTC)", "why", "expires", "calls")
    show_rows(columns, rows, empty="no credentials yet; add one: `beat credentials add SOURCE`")


@app.command
def enable(credential: int, /, *, reason: str) -> None:
    """Put a credential back into use at once, whatever put it out."""
    _change(credential, lambda session: session.engine.credentials.enable(credential, reason=reason), "enabled")


@app.command
def disable(credential: int, /, *, reason: str) -> None:
    """Take a credential out of use until it is enabled by hand."""
    _change(credential, lambda session: session.engine.credentials.disable(credential, reason=reason), "disabled")


@app.command
def reset(credential: int, /, *, reason: str) -> None:
    """End a credential's rest now, at the foot of the ladder."""
    _change(credential, lambda session: session.engine.credentials.reset(credential, reason=reason), "reset")


@app.command
def share(credential: int, /, *, reason: str) -> None:
    """Let a credential also serve calls that need no owner, of all accounts."""
    _change(credential, lambda session: session.engine.credentials.share(credential, reason=reason), "shared")


@app.command
def unshare(credential: int, /, *, reason: str) -> None:
    """Let a credential serve the calls of its owner alone."""
    _change(credential, lambda session: session.engine.credentials.unshare(credential, reason=reason), "unshared")


@app.command(name="rotate-keys")
def rotate_keys() -> None:
    """Seal every secret again with the first key of BEAT_VAULT_KEYS. Calls go on meanwhile; then the old keys can go."""
    rotated = run(lambda session: session.engine.credentials.rotate_keys())
    say(f"{rotated} credentials sealed with the first key of the ring")


def _change(credential: int, change: Callable[[Session], Awaitable[None]], done: str) -> None:
    async def work(session: Session) -> None:
        await change(session)
        await session.wake((await session.engine.credentials.info(credential)).platform)

    run(work)
    say(f"credential {credential} {done}")


def _why(credential: CredentialInfo) -> str | None:
    if credential.state in ("cooling", "probing", "dead"):
        return credential.dead_reason or credential.disabled_reason
    return None


async def checked(session: Session, found: CredentialInfo, declared: Source) -> CredentialInfo:
    """The credential as it is after its check, if that comes back soon; as it is now, if not."""
    number, deadline = found.id, time.monotonic() + PATIENCE
    if declared.check is None or not found.enabled:
        return found
    while found.checked_at is None and time.monotonic() < deadline:
        try:
            if not await asyncio.to_thread(session.mailbox.listeners):
                break
        except OSError:
            break
        # Again, because a refresh may have to come first. What is not due any more is not done twice.
        await session.mailbox.send(CREDENTIALS, [number])
        for _ in range(10):
            await asyncio.sleep(0.1)
            found = await session.engine.credentials.info(number)
            if found.checked_at is not None:
                break
    return found


def said_of(found: CredentialInfo, declared: Source) -> str:
    if declared.check is None:
        return f"; {found.source} has no check, so its first call shows whether it is good"
    if found.checked_at is None:
        return f" and is being checked: `beat credentials show {found.id}`"
    ends = f", expires {_end(found)} UTC" if _end(found) else ""
    scopes = f", scopes {', '.join(found.scopes) or 'none'}" if found.scopes is not None else ""
    return f"; its check says {_finding(found)}{scopes}{ends}"


def _finding(found: CredentialInfo) -> str | None:
    if found.check_outcome is None:
        return None
    said = f" ({found.check_detail})" if found.check_detail else ""
    return f"{'it is good' if found.check_outcome == Outcome.OK else found.check_outcome}{said}"


def check_json(found: CredentialInfo) -> dict[str, Any] | None:
    if found.checked_at is None:
        return None
    names = ("checked_at", "check_outcome", "check_detail", "scopes", "expires_at", "data_access_expires_at")
    return {name.removeprefix("check_"): getattr(found, name) for name in names}


def _cause(event: CredentialEvent) -> str:
    return ", ".join(f"{name} {value}" for name, value in (event.cause or {}).items() if value)


def _end(credential: CredentialInfo) -> str | None:
    """When a person has to do something about it."""
    ends = [credential.data_access_expires_at] + ([] if credential.refreshes else [credential.expires_at])
    end = min((at for at in ends if at is not None), default=None)
    return None if end is None else f"{end:%Y-%m-%d %H:%M}"


def _moment(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def read_secret(forms: Sequence[tuple[str, ...]], *, optional: Sequence[str] = ()) -> dict[str, str]:
    if sys.stdin.isatty():
        typed = {name: getpass.getpass(f"{name}: ") for name in _chosen(forms)}
        more = {name: input(f"{name}, if it is to be a certain one: ") for name in optional}
        return typed | {name: value for name, value in more.items() if value}
    text = sys.stdin.read(65_536).strip()
    try:
        given: object = json_module.loads(text)
    except ValueError:
        given = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        fields = "; or ".join(", ".join(form) for form in forms)
        raise BadInput(f"give the fields {fields} as a JSON object of texts, or as NAME=VALUE lines")
    return given


def _chosen(forms: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Which of the forms a person wants to give."""
    if len(forms) == 1:
        return forms[0]
    for number, form in enumerate(forms, 1):
        say(f"{number}: {', '.join(form)}")
    answer = input("which: ")
    if answer not in map(str, range(1, len(forms) + 1)):
        raise BadInput(f"one of 1 to {len(forms)} is wanted")
    return forms[int(answer) - 1]


def _until(credential: CredentialInfo) -> str | None:
    till = credential.disabled_till
    return f"{till:%m-%d %H:%M:%S}" if till is not None and credential.state in ("cooling", "probing") else None
