"""Where a RabbitMQ is and how it is used, from the URL of a place: amqp://USER:PASSWORD@HOST:PORT/VHOST?exchange=beat.dx&heartbeat=10

The URL of a cluster names its nodes with commas: amqp://USER:PASSWORD@HOST:PORT,HOST:PORT/VHOST. All have the same login and options.

`amqps` is TLS, with the certificates of the system or those of `cafile`. `certfile` and `keyfile` are Beat's own certificate, for a server that asks
for one.
"""

import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

from beat_actors.errors import BadSettings
from beat_actors.events.sink import Place
from beat_actors.events.sinks.options import Options

EXCHANGE = "beat.dx"
NAME = r"(?!amq\.)[A-Za-z0-9._:-]{1,127}"
HEARTBEAT, LEAST_HEARTBEAT, MOST_HEARTBEAT = 10, 2, 300
"""Seconds. A dead connection is noticed after two heartbeats."""
PORTS = {"amqp": 5672, "amqps": 5671}
OF_TLS = ("cafile", "certfile", "keyfile")
MOST_NODES = 9
MOST_VHOST = 127
"""Bytes of the name of a virtual host."""


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


def addresses(place: Place) -> tuple[Address, ...]:
    """The nodes that the URL of `place` names, at least one, in its order. Raises `BadSettings` as `address` does."""
    scheme, separator, rest = place.url.partition("://")
    network = rest.partition("?")[0].partition("/")[0]
    login, at, hosts = network.rpartition("@")
    names = hosts.split(",")
    if len(names) == 1:
        return (address(place),)
    if len(names) > MOST_NODES or not all(names) or len(set(names)) < len(names):
        raise BadSettings(f"the URL has to name at most {MOST_NODES} different nodes, as in amqp://HOST:PORT,HOST:PORT")
    tail = rest.removeprefix(network)
    return tuple(address(replace(place, url=f"{scheme}{separator}{login}{at}{name}{tail}")) for name in names)


def address(place: Place) -> Address:
    """Where `place` is. Raises `BadSettings`, without the URL, for one that cannot be used; reads the files of certificates that are named."""
    if "@" in place.url.partition("?")[2] or "#" in place.url:
        # A password with a question mark or a hash that was not encoded: what was taken for the host and the options is a part of it.
        raise BadSettings("the URL cannot be read: percent-encode the special characters of the login")
    secure = place.url.lower().startswith("amqps:")
    options = Options(place, ("exchange", "heartbeat", *(OF_TLS if secure else ())))
    parts = options.parts
    if parts.scheme not in PORTS or not parts.hostname:
        raise BadSettings("the URL names no host: it has to be amqp://HOST or amqps://HOST")
    vhost = unquote(parts.path.removeprefix("/")) or "/"
    if len(vhost.encode()) > MOST_VHOST:
        raise BadSettings(f"the name of the virtual host has more than {MOST_VHOST} bytes")
    return Address(
        host=parts.hostname,
        port=parts.port or PORTS[parts.scheme],
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or ("" if parts.username else "guest")),
        vhost=vhost,
        exchange=options.text("exchange", EXCHANGE, pattern=NAME),
        heartbeat=options.number("heartbeat", HEARTBEAT, least=LEAST_HEARTBEAT, most=MOST_HEARTBEAT),
        tls=_tls(place) if secure else None,
    )


def _tls(place: Place) -> ssl.SSLContext:
    """Raises `BadSettings` for files that are missing or hold something else."""
    named = {name: place.options[name] for name in OF_TLS if name in place.options}
    for name, path in named.items():
        if not Path(path).is_file():
            raise BadSettings(f"the file of the option {name!r} does not exist")
    if "keyfile" in named and "certfile" not in named:
        raise BadSettings("the option 'keyfile' needs 'certfile'")
    try:
        context = ssl.create_default_context(cafile=named.get("cafile"))
        if "certfile" in named:
            context.load_cert_chain(named["certfile"], named.get("keyfile"))
    except (ssl.SSLError, OSError):
        raise BadSettings(f"the files of {', '.join(named)} are no certificates and key in PEM") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
