"""What commands ask of Beat. Each module has one group of questions as a class `There`, which asks the API that BEAT_API_URL (or `--url`) names.
The module of the same name in `here` has the class `Here` with the same methods, which asks the database of the installation that the BEAT_*
variables name, and is loaded only for that.

Both take and return the same, which a test holds them to, so a command does not know which it has.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote

from beat_actors.errors import BadSettings

if TYPE_CHECKING:
    from beat_actors.client import Client


class There:
    def __init__(self, client: "Client") -> None:
        self.client = client


W = TypeVar("W", bound=There)
T = TypeVar("T")

TRIED_FOR = 5.0
"""Seconds for which a call that only reads is tried again."""


def is_remote() -> bool:
    return bool(os.environ.get("BEAT_API_URL"))


def ask(group: type[W], work: Callable[[W], Awaitable[T]]) -> T:
    """Do it over the API of the Beat that is named, else here. `group`: the class `There` of one of these modules; `work` is given one of it,
    or of the class `Here` that matches it. Raises `BadSettings` where the API is named and no key for it."""
    if is_remote():
        return asyncio.run(_over_api(group, work))
    from beat_actors.cli.session import run

    name = group.__module__.rpartition(".")[2]
    here = import_module(f"{__name__}.here.{name}").Here
    return run(lambda session: work(cast(W, here(session))))


async def _over_api(group: type[W], work: Callable[[W], Awaitable[T]]) -> T:
    from beat_actors.client import Client

    url, key = os.environ["BEAT_API_URL"], os.environ.get("BEAT_API_KEY")
    if not key:
        raise BadSettings(
            f"BEAT_API_URL names {url}, and BEAT_API_KEY is not set. Make a key there: `beat keys create NAME --scope operate`"
        )
    async with Client(url, key, patience=TRIED_FOR) as client:
        return await work(group(client))


def named(**fields: Any) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def segment(text: object) -> str:
    """A part of a path."""
    return quote(str(text), safe="")
