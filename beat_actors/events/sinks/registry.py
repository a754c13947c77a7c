"""The installed sinks, by the scheme of their URLs. Each is a class named by an entry point of the group `beat.sinks`, of this distribution or of another.

A class is loaded when a place needs it. So a distribution whose sink cannot be imported harms the places of its own scheme and no others.
"""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from beat_actors.errors import BadSettings
from beat_actors.events.sink import Place, Sink
from beat_actors.logins import said

GROUP = "beat.sinks"
METHODS = ("open", "publish", "trouble", "close")


@cache
def schemes() -> Mapping[str, tuple[EntryPoint, ...]]:
    """The entry points of each scheme, in order of the schemes. A scheme of two distributions has two, and `sink_class` refuses it."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        if entry not in found.get(entry.name, ()):
            found[entry.name] = (*found.get(entry.name, ()), entry)
    return MappingProxyType(found)


def scheme(url: str) -> str:
    """The scheme of a URL in lower case: `redis` of `redis:` and of `redis://host`."""
    return url.partition(":")[0].lower()


def sink_class(name: str) -> type[Sink]:
    """The class of a scheme. Raises `BadSettings`, with the schemes that exist, for one that no distribution has, and for a class that is unusable."""
    entries = schemes().get(name, ())
    if not entries:
        raise BadSettings(f"there is no sink for URLs that begin with {name!r}; there is: {', '.join(schemes())}")
    if len(entries) > 1:
        raise BadSettings(f"the sink {name!r} is in several distributions: {', '.join(map(_origin, entries))}")
    try:
        loaded: object = entries[0].load()
    except Exception as error:  # whatever a module of somebody else raises when it is imported
        raise BadSettings(f"the sink {name!r} of {_origin(entries[0])} cannot be loaded: {_kind(error)}") from error
    missing = [method for method in METHODS if not callable(getattr(loaded, method, None))]
    if not isinstance(loaded, type) or missing or not isinstance(getattr(loaded, "in_order", None), bool):
        lacks = ", ".join([*missing, *([] if hasattr(loaded, "in_order") else ["in_order"])]) or "a class"
        raise BadSettings(f"the sink {name!r} of {_origin(entries[0])} is no sink: it lacks {lacks}")
    return loaded


def make_sink(place: Place) -> Sink:
    """The sink of a place. Does no I/O. Raises `BadSettings` for a URL or options that cannot be used, whatever the sink's class raises."""
    found = sink_class(scheme(place.url))
    try:
        return found(place)
    except BadSettings as error:
        raise BadSettings(f"the sink {place.name!r}: {error}") from None
    except Exception as error:  # whatever a class of somebody else raises
        raise BadSettings(f"the sink {place.name!r} cannot be made: {_kind(error)}") from error


def _origin(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.value


def _kind(error: Exception) -> str:
    return f"{type(error).__name__}: {said(error)}"
