"""Where a webhook may go: public addresses alone, judged by the address that the connection is really made to.

A name is not judged by what it resolves to beforehand, since it may resolve to something else a moment later.
"""

import ipaddress
from urllib.parse import urlsplit

from beat_actors.errors import BadInput
from beat_actors.text import check_text

LONGEST = 2000
PORTS = frozenset({80, 443})
# IANA's registries of special-purpose addresses. Python's `is_global` depends on its version, and calls some of these global.
SPECIAL_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
# All that is not in 2000::/3 is local, of one protocol, or not assigned: IPv4-translated addresses, NAT64 and SRv6 among them.
UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
# Within it: IETF protocols with Teredo and ORCHID, documentation, 6to4, AS112, documentation again.
SPECIAL_V6 = tuple(
    ipaddress.IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)


class PrivateAddress(OSError):
    """The address is not a public one."""


def is_public(text: str) -> bool:
    """Whether it is an address that the whole internet reaches, and no way to another one. Raises `ValueError` for a name."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if isinstance(address, ipaddress.IPv4Address):
        special = any(address in network for network in SPECIAL_V4)
    else:
        special = address not in UNICAST_V6 or any(address in network for network in SPECIAL_V6)
    return address.is_global and not special


def check_address(host: str, port: int) -> None:
    """Raises `PrivateAddress` for an address, as a connection is made to it, that webhooks do not go to."""
    if not is_public(host) or port not in PORTS:
        raise PrivateAddress("the address is not public, or the port is not one of the web's")


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
        wider = "" if allow_private else "; BEAT_WEBHOOK_ALLOW_PRIVATE=true also allows http and private addresses"
        raise BadInput(
            f"url must be an {' or '.join(schemes)} URL with a host, such as https://example.com/hooks{wider}",
            field="url",
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
