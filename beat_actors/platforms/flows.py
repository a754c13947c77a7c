"""What a platform declares of the requests that it takes: flows, and the limits on requests on demand."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from beat_actors.platforms.calls import FetchSpec, Parsed
from beat_actors.wording import explained

FollowUps = Callable[[FetchSpec, Mapping[str, Any], Parsed, int], Sequence[FetchSpec]]
"""(the fetch that was answered, the request's parameters, what the parser read, items of the request so far) -> fetches to add."""


@dataclass(frozen=True, slots=True)
class Resume:
    """A run continues where the last one ended. Beat fills in two parameters, where the request leaves them open, when it accepts the request.

    The parameter `since` is taken from the column `field` of the entity in `table` whose key is the parameter `param`. The parameter `until`
    is the database's time. Both are ISO 8601 text.
    """

    table: str
    field: str
    param: str
    since: str
    until: str


@dataclass(frozen=True, slots=True)
class Flow:
    """What a consumer may ask for. `params` validates the request's parameters. `first` returns its first fetch.

    At most `workers` x `concurrency` of its calls are out at once. The default is that of `broker_in_flight`, so that a flow that declares
    nothing is only bounded by its platform. `time_limit`: seconds that one stage may work on a fetch of the flow.
    `apart`: the fetches do not depend on each other. Where one is refused or cannot be read, even the first one, the others are made all
    the same, and the request is complete without it.
    """

    name: str
    params: type[msgspec.Struct]
    first: Callable[[Any], FetchSpec]
    follow_ups: FollowUps
    workers: int = 20
    concurrency: int = 20
    time_limit: float = 600.0
    resume: Resume | None = None
    apart: bool = False

    def validate(self, params: Mapping[str, Any]) -> msgspec.Struct:
        """Raises `BadInput` with the field's path, such as `params.handle`."""
        try:
            return msgspec.convert(dict(params), self.params)
        except msgspec.ValidationError as error:
            raise explained(error, self.params, within="params", about=self.name) from None


@dataclass(frozen=True, slots=True)
class RequestLimit:
    """At most `calls` on-demand requests in any window of `seconds`. Operators know the counter by its name; a limit with another window
    needs another name.

    `calendar`: the windows follow each other from the epoch on in UTC, so that the window of a day begins at midnight. `per_subject`: each
    handle has a count of its own. `reserve`: the share (0..1) that batch requests leave to the others. `pace`: in any window of so many
    seconds, requests that are not customer-facing take no more than an even part of what is not reserved. `spares_customers`:
    customer-facing requests are counted and never refused.
    """

    name: str
    calls: int
    seconds: int
    per_subject: bool = False
    calendar: bool = False
    reserve: float = 0.0
    pace: int | None = None
    spares_customers: bool = False

    def __post_init__(self) -> None:
        if re.fullmatch(r"[a-z0-9_]{1,100}", self.name) is None:
            raise ValueError(f"limit {self.name!r}: a name is lower-case letters, digits and underscores")
        if self.calls < 1 or self.seconds < 1 or not 0 <= self.reserve < 1:
            raise ValueError(
                f"limit {self.name}: calls and seconds must be positive, and reserve at least 0 and below 1"
            )
        if self.pace is not None and not 1 <= self.pace < self.seconds:
            raise ValueError(f"limit {self.name}: a pace is shorter than the window of {self.seconds} s")


@dataclass(frozen=True, slots=True)
class OnDemand:
    """How a profile is refreshed for a caller that waits: the flow, its parameter that takes the handle, and the limits on these requests."""

    flow: str
    param: str
    limits: tuple[RequestLimit, ...]
