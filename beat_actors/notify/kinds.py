"""The kinds of sinks, and what defines one. Pure."""

import re
from collections.abc import Sequence
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import msgspec

from beat_actors.errors import BadInput
from beat_actors.notify.hours import check_window
from beat_actors.severities import SEVERITIES
from beat_actors.text import check_text
from beat_actors.transport.guard import WEB, literal
from beat_actors.webhooks.signing import new_secret

EMAIL, SLACK, PAGERDUTY, ALERTMANAGER, WEBHOOK = KINDS = ("email", "slack", "pagerduty", "alertmanager", "webhook")
KEEP_STATE = (PAGERDUTY, ALERTMANAGER)
"""Kinds of sinks that keep an alert open until they are told of its end: the end is sent to them also if an operator silenced the alert meanwhile."""
ALL, RULE = GROUPS = ("all", "rule")
"""`all`: one message has all alerts that changed. `rule`: one message for each rule and source, so that each can be handled on its own."""
NO_PLATFORM = "beat"
"""In a list of platforms: the alerts that are about no single platform."""
PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
REPEAT, REPEAT_STATE = 14_400, 120
"""Seconds after which open alerts are sent again. Alertmanager resolves alerts that are not sent again within minutes."""
SHORTEST_REPEAT, LONGEST_REPEAT = 60, 604_800
SMTP_PORTS = {"smtps": 465, "smtp": 587, "smtp+plain": 25}
"""The schemes of mail servers: TLS from the beginning, STARTTLS, no encryption."""
MAIL_PORTS = frozenset({25, 465, 587, 2525})
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
MOST_RECIPIENTS, MOST_PLATFORMS, LONGEST_URL, LONGEST_KEY = 20, 50, 2000, 500
_ADDRESS = re.compile(r"[^\s@<>,;:\"()\\]{1,64}@[A-Za-z0-9.-]{1,190}")


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Which alerts a sink gets, and how often. `severity`: these and more severe ones. `platforms`: `None`: all. `hours`, `days`: such as `8-18`
    and `mon-fri`, in `timezone`; `None`: always. `group_by` and `repeat` (seconds, 0: never): `None`: as the kind has it."""

    severity: str = "warning"
    platforms: list[str] | None = None
    hours: str | None = None
    days: str | None = None
    timezone: str = "UTC"
    group_by: str | None = None
    repeat: int | None = None
    resolved: bool = True


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A sink as it is given. `url` and `key` are secrets. `to`, `sender`: of e-mail."""

    kind: str
    url: str | None = None
    key: str | None = None
    to: list[str] = []
    sender: str | None = None

    def __repr__(self) -> str:
        return f"<{self.kind} sink>"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a sink is: `secrets` are sealed, `target` may be shown."""

    target: str
    secrets: dict[str, str]

    def __repr__(self) -> str:
        return f"<address at {self.target}>"


def check_name(name: str) -> None:
    """Raises `BadInput`."""
    if not NAME.fullmatch(name):
        raise BadInput("a name has up to 63 lower-case letters, digits, - and _, such as ops-mail", field="name")


def check_route(route: Route, kind: str) -> Route:
    """The route with the defaults of the kind. Raises `BadInput`."""
    if route.severity not in SEVERITIES:
        raise BadInput(f"severity is one of {', '.join(SEVERITIES)}", field="severity")
    if route.platforms is not None:
        if not 1 <= len(route.platforms) <= MOST_PLATFORMS:
            raise BadInput(f"name 1 to {MOST_PLATFORMS} platforms, or none for all", field="platforms")
        for platform in route.platforms:
            check_text(platform, "platforms", longest=64, one_line=True)
    check_window(route.hours, route.days, route.timezone)
    group_by = route.group_by or (RULE if kind == PAGERDUTY else ALL)
    if group_by not in GROUPS:
        raise BadInput(f"group_by is one of {', '.join(GROUPS)}", field="group_by")
    repeat = (REPEAT_STATE if kind == ALERTMANAGER else REPEAT) if route.repeat is None else route.repeat
    if repeat and not SHORTEST_REPEAT <= repeat <= LONGEST_REPEAT:
        raise BadInput(f"repeat is 0 (never) or {SHORTEST_REPEAT} to {LONGEST_REPEAT} seconds", field="repeat")
    return msgspec.structs.replace(route, group_by=group_by, repeat=repeat)


def address(given: Definition, *, private: bool) -> Address:
    """Where a sink is. `private`: it may be at a private address, at any port, and take messages unencrypted. Raises `BadInput`."""
    if given.kind not in KINDS:
        raise BadInput(f"kind is one of {', '.join(KINDS)}", field="kind")
    if given.kind != EMAIL and (given.to or given.sender):
        raise BadInput("only a sink of the kind email has recipients and a sender", field="to")
    if given.key is not None:
        check_text(given.key, "key", longest=LONGEST_KEY, one_line=True)
    if given.kind == EMAIL:
        return _mail(given, private=private)
    url = given.url or (PAGERDUTY_URL if given.kind == PAGERDUTY else None)
    if url is None:
        raise BadInput(f"a sink of the kind {given.kind} needs a url", field="url")
    parts = _split(url, ("https", "http") if private else ("https",), WEB, private=private)
    if parts.username is not None and given.kind != ALERTMANAGER:
        raise BadInput("url cannot hold a user or a password", field="url")
    secrets = {"url": url}
    if given.kind == PAGERDUTY and not given.key:
        raise BadInput("a sink of the kind pagerduty needs a key: the integration key of its service", field="key")
    if given.kind == SLACK and given.key:
        raise BadInput("a sink of the kind slack has no key: its URL is the secret", field="key")
    key = given.key or (new_secret() if given.kind == WEBHOOK else None)
    if given.kind == WEBHOOK and not (key or "").startswith("whsec_"):
        raise BadInput("the key of a webhook begins with whsec_; leave it away to get a new one", field="key")
    return Address(target=_host(parts), secrets=secrets if key is None else secrets | {"key": key})


def _mail(given: Definition, *, private: bool) -> Address:
    if given.url is None or given.sender is None or not given.to:
        raise BadInput("a sink of the kind email needs a url, recipients and a sender", field="to")
    if len(given.to) > MOST_RECIPIENTS:
        raise BadInput(f"a sink has at most {MOST_RECIPIENTS} recipients", field="to")
    for one in (*given.to, given.sender):
        if not _ADDRESS.fullmatch(one):
            raise BadInput(f"{one[:80]!r} is no mail address; give one such as ops@example.com", field="to")
    if given.key:
        raise BadInput("the password of a mail server belongs into its url: smtps://user:password@host", field="key")
    schemes = tuple(SMTP_PORTS) if private else ("smtps", "smtp")
    parts = _split(given.url, schemes, MAIL_PORTS, private=private)
    if parts.path.strip("/") or parts.query:
        raise BadInput("the url of a mail server has no path", field="url")
    return Address(target=f"{parts.hostname}:{parts.port or SMTP_PORTS[parts.scheme]}", secrets={"url": given.url})


def _split(url: str, schemes: Sequence[str], ports: frozenset[int], *, private: bool) -> SplitResult:
    check_text(url, "url", longest=LONGEST_URL, one_line=True)
    example = "smtps://user:password@mail.example.com" if "smtps" in schemes else "https://example.com/hook"
    try:
        parts = urlsplit(url)
        fits = bool(parts.hostname) and parts.scheme in schemes and (parts.port is None or 0 < parts.port < 65536)
    except ValueError:
        fits = False
    if not fits or " " in url or parts.fragment:
        raise BadInput(
            f"url must be a URL with the scheme {' or '.join(schemes)} and a host, such as {example}", field="url"
        )
    if not private and ((parts.port or min(ports)) not in ports or literal(parts.hostname or "") is False):
        raise BadInput(
            "url names a private address or an unusual port. BEAT_NOTIFY_ALLOW_PRIVATE=true allows them over the API; "
            "sinks of BEAT_NOTIFY and of the command line on a host of Beat may have them",
            field="url",
        )
    return parts


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def login(url: str) -> tuple[str, tuple[str, str] | None]:
    """A URL without its user and password, and these."""
    parts = urlsplit(url)
    if parts.username is None:
        return url, None
    bare = urlunsplit(parts._replace(netloc=_host(parts)))
    return bare, (unquote(parts.username), unquote(parts.password or ""))
