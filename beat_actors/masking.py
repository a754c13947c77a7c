"""What no line of a log contains: logins, Beat's keys and signing secrets, signatures of URLs, and the secrets that this process was given.

It works by the form of a secret and not by the name of a field, so a secret that reaches a log by an error's words or a traceback is masked as well.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, SecretStr

from beat_actors.logins import HIDDEN, without_logins

SHORTEST = 8
"""A shorter value would be found anywhere."""
_FORMS = re.compile(
    r"(?P<kept>\bbeat_[A-Za-z][0-9A-Za-z]{7}_)[0-9A-Za-z]{49}"  # keys of the API
    r"|(?P<whsec>\bwhsec_)[A-Za-z0-9+/_=-]{16,}"  # secrets that sign webhooks
    r"|(?P<param>[?&;](?:[\w-]*(?:signature|token|secret|password|api_?key|credential)|sig|key)=)[^\s&;'\"<>]+"
    r"|(?P<bearer>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{8,}",
    re.IGNORECASE,
)
_known: re.Pattern[str] | None = None


def masked(text: str) -> str:
    """The text with `***` for every secret."""
    text = _FORMS.sub(
        lambda found: next(kept for kept in found.groups() if kept is not None) + HIDDEN, without_logins(text)
    )
    return text if _known is None else _known.sub(HIDDEN, text)


def mask(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog's processor for what is about to be written: every text, also in lists and mappings; what is no value of JSON as its text."""
    for name, value in event.items():
        event[name] = _value(value)
    return event


def hide(secrets: Iterable[str]) -> None:
    """Mask these from now on, in this process; they take the place of those before."""
    global _known
    spellings = {
        spelling for secret in secrets if len(secret) >= SHORTEST for spelling in (secret, quote(secret, safe=""))
    }
    _known = re.compile("|".join(map(re.escape, sorted(spellings, key=len, reverse=True)))) if spellings else None


def secrets_of(values: Iterable[object]) -> Iterator[str]:
    """The secrets among settings: those that are declared as such, and the passwords of URLs."""
    for value in values:
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            yield text
            # A ring is `id:key,id:key`, and a secret may be a URL with a password.
            yield from (part.partition(":")[2] for part in text.split(","))
            yield from _password(text)
        elif hasattr(value, "unicode_string"):  # a URL of pydantic
            yield from _password(str(value))
        elif isinstance(value, Mapping):
            yield from secrets_of(value.values())
        elif isinstance(value, BaseModel):
            yield from secrets_of(getattr(value, name) for name in type(value).model_fields)


def _password(text: str) -> Iterator[str]:
    try:
        password = urlsplit(text).password
    except ValueError:
        return
    if password:
        yield password


def _value(value: object) -> object:
    if isinstance(value, str):
        return masked(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {masked(str(name)): _value(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_value(one) for one in value]
    return masked(str(value))
