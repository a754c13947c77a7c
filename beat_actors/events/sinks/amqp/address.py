"""Where a RabbitMQ is and how it is used, from a URL: amqp://USER:PASSWORD@HOST:PORT/VHOST?exchange=beat.dx&heartbeat=10

`amqps` is TLS, with the certificates of the system or those of `cafile`. `certfile` and `keyfile` are Beat's own certificate, for a server that asks
for one.
"""

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from beat_actors.errors import BadSettings
from beat_actors.events.sink import Place

EXCHANGE = "beat.dx"
HEARTBEAT = 10
"""Seconds. A dead connection is noticed after two of them."""
HEARTBEATS = range(2, 301)
PORTS = {"amqp": 5672, "amqps": 5671}
OF_TLS = frozenset({"cafile", "certfile", "keyfile"})
OPTIONS = frozenset({"exchange", "heartbeat"}) | OF_TLS
NAME = re.compile(r"(?!amq\.)[A-Za-z0-9._:-]{1,127}")
MOST_VHOST = 127


@dataclass(frozen=True, slots=True)
class Address:
    """`tls`: None for a connection without. `heartbeat`: seconds."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    vhost: str
    exchange: str
    heartbeat: int
    tls: ssl.SSLContext | None

    @property
    def name(self) -> str:
        """For messages to operators: without the login."""
        return f"{self.host}:{self.port}"


def address(place: Place) -> Address:
    """Where `place` is. Raises `BadSettings`, without the URL, for one that cannot be used; reads the files of certificates that are named."""
    try:
        parts = urlsplit(place.url)
        host, port = parts.hostname, parts.port
        asked = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise _bad(place, "its URL cannot be read") from None
    if "@" in parts.query or parts.fragment:
        # A password with a question mark or a hash that was not encoded. What was taken for an option may be a part of it.
        raise _bad(place, "its URL cannot be read: percent-encode what is special in its login, and use no fragment")
    if parts.scheme not in PORTS or not host:
        raise _bad(place, "its URL has to be amqp://HOST or amqps://HOST")
    options = {**asked, **place.options}
    if unknown := sorted(options.keys() - OPTIONS):
        raise _bad(place, f"there is no option {', '.join(unknown)}; there are {', '.join(sorted(OPTIONS))}")
    if parts.scheme == "amqp" and (needless := sorted(options.keys() & OF_TLS)):
        raise _bad(place, f"{', '.join(needless)} need amqps://")
    exchange = options.get("exchange", EXCHANGE)
    vhost = unquote(parts.path.removeprefix("/")) or "/"
    if NAME.fullmatch(exchange) is None:
        raise _bad(place, "`exchange` is 1 to 127 letters, digits and `._:-`, and does not begin with `amq.`")
    if len(vhost.encode()) > MOST_VHOST:
        raise _bad(place, f"the name of its virtual host has more than {MOST_VHOST} bytes")
    return Address(
        host=host,
        port=port or PORTS[parts.scheme],
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or ("" if parts.username else "guest")),
        vhost=vhost,
        exchange=exchange,
        heartbeat=_heartbeat(place, options.get("heartbeat")),
        tls=_tls(place, options) if parts.scheme == "amqps" else None,
    )


def _heartbeat(place: Place, text: str | None) -> int:
    if text is None:
        return HEARTBEAT
    if not text.isascii() or not text.isdigit() or int(text) not in HEARTBEATS:
        raise _bad(place, f"`heartbeat` is {HEARTBEATS.start} to {HEARTBEATS.stop - 1} seconds")
    return int(text)


def _tls(place: Place, options: dict[str, str]) -> ssl.SSLContext:
    for name in sorted(options.keys() & OF_TLS):
        if not Path(options[name]).is_file():
            raise _bad(place, f"the file of `{name}` does not exist")
    if "keyfile" in options and "certfile" not in options:
        raise _bad(place, "`keyfile` needs `certfile`")
    try:
        context = ssl.create_default_context(cafile=options.get("cafile"))
        if "certfile" in options:
            context.load_cert_chain(options["certfile"], options.get("keyfile"))
    except (ssl.SSLError, OSError):
        raise _bad(
            place, "the files of `cafile`, `certfile` and `keyfile` are no certificates and key in PEM"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _bad(place: Place, reason: str) -> BadSettings:
    return BadSettings(f"The sink {place.name!r} cannot be used: {reason}.")
