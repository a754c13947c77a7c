"""Which recording answers which operation of which source, and what must be read from it: a module for each platform.

A module is named after its platform and has `GOOD` (recordings that are read whole), `MISSING` (answers of 200 that say that there
is no such thing), `REFUSALS` (recorded errors) `READ_ELSEWHERE` (what other tests read), `PARAMS` (a value for
each parameter of the operations and flows), `PUBLIC_FIELDS` (fields of a credential that are no secrets, with a value that fits), and
where it applies `there` (what its simulated providers have of somebody, beside the handle and the number: parameters of an operation, fields of a
credential; a `None` takes one away), `NAMES_BESIDES` (keys that name a record and are no ids), `EMPTY` (source, operation and a body that looks like nothing and says that there is nothing) and `RENEWED` (by source,
what a refresh answers).
"""

import json
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import msgspec

from beat_actors.platforms.interface import Answer, Outcome
from tests.conftest import FIXTURES


@dataclass(frozen=True)
class Recording:
    """`wrap` turns a recording of Instagram's own answer into the envelope in which the provider passes it on."""

    path: str
    source: str
    operation: str
    params: dict[str, Any]
    records: int
    cursor: str | None = None
    wrap: Any = None

    def body(self) -> bytes:
        raw = (FIXTURES / self.path).read_bytes()
        return raw if self.wrap is None else msgspec.json.encode(self.wrap(msgspec.json.decode(raw)))


@dataclass(frozen=True)
class Refusal:
    """`status` where the recording has none of its own."""

    path: str
    source: str
    outcome: Outcome
    retry_after: float | None = None
    status: int = 400

    def answer(self) -> Answer:
        meta = FIXTURES / self.path.replace(".json", ".meta.json")
        said = json.loads(meta.read_text()) if meta.exists() else {"status": self.status, "headers": {}}
        return Answer(said["status"] or self.status, said["headers"], (FIXTURES / self.path).read_bytes())


def of_platforms() -> Iterator[tuple[str, ModuleType]]:
    """Each platform's name and its recordings."""
    for found in pkgutil.iter_modules(__path__, f"{__name__}."):
        yield found.name.rpartition(".")[2], import_module(found.name)
