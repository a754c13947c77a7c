"""How a person logs in at a provider (OAuth 2.0, with a code that the browser brings back), and what the login's answers hold."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from beat_actors.errors import BeatError
from beat_actors.platforms.calls import Answer, Call

Known = Mapping[str, str]
"""What is known in the course of a login: what the person gave, `redirect_uri`, `state`, `challenge` and `verifier` (PKCE), then `code`, and what
the steps have added."""
NAMED = re.compile(r"[A-Za-z0-9_. -]{1,80}")


class LoginRefused(BeatError):
    """The provider did not give a token, or the person said no."""

    code = "login_refused"


@dataclass(frozen=True, slots=True)
class LoginStep:
    """A call, and what its answer adds to what is known. `read` raises `LoginRefused`, in no words of the answer's but codes."""

    build: Callable[[Known], Call]
    read: Callable[[Answer, Known], Known]


@dataclass(frozen=True, slots=True)
class Login:
    """`asks`: what the person gives first, as the id and the secret of an application. `optional`: what the person may give besides.
    `authorize`: the page that the browser opens. `secret`: what of the known in the end makes the credential's secret. `scopes`: for people."""

    asks: tuple[str, ...]
    authorize: Callable[[Known], str]
    steps: tuple[LoginStep, ...]
    secret: tuple[str, ...]
    scopes: tuple[str, ...]
    optional: tuple[str, ...] = ()


def granted(answer: Answer) -> Mapping[str, object]:
    """The fields of a good answer. Raises `LoginRefused`."""
    try:
        body = json.loads(answer.body)
    except ValueError:
        body = None
    if not isinstance(body, dict) or not 200 <= answer.status < 300 or "error" in body:
        said = _code(body.get("error")) if isinstance(body, dict) else ""
        raise LoginRefused(f"the provider refuses the login: HTTP {answer.status}{f', {said}' if said else ''}")
    return body


def text_of(body: Mapping[str, object], name: str) -> str:
    """A field that is text and not empty. Raises `LoginRefused`."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise LoginRefused(f"the provider's answer to the login has no {name}")
    return value


def _code(error: object) -> str:
    """What names the error: OAuth's word, or the type and code of the Graph API."""
    if isinstance(error, dict):
        error = " ".join(str(error[name]) for name in ("type", "code") if name in error)
    return error if isinstance(error, str) and NAMED.fullmatch(error) else ""
