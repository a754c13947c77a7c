"""A server for each of Beat's sinks, as the conformance suite wants it (`events/sinks/conformance`).

A module is named after the scheme of a URL, and has `stands(folder)`: a context manager over a running server. It gives a function that returns a
`Stand` with a place of its own each time.
"""

import importlib
import pkgutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from beat_actors.events.sinks.conformance import Stand

Stands = Callable[[Path], AbstractContextManager[Callable[[], Stand]]]
HELPERS = {"processes"}


def schemes() -> set[str]:
    """Those that have a stand."""
    return {found.name for found in pkgutil.iter_modules(__path__)} - HELPERS


def stands_of(scheme: str) -> Stands:
    """Raises `ModuleNotFoundError` where there is none."""
    found: Stands = importlib.import_module(f"{__name__}.{scheme}").stands
    return found
