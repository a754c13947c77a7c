"""`beat credentials`: what people do with credentials. A secret is read from standard input and never shown."""

import asyncio
import getpass
import json as json_module
import sys
import time
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cyclopts import App

from beat_actors.cli.ids import AnyCoolingCredential, AnyDisabledCredential, AnyUsedCredential, CredentialId
from beat_actors.cli.names import AnySource, SourceName
from beat_actors.cli.operators import ask
from beat_actors.cli.operators.credentials import Offer, There
from beat_actors.cli.output import (
    FAILED,
    TABLE,
    Flag,
    Shape,
    in_words,
    printable,
    say,
    show_fields,
    show_json,
    show_list,
    show_rows,
)
from beat_actors.credentials.info import CredentialEvent, CredentialInfo
from beat_actors.errors import BadInput
from beat_actors.moments import moment
from beat_actors.platforms.interface import Outcome, Source
from beat_actors.platforms.registry import source_named

if TYPE_CHECKING:
    from beat_actors.cli.operators.here.credentials import Here

app = App(
    name="credentials",
    help="Provider credentials: add, list, show, replace, enable, disable, reset, share, unshare, rotate-keys.",
)

CAUSES = {"said": "wait in seconds", "ladder": "backoff step"}
"""How fields of an event's cause are shown."""
CHECKED_WITHIN = 6.0
"""Seconds within which a check is waited for."""


@app.command
def add(
    source: SourceName,
    /,
    *,
    label: str = "",
    weight: int = 1,
    account: str | None = None,
    shared: bool | None = None,
    json: Flag = False,
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
    _, declared = source_named(source)
    offer = Offer(source, read_secret(declared.secret_forms()), label, weight, account, shared)

    async def work(beat: There) -> tuple[CredentialInfo, bool]:
        found, new = await beat.add(offer)
        return (await checked(beat, found, declared) if new else found), new

    found, new = ask(There, work)
    if json:
        show_json({"id": found.id, "source": source, "added": new, "check": check_json(found)})
    elif new:
        say(printable(f"credential {found.id} of {source} added{said_of(found, declared)}"))
    else:
        say(f"credential {found.id} of {source} was there already")
    return FAILED if found.dead_at is not None else 0


@app.command
def replace(credential: CredentialId, /, *, reason: str, json: Flag = False) -> int:
    """Give a credential a new secret, read as by `add`, and say what its check finds. A dead credential is reactivated if the check passes.
    Exits with 1 if the provider does not take it.
    """
    before = ask(There, lambda beat: beat.info(credential))
    declared = source_named(before.source)[1]
    secret = read_secret(declared.secret_forms())

    async def work(beat: There) -> CredentialInfo:
        return await checked(beat, await beat.replace(credential, secret, reason=reason), declared)

    found = ask(There, work)
    if json:
        show_json({"id": found.id, "source": found.source, "state": found.state, "check": check_json(found)})
    else:
        say(printable(f"credential {found.id} of {found.source} has a new secret{said_of(found, declared)}"))
    return FAILED if found.dead_at is not None and found.checked_at is not None else 0


@app.command
def show(credential: CredentialId, /, *, json: Flag = False) -> None:
    """Show all that is known of a credential, and what happened to it; never its secret."""

    async def work(beat: There) -> tuple[CredentialInfo, Sequence[CredentialEvent]]:
        return await beat.info(credential), await beat.history(credential)

    found, history = ask(There, work)
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
        ("until", _until(found)),
        ("why", _why(found)),
        ("may not do", ", ".join(found.denied) or None),
        ("tried again", found.denied_until if found.denied else None),
        ("weight", str(found.weight)),
        ("calls", str(found.calls)),
        ("check", _finding(found)),
        ("checked", found.checked_at),
        ("next check", found.check_at),
        ("scopes", None if found.scopes is None else ", ".join(found.scopes) or "none"),
        ("token until" if found.refreshes else "expires", found.expires_at),
        ("refreshed", found.refreshed_at),
        ("data access ends", found.data_access_expires_at),
        ("sealed with", found.key_id),
        ("added", found.created_at),
    ]
    show_fields(lines)
    if history:
        say("")
        rows = [(e.at, e.kind, e.until, _cause(e)) for e in history]
        show_rows(("at", "event", "until", "cause"), rows, prose=("cause",))


@app.command(name="list")
def list_(source: AnySource = None, *, shape: Shape = TABLE) -> None:
    """List credentials and their state; never their secrets.

    Parameters
    ----------
    source
        Only those of this source.
    """
    if source is not None:
        source_named(source)
    show_list(
        ask(There, lambda beat: beat.credentials(source)),
        ("id", "source", "label", "weight", "state", "until", "reason", "expires", "calls"),
        lambda c: (c.id, c.source, c.label, c.weight, c.state, _until(c), _why(c), _end(c), c.calls),
        shape,
        prose=("label", "reason"),
        spare=("weight", "calls", "expires", "label"),
        empty="no credentials yet; add one: `beat credentials add SOURCE`",
    )


@app.command
def enable(credential: AnyDisabledCredential = None, /, *, reason: str, source: AnySource = None) -> None:
    """Put a credential back into use at once, whatever put it out of use.

    Parameters
    ----------
    reason
        Kept in the audit log.
    source
        All disabled credentials of this source.
    """
    _change(credential, source, "enable", ("disabled",), reason)


@app.command
def disable(credential: AnyUsedCredential = None, /, *, reason: str, source: AnySource = None) -> None:
    """Take a credential out of use until it is enabled by hand.

    Parameters
    ----------
    reason
        Kept in the audit log.
    source
        All credentials of this source that are in use.
    """
    _change(credential, source, "disable", ("ready", "cooling", "probing"), reason)


@app.command
def reset(credential: AnyCoolingCredential = None, /, *, reason: str, source: AnySource = None) -> None:
    """End the cooldown of a credential now and reset its backoff.

    Parameters
    ----------
    reason
        Kept in the audit log.
    source
        All credentials of this source that are cooling down.
    """
    _change(credential, source, "reset", ("cooling", "probing"), reason)


@app.command
def share(credential: CredentialId, /, *, reason: str) -> None:
    """Let a credential also serve calls that need no owner, of all accounts."""
    _change(credential, None, "share", (), reason)


@app.command
def unshare(credential: CredentialId, /, *, reason: str) -> None:
    """Let a credential serve only the calls of its owner."""
    _change(credential, None, "unshare", (), reason)


@app.command(name="rotate-keys")
def rotate_keys() -> None:
    """Seal every secret again with the first key of BEAT_VAULT_KEYS. Calls continue meanwhile; then the old keys can be removed."""
    rotated = ask(There, lambda beat: beat.rotate_keys())
    say(f"{rotated} credentials sealed with the first key of the ring")


DONE = {"enable": "enabled", "disable": "disabled", "reset": "reset", "share": "shared", "unshare": "unshared"}


def _change(credential: int | None, source: str | None, change: str, states: Collection[str], reason: str) -> None:
    """Change one credential, or one after the other all of a source in these states. Raises `BadInput` unless one of the two is named."""
    if (credential is None) == (source is None):
        raise BadInput(f"name one credential, or --source SOURCE: nothing was {DONE[change]}", field="credential")
    if source is not None:
        source_named(source)

    async def work(beat: There) -> int:
        if credential is not None:
            await beat.change(credential, change, reason=reason)
            return 1
        chosen = [one for one in await beat.credentials(source) if one.state in states]
        for one in chosen:
            await beat.change(one.id, change, reason=reason)
        return len(chosen)

    count = ask(There, work)
    if credential is not None:
        say(f"credential {credential} {DONE[change]}")
    else:
        say(f"{count:,} {'credential' if count == 1 else 'credentials'} of {source} {DONE[change]}")


def _why(credential: CredentialInfo) -> str | None:
    if credential.state == "probing":
        return "its cooldown ended; the next call with it is a probe"
    if credential.state in ("cooling", "dead"):
        return credential.dead_reason or credential.disabled_reason
    return None


async def checked(beat: "There | Here", found: CredentialInfo, declared: Source) -> CredentialInfo:
    """The credential as it is after its check, if that comes back soon; as it is now, if not."""
    deadline = time.monotonic() + CHECKED_WITHIN
    if declared.check is None or not found.enabled:
        return found
    # Again and again, because a refresh may have to come first.
    while found.checked_at is None and time.monotonic() < deadline and await beat.check_now(found.id):
        for _ in range(10):
            await asyncio.sleep(0.1)
            found = await beat.info(found.id)
            if found.checked_at is not None:
                break
    return found


def said_of(found: CredentialInfo, declared: Source) -> str:
    if declared.check is None:
        return f"; {found.source} has no check, so its first call shows whether it is good"
    if found.checked_at is None:
        return f" and is being checked: `beat credentials show {found.id}`"
    ends = f", expires {_end(found)}" if _end(found) else ""
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
    return ", ".join(
        f"{CAUSES.get(name, name)} {in_words(value)}" for name, value in (event.cause or {}).items() if value
    )


def _end(credential: CredentialInfo) -> str | None:
    """When a person has to do something about it."""
    ends = [credential.data_access_expires_at] + ([] if credential.refreshes else [credential.expires_at])
    end = min((at for at in ends if at is not None), default=None)
    return None if end is None else moment(end)


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


def _until(credential: CredentialInfo) -> datetime | None:
    """When its cooldown ends."""
    return credential.disabled_till if credential.state == "cooling" else None
