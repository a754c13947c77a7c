"""A person's login at a provider: the page for the browser, the code that it brings back, and the calls that make a secret of it.

Nothing of a login is stored. Its calls leave as all calls of the source do; they are made for no credential, so none is charged.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from beat_actors.errors import BadInput
from beat_actors.platforms.interface import Login, Source
from beat_actors.platforms.logins import LoginRefused
from beat_actors.transport.http import ProviderClient


def begin(login: Login, given: Mapping[str, str], redirect_uri: str) -> dict[str, str]:
    """What is known at the beginning. Raises `BadInput` where something that the login asks for is missing, or is not asked for."""
    missing = [name for name in login.asks if not given.get(name)]
    unknown = sorted(given.keys() - set(login.asks) - set(login.optional))
    if missing or unknown:
        besides = f", and may have {', '.join(login.optional)}" if login.optional else ""
        raise BadInput(
            f"this login needs the fields {', '.join(login.asks)}{besides}, none of them empty", field="secret"
        )
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    return {
        **given,
        "redirect_uri": redirect_uri,
        "state": secrets.token_urlsafe(24),
        "verifier": verifier,
        "challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
    }


def code_of(address: str, known: Mapping[str, str]) -> str:
    """The code in the address to which the provider sent the browser.

    Raises `LoginRefused` where it has none, or one that answers another login than this.
    """
    query = parse_qs(urlsplit(address.strip()).query)
    if query.get("state") != [known["state"]]:
        raise LoginRefused("the address belongs to another login than this one, so its code is not used; begin again")
    code = query.get("code", [""])[0]
    if not code:
        raise LoginRefused("the provider gave no code: access was denied, or the login was broken off")
    return code


async def finish(
    client: ProviderClient, source: Source, login: Login, known: Mapping[str, str], code: str
) -> dict[str, str]:
    """Make a secret of the code. Raises `LoginRefused`."""
    now = {**known, "code": code}
    for step in login.steps:
        call = step.build(now)
        async with client.slot(source, call):
            exchange = await client.exchange(source, call)
        if exchange.answer is None:
            said = exchange.failure.detail if exchange.failure is not None else "no answer"
            raise LoginRefused(f"{source.name} gave no answer to the login: {said}")
        now |= step.read(exchange.answer, now)
    return {name: now[name] for name in login.secret}
