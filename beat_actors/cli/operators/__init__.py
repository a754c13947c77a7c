"""What commands ask of Beat, in two ways: `Here` over the database of the installation that the BEAT_* variables name, `There` over the API
of another one, where BEAT_API_URL (or `--url`) names it.

Each module has both ways for one group of commands, side by side. They take and return the same, so a command does not know which it has.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from beat_actors.errors import BadSettings

if TYPE_CHECKING:
    from beat_actors.cli.session import Session
    from beat_actors.client import Client


class Here:
    def __init__(self, session: "Session") -> None:
        self.session = session


class There:
    def __init__(self, client: "Client") -> None:
        self.client = client


H = TypeVar("H", bound=Here)
W = TypeVar("W", bound=There)
T = TypeVar("T")

PATIENCE = 5.0
"""Seconds for which a call that only reads is tried again."""


def is_remote() -> bool:
    return bool(os.environ.get("BEAT_API_URL"))


def ask(here: type[H], there: type[W], work: Callable[[H | W], Awaitable[T]]) -> T:
    """Do it over the API of the Beat that is named, else here. Raises `BadSettings` where the API is named and no key for it."""
    if is_remote():
        return asyncio.run(_over_api(there, work))
    from beat_actors.cli.session import run

    return run(lambda session: work(here(session)))


async def _over_api(there: type[W], work: Callable[[W], Awaitable[T]]) -> T:
    from beat_actors.client import Client

    url, key = os.environ["BEAT_API_URL"], os.environ.get("BEAT_API_KEY")
    if not key:
        raise BadSettings(
            f"BEAT_API_URL names {url}, and BEAT_API_KEY is not set. Make a key there: `beat keys create NAME --scope operate`"
        )
    async with Client(url, key, patience=PATIENCE) as client:
        return await work(there(client))


def named(**fields: Any) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def segment(text: object) -> str:
    """A part of a path."""
    return quote(str(text), safe="")
