"""The guard against addresses that are not public: for webhooks, and for the origins of pictures. URLs of both come from other people.

The guard judges the address that a connection is really made to (`GuardedSockets`, the `socket_factory` of a connector). A name is not judged
by what it resolves to beforehand, because it may resolve to something else a moment later. `literal` judges early what needs no resolver.
"""

import ipaddress
import socket
from collections.abc import Collection
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from beat_actors.errors import causes

if TYPE_CHECKING:  # the command line starts without the HTTP library
    from aiohttp.connector import AddrInfoType

Cause = TypeVar("Cause", bound=BaseException)
WEB = frozenset({80, 443})
"""The ports of the web."""
# IANA's registries of special-purpose addresses, as they stand in 2026. `ipaddress.is_global` is not asked: it depends on Python's patch level, and
# calls some of these global. The metadata addresses of clouds lie within, all but Azure's own endpoint, which is a public address by itself.
SPECIAL_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        *(
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",
            "169.254.0.0/16",
            "172.16.0.0/12",
        ),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
# All that is not in 2000::/3 is local, of one protocol, or not assigned: IPv4-translated addresses, NAT64 and SRv6 among them.
UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
# Within it: IETF protocols with Teredo and ORCHID, documentation, 6to4, AS112, documentation again.
SPECIAL_V6 = tuple(
    ipaddress.IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
# ISATAP: an IPv4 address stands in the last half of an address of any network, behind one of these.
ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})


class PrivateAddress(OSError):
    """The address is not a public one, or the port is not one of those that are allowed."""


@lru_cache(maxsize=4096)
def is_public(text: str) -> bool:
    """Whether it is an address that the whole internet reaches, and no way to another one. Raises `ValueError` for a name."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return (
                address in UNICAST_V6
                and not any(address in network for network in SPECIAL_V6)
                and (int(address) >> 32) & 0xFFFF_FFFF not in ISATAP
            )
        address = address.ipv4_mapped
    return not any(address in network for network in SPECIAL_V4)


@lru_cache(maxsize=4096)
def literal(host: str) -> bool | None:
    """Whether the host of a URL is a public address, in any form that a resolver reads as one; `None` for a name.

    `getaddrinfo` also reads `2130706433`, `0x7f.1` and `0177.0.0.1`, and a name may end with a dot.
    """
    bare = host.removeprefix("[").removesuffix("]").rstrip(".")
    try:
        return is_public(bare)
    except ValueError:
        pass
    try:
        return is_public(socket.inet_ntoa(socket.inet_aton(bare)))
    except (OSError, ValueError):  # a `UnicodeEncodeError` is one of the latter
        return None


def check_address(host: str, port: int, ports: Collection[int] = WEB) -> None:
    """Raises `PrivateAddress` for an address, as a connection is made to it, that other people's URLs do not lead to."""
    if not is_public(host) or port not in ports:
        raise PrivateAddress("the address is not public, or the port is not one of the web's")


class GuardedSockets:
    """A `socket_factory`: names, literal addresses and redirects all come by here, once for each address that is tried.

    `kind` is the class of the sockets. `allow_private` lets everything through.
    """

    def __init__(self, *, allow_private: bool, kind: type[socket.socket] = socket.socket) -> None:
        self._allow_private = allow_private
        self._kind = kind

    def __call__(self, info: "AddrInfoType") -> socket.socket:
        """A socket for this entry of `getaddrinfo`. Raises `PrivateAddress`."""
        family, kind, protocol, _, address = info
        if not self._allow_private:
            check_address(str(address[0]), address[1])
        return self._kind(family, kind, protocol)


def cause_of(error: BaseException, kind: type[Cause]) -> Cause | None:
    """The error of this kind among the causes of an error of aiohttp, which wraps what a socket raises."""
    return next((one for one in causes(error) if isinstance(one, kind)), None)
