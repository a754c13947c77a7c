"""The setting of the places that events are published to (BEAT_EVENT_SINKS)."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import NoDecode

from beat_actors.json_setting import from_json


class EventSink(BaseModel, frozen=True, extra="forbid"):
    """A place that events are published to.

    `types`: types, beginnings that end in `.*`, or `*`. `accounts`: events of these accounts alone. `order`: `wait`: when an event is set aside, later
    ones of its subject wait behind it; `follow`: they are sent. `begin`: where a new sink begins in the log.
    """

    url: SecretStr
    types: list[str] = Field(default=["*"], min_length=1)
    accounts: list[str] | None = None
    structured: bool = False
    order: Literal["wait", "follow"] = "wait"
    begin: Literal["now", "start"] = "now"


EventSinks = Annotated[
    dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")], EventSink],
    NoDecode,
    from_json("it must be JSON: {NAME: {url, types, accounts, structured, order, begin}}"),
]
"""The type of the setting: sinks by name."""
