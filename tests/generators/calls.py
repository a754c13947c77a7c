"""Calls every operation of a generated client once, and prints a line of JSON for each: the operation, the status, the type of the answer.

Run by the Python of the generators' environment: `calls.py DIRECTORY ADDRESS KEY EXAMPLES`. EXAMPLES is JSON with `parameters` and `schemas`.
"""

import importlib
import inspect
import json
import pkgutil
import sys
import typing
from typing import Any


def main(directory: str, address: str, key: str, examples: str) -> None:
    sys.path.insert(0, directory)
    package = importlib.import_module("beat_client")
    client = package.AuthenticatedClient(address, token=key, raise_on_unexpected_status=True)
    said = json.loads(examples)
    apis = importlib.import_module("beat_client.api")
    names = [module.name for module in pkgutil.walk_packages(apis.__path__, "beat_client.api.") if not module.ispkg]
    # What creates comes first, and what deletes last, so that the others find something.
    order = ["create", "list", "get", "explain", "update", "test"]
    names.sort(key=lambda name: next((i for i, verb in enumerate(order) if f".{verb}_" in name), len(order)))
    for name in names:
        operation = importlib.import_module(name)
        answer = operation.sync_detailed(client=client, **arguments(operation.sync_detailed, said))
        print(json.dumps([name.rpartition(".")[2], int(answer.status_code), type(answer.parsed).__name__]))


def arguments(call: Any, said: dict[str, Any]) -> dict[str, Any]:
    """The examples of what the call needs, and its body."""
    kinds = typing.get_type_hints(call, vars(sys.modules[call.__module__]))
    found = {}
    for name, parameter in inspect.signature(call).parameters.items():
        if name == "body":
            found[name] = body(kinds[name], said["schemas"])
        elif name != "client" and parameter.default is inspect.Parameter.empty:
            found[name] = said["parameters"][name]
    return found


def body(kind: Any, schemas: dict[str, Any]) -> Any:
    models = [each for each in typing.get_args(kind) or [kind] if each.__name__ in schemas]
    return models[0].from_dict(schemas[models[0].__name__])


if __name__ == "__main__":
    main(*sys.argv[1:])
