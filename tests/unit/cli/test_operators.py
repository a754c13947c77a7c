"""Both ways of a command take and return the same, so that no command has to know which one it has."""

import importlib
import inspect
import pkgutil

import pytest

from beat_actors.cli import operators
from beat_actors.cli.operators import here

GROUPS = [module.name for module in pkgutil.iter_modules(operators.__path__) if not module.ispkg]


def methods(kind: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(found) for name, found in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"
    }


@pytest.mark.parametrize("group", GROUPS)
def test_what_can_be_done_here_can_be_done_over_the_api(group: str) -> None:
    over_the_api = methods(importlib.import_module(f"{operators.__name__}.{group}").There)
    assert over_the_api
    assert over_the_api == methods(importlib.import_module(f"{here.__name__}.{group}").Here)
