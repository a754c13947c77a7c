"""The installed platforms. Each is found by an entry point of the group `beat.platforms`, of this distribution or of another one."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points

from beat_actors.errors import UnknownName, UnknownPlatform
from beat_actors.platforms.interface import Platform, Source

GROUP = "beat.platforms"


@cache
def platforms() -> Mapping[str, Platform]:
    found: dict[str, Platform] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        declared = entry.load()
        if not isinstance(declared, Platform):
            raise TypeError(f"entry point {GROUP}:{entry.name} is not a Platform but {type(declared).__name__}")
        if declared.name != entry.name:
            raise ValueError(f"entry point {GROUP}:{entry.name} declares a platform named {declared.name!r}")
        found[declared.name] = declared
    return found


def platform(name: str) -> Platform:
    """Raises `UnknownPlatform` with the names that exist."""
    try:
        return platforms()[name]
    except KeyError:
        known = ", ".join(sorted(platforms()))
        raise UnknownPlatform(f"there is no platform {name!r}; there is: {known}", field="platform") from None


def source_named(source: str) -> tuple[str, Source]:
    """A source, and the platform that it belongs to. Raises `UnknownName` with the names that exist."""
    for declared in platforms().values():
        if source in declared.sources:
            return declared.name, declared.sources[source]
    known = sorted(name for declared in platforms().values() for name in declared.sources)
    raise UnknownName(f"there is no source {source!r}; there is: {', '.join(known)}", field="source")
