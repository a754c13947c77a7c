"""Commands that speak to a Beat elsewhere, over its API: where BEAT_API_URL (or `--url`) names one."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from beat_actors.cli.session import Session, run
from beat_actors.client import Client
from beat_actors.errors import BadSettings

T = TypeVar("T")


def is_remote() -> bool:
    return bool(os.environ.get("BEAT_API_URL"))


def either(here: Callable[[Session], Awaitable[T]], there: Callable[[Client], Awaitable[T]]) -> T:
    """Do it over the API of the Beat that is named, else here, over the database. Raises `BadSettings` where there is no key for it."""
    if not is_remote():
        return run(here)
    key = os.environ.get("BEAT_API_KEY")
    if not key:
        raise BadSettings(
            "BEAT_API_KEY is not set; `beat keys create NAME --scope submit --scope urgent --scope read` makes one there"
        )

    async def inside() -> T:
        async with Client(os.environ["BEAT_API_URL"], key, patience=5.0) as client:
            return await there(client)

    return asyncio.run(inside())
