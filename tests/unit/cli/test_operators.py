"""Both ways of a command take and return the same, so that no command has to know which one it has."""

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

from beat_actors.cli import operators, scrape

GROUPS = [
    importlib.import_module(f"{operators.__name__}.{module.name}")
    for module in pkgutil.iter_modules(operators.__path__)
]


def methods(kind: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(found) for name, found in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"
    }


@pytest.mark.parametrize("group", [*GROUPS, scrape], ids=lambda group: group.__name__.rpartition(".")[2])
def test_what_can_be_done_here_can_be_done_over_the_api(group: ModuleType) -> None:
    here, there = methods(group.Here), methods(group.There)
    assert here
    assert here == there
