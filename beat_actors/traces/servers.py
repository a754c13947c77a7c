"""What a span tells of the server that was called. Pure.

The URL of a call may hold a handle anywhere, also in the name of its host, which for a shop is the shop's. Only hosts that a source or the settings
declare are told whole; of others the part that they share with the declared one.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from beat_actors.platforms.registry import platforms
from beat_actors.settings import Settings
from beat_actors.traces.rows import CallRow
from beat_actors.traces.spans import SERVER_ADDRESS, SERVER_PORT, URL_SCHEME, Value

PORTS = {"https": 443, "http": 80}
LEAST_LABELS = 2


def server_of(settings: Settings, call: CallRow) -> Mapping[str, Value | None]:
    """`server.address`, `server.port` and `url.scheme` of a call, or nothing."""
    platform = platforms().get(call.platform)
    source = None if platform is None else platform.sources.get(call.source)
    if source is None:
        return {}
    route = settings.route(call.source)
    try:
        parts = urlsplit(call.url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return {}
    declared = [(urlsplit(base).hostname or "").lower() for base in (source.base_url, route.base_url) if base]
    if host not in declared:
        shared = [_shared(host, one) for one in declared]
        host = max(shared, key=len, default="")
    if not host:
        return {}
    return {SERVER_ADDRESS: host, SERVER_PORT: port or PORTS.get(parts.scheme), URL_SCHEME: parts.scheme}


def _shared(host: str, declared: str) -> str:
    """The last labels that two hosts have in common: two at least, and none of an address."""
    found: list[str] = []
    for one, other in zip(reversed(host.split(".")), reversed(declared.split(".")), strict=False):
        if one != other:
            break
        found.insert(0, one)
    is_name = len(found) >= LEAST_LABELS and not all(label.isdigit() for label in found)
    return ".".join(found) if is_name else ""
