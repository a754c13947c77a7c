"""Which simulated providers there are. A simulated provider is the name `provider` (or `providers`, a tuple) in

- a module of `beat_actors.simulator.providers`,
- the module `simulator` of a platform's own folder (`beat_actors.platforms.<platform>.simulator`), or
- whatever an entry point of the group `beat.simulators` names, for platforms of other distributions.
"""

import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from types import ModuleType

import beat_actors.platforms
import beat_actors.simulator.providers
from beat_actors.simulator.provider import SimulatedProvider

GROUP = "beat.simulators"


def simulated_providers() -> Mapping[str, SimulatedProvider]:
    """All simulated providers by name. Raises `ValueError` where two have the same name, `TypeError` where a module declares none."""
    found: dict[str, SimulatedProvider] = {}
    for place, declared in _declared():
        if not isinstance(declared, SimulatedProvider):
            raise TypeError(f"{place} declares no SimulatedProvider but {type(declared).__name__}")
        if declared.name in found:
            raise ValueError(f"{place}: there is a simulated provider named {declared.name!r} already")
        found[declared.name] = declared
    return found


def _declared() -> Iterator[tuple[str, object]]:
    for module in _modules():
        for declared in getattr(module, "providers", None) or (getattr(module, "provider", None),):
            yield module.__name__, declared
    for entry in _entries():
        yield f"{GROUP}:{entry.name}", entry.load()


@cache
def _entries() -> tuple[EntryPoint, ...]:
    """What is installed does not change while a process runs, and to ask reads a file of every distribution."""
    return tuple(entry_points(group=GROUP))


def _modules() -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(beat_actors.simulator.providers.__path__, "beat_actors.simulator.providers."):
        yield import_module(found.name)
    for found in pkgutil.iter_modules(beat_actors.platforms.__path__, "beat_actors.platforms."):
        if found.ispkg and find_spec(f"{found.name}.simulator") is not None:
            yield import_module(f"{found.name}.simulator")
