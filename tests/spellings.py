"""Thirty ways in which an answer can spell a secret, and a comparison that knows them all; shared by the fuzzed and the whole tests."""

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

Spell = Callable[[str], str]


def _each(form: str) -> Spell:
    return lambda secret: "".join(form.format(ord(c)) for c in secret)


def _encoded(secret: str, *, before: str = "", safe: bool = False) -> str:
    encode = base64.urlsafe_b64encode if safe else base64.b64encode
    return encode(f"{before}{secret}".encode()).decode()


def _lower_escapes(secret: str) -> str:
    parts = quote(secret, safe="").split("%")
    return parts[0] + "".join("%" + part[:2].lower() + part[2:] for part in parts[1:])


def _mixed(secret: str) -> str:
    """Every third character escaped, each in another way."""
    forms = ("%{:02x}", "\\u00{:02X}", "&#{};")
    return "".join(forms[at // 3 % 3].format(ord(c)) if at % 3 == 0 else c for at, c in enumerate(secret))


SPELLINGS: dict[str, Spell] = {
    "plain": lambda secret: secret,
    "percent": lambda secret: quote(secret, safe=""),
    "percent, lower": _lower_escapes,
    "percent, plus": quote_plus,
    "percent twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "percent, every character": _each("%{:02X}"),
    "percent twice, every character": _each("%25{:02x}"),
    "JSON": lambda secret: json.dumps(secret)[1:-1],
    "JSON, slashes": lambda secret: secret.replace("/", "\\/"),
    "JSON, every character": _each("\\u00{:02x}"),
    "JSON twice": _each("\\\\u00{:02X}"),
    "HTML": lambda secret: html.escape(secret),
    "HTML, decimal": _each("&#{};"),
    "HTML, hexadecimal": _each("&#x{:x};"),
    "HTML twice": _each("&amp;#{};"),
    "base64": _encoded,
    "base64, URL": lambda secret: _encoded(secret, safe=True).rstrip("="),
    "base64 of user:key": lambda secret: _encoded(secret, before="user:"),
    "base64, second alignment": lambda secret: _encoded(secret, before="a"),
    "base64, third alignment": lambda secret: _encoded(secret, before="ab"),
    "base64 in lines": lambda secret: "\n".join(_encoded(secret)[at : at + 8] for at in range(0, len(secret) * 4 // 3 + 4, 8)),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "hexadecimal, upper": lambda secret: secret.encode().hex().upper(),
    "hexadecimal, divided": lambda secret: secret.encode().hex(":"),
    "lower case": str.lower,
    "upper case": str.upper,
    "spaced": lambda secret: " ".join(secret),
    "divided": lambda secret: "-".join(secret),
    "backwards": lambda secret: secret[::-1],
    "cut": lambda secret: secret[: max(20, len(secret) * 2 // 3)],
    "the end alone": lambda secret: secret[-max(20, len(secret) * 2 // 3) :],
    "mixed": _mixed,
}  # fmt: skip
