"""What a provider's double declares. Adding one is a module that ends in such an object; a platform may bring its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from beat_actors.simulator.population import Population

ENCODE = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `calls` in any window of `seconds` for one credential, counted exactly."""

    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a double sees it: its path below the provider's prefix, and the operation that it means."""

    operation: str
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProviderDouble:
    """`read` gives `None` for an unknown path. `refuse(kind, retry_after)` words: unauthorized, rate_limited, quota, missing, private, unknown_path."""

    name: str
    quotas: tuple[Quota, ...]
    credential: Callable[[web.Request], str | None]
    read: Callable[[str, web.Request], Asked | None]
    answer: Callable[[Population, Asked, int], Reply]
    refuse: Callable[[str, float | None], Reply]
    headers: Callable[[int, int], Mapping[str, str]]
    """(calls of the credential so far, calls allowed) -> the headers that every answer carries."""


def reply(status: int, payload: Any, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, ENCODE(payload), headers or {})
