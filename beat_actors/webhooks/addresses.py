"""Where a webhook may go: public addresses alone, judged by the address that the connection is really made to.

A name is not judged by what it resolves to beforehand, since it may resolve to something else a moment later.
"""

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit

from beat_actors.errors import BadInput
from beat_actors.text import check_text

LONGEST = 2000
PORTS = frozenset({80, 443})
# They carry an IPv4 address, or are of one site: a gateway may lead to what is behind it, whatever Python says of them.
LEAD_ELSEWHERE = tuple(
    ipaddress.IPv6Network(text)
    for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", "fec0::/10")
)


class PrivateAddress(OSError):
    """The address is not a public one."""


def is_public(text: str) -> bool:
    """Whether it is an address that the whole internet reaches, and no way to another one."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif any(address in network for network in LEAD_ELSEWHERE):
            return False
    return address.is_global and not address.is_multicast


def public_socket(info: tuple[Any, ...]) -> socket.socket:
    """A socket for this entry of `getaddrinfo`. Raises `PrivateAddress`; names and literal addresses both come by here."""
    family, kind, protocol, _, address = info
    if not is_public(str(address[0])) or address[1] not in PORTS:
        raise PrivateAddress("the address is not public, or the port is not one of the web's")
    return socket.socket(family, kind, protocol)


def check_url(url: str, *, allow_private: bool) -> None:
    """Raises `BadInput` for what cannot be an endpoint."""
    check_text(url, "url", longest=LONGEST, one_line=True)
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or 0 < parts.port < 65536
    except ValueError:
        raise BadInput("url is not a URL; give one such as https://example.com/hooks", field="url") from None
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes or not parts.hostname or not port_fits or " " in url:
        raise BadInput(
            f"url has to be an {' or '.join(schemes)} URL with a host, such as https://example.com/hooks", field="url"
        )
    if parts.port not in (None, *PORTS) and not allow_private:
        raise BadInput(
            f"url names the port {parts.port}; the web's are 443 and 80, and BEAT_WEBHOOK_ALLOW_PRIVATE allows others",
            field="url",
        )
    if parts.username is not None or parts.fragment:
        raise BadInput("url cannot hold a user, a password or a fragment; the signature says who calls", field="url")
    try:
        literal = is_public(parts.hostname)
    except ValueError:  # a name; it is judged when it is connected to
        literal = True
    if not literal and not allow_private:
        raise BadInput(
            "url names an address that is not public; give a public one, or set BEAT_WEBHOOK_ALLOW_PRIVATE where all "
            "who may add endpoints may also reach the network that Beat runs in",
            field="url",
        )
