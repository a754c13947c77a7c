"""`beat credentials`: what people do with credentials. A secret is read from standard input and never shown."""

import getpass
import json as json_module
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from cyclopts import App, Parameter

from beat_actors.cli.output import say, show_json, show_rows
from beat_actors.cli.session import Session, run
from beat_actors.credentials.manager import CredentialInfo, source_named
from beat_actors.errors import BadInput

app = App(name="credentials", help="Provider credentials: add, list, enable, disable, reset, rotate-keys.")


@app.command
def add(
    source: str, /, *, label: str = "", weight: int = 1, json: Annotated[bool, Parameter(negative="")] = False
) -> None:
    """Add a credential. Its fields are asked for, or read from standard input as JSON or as NAME=VALUE lines.

    Parameters
    ----------
    source
        A source of any platform, such as graphapi; an unknown one is answered with those that exist.
    weight
        How often it is picked, relative to its neighbours.
    """
    platform, declared = source_named(source)
    secret = _read_secret(declared.secret_fields)

    async def work(session: Session) -> tuple[int, bool]:
        added = await session.engine.credentials.add(source, secret, label=label, weight=weight)
        await session.ring(platform)
        return added

    credential, new = run(work)
    if json:
        show_json({"id": credential, "source": source, "added": new})
        return
    say(f"credential {credential} of {source} {'added' if new else 'was there already'}")


@app.command(name="list")
def list_(source: str | None = None, /, *, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Show credentials and their state; never their secrets."""
    found = run(lambda session: session.engine.credentials.overview(source))
    if json:
        show_json(found)
        return
    rows = [(str(c.id), c.source, c.label, c.weight, c.state, _until(c), _why(c), c.calls) for c in found]
    columns = ("id", "source", "label", "weight", "state", "until (UTC)", "why", "calls")
    show_rows(columns, rows, empty="no credentials yet; add one with: beat credentials add SOURCE")


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


@app.command(name="rotate-keys")
def rotate_keys() -> None:
    """Seal every secret again with the first key of BEAT_VAULT_KEYS. Calls go on meanwhile; then the old keys can go."""
    rotated = run(lambda session: session.engine.credentials.rotate_keys())
    say(f"{rotated} credentials sealed with the first key of the ring")


def _change(credential: int, change: Callable[[Session], Awaitable[None]], done: str) -> None:
    async def work(session: Session) -> None:
        await change(session)
        found = [c.platform for c in await session.engine.credentials.overview() if c.id == credential]
        for platform in found:
            await session.ring(platform)

    run(work)
    say(f"credential {credential} {done}")


def _why(credential: CredentialInfo) -> str | None:
    if credential.state in ("cooling", "probing", "dead"):
        return credential.dead_reason or credential.disabled_reason
    return None


def _read_secret(fields: tuple[str, ...]) -> dict[str, str]:
    if sys.stdin.isatty():
        return {name: getpass.getpass(f"{name}: ") for name in fields}
    text = sys.stdin.read(65_536).strip()
    try:
        given: Any = json_module.loads(text)
    except ValueError:
        given = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise BadInput(f"give the fields {', '.join(fields)} as a JSON object of texts, or as NAME=VALUE lines")
    return given


def _until(credential: CredentialInfo) -> str | None:
    till = credential.disabled_till
    return f"{till:%m-%d %H:%M:%S}" if till is not None and credential.state in ("cooling", "probing") else None
