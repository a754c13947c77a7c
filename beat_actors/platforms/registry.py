"""The installed platforms. Each is found by an entry point of the group `beat.platforms`, of this distribution or of another one."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from beat_actors.errors import UnknownName, UnknownPlatform
from beat_actors.platforms.interface import Platform, Source

GROUP = "beat.platforms"


@cache
def _entries() -> Mapping[str, EntryPoint]:
    """The entry points by name. Nothing of a platform is loaded."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)}


@cache
def _loaded(name: str) -> Platform:
    declared = _entries()[name].load()
    if not isinstance(declared, Platform):
        raise TypeError(f"entry point {GROUP}:{name} is not a Platform but {type(declared).__name__}")
    if declared.name != name:
        raise ValueError(f"entry point {GROUP}:{name} declares a platform named {declared.name!r}")
    return declared


@cache
def platforms() -> Mapping[str, Platform]:
    return {name: _loaded(name) for name in _entries()}


def platform(name: str) -> Platform:
    """Loads this one alone, where they are not all loaded: a command for one platform starts sooner. Raises `UnknownPlatform` with the names that
    exist."""
    if platforms.cache_info().currsize == 0 and name in _entries():
        return _loaded(name)
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


def platform_of(source: str) -> str | None:
    """The platform that a source belongs to, `None` where no installed platform has it."""
    return next((declared.name for declared in platforms().values() if source in declared.sources), None)
