"""How fresh an answer is. Plain decisions over ages; `refreshing` asks the rows why it is not fresher, and what can be done."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from beat_actors.data.items import FieldOrigin, HeldNote, Item

FRESH, PARTIAL, STALE, HELD = "fresh", "partial", "stale", "held"


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """`mode`: fresh, nothing is older than `max_age` seconds; partial, some of it is; stale, all of it is.

    `fields`: those that the observation of `as_of` did not tell, with when and from whom they are known. Nothing else in the answer was observed before
    `as_of`; `None` where nothing ever was. `source`: who told it, where it was one alone.
    Of what is not fresh: `why` it is not; `next_attempt_at`, when the refresh can go on, where that is known; `refresh`, the request
    that is to refresh it, and whether this very read started it. `held`: of one thing, the newer record that has to be confirmed.
    """

    mode: str
    as_of: datetime | None
    source: str | None
    max_age: float
    why: str | None = None
    next_attempt_at: datetime | None = None
    refresh_started: bool = False
    fields: Mapping[str, FieldOrigin] = {}
    refresh: int | None = None
    held: HeldNote | None = None

    @property
    def shown_mode(self) -> str:
        """The mode that readers see: held, where the values are fresh and a newer record of the thing is not served."""
        return HELD if self.held is not None and self.mode == FRESH else self.mode


def of_items(items: Sequence[Item], max_age: float) -> Freshness:
    """By the ages alone. Where there is nothing, nothing is known to be fresh."""
    if not items:
        return Freshness(mode=STALE, as_of=None, source=None, max_age=max_age)
    sources = {item.source for item in items}
    mode = FRESH
    if any(item.age > max_age for item in items):
        mode = PARTIAL if any(item.age <= max_age for item in items) else STALE
    return Freshness(
        mode=mode,
        as_of=min(item.as_of for item in items),
        source=sources.pop() if len(sources) == 1 else None,
        max_age=max_age,
        held=items[0].held if len(items) == 1 else None,
    )


def of_item(item: Item, max_age: float) -> Freshness:
    """Of one thing, with the fields that are not as new."""
    return msgspec.structs.replace(of_items([item], max_age), fields=item.field_origins())


def together(main: Freshness, others: Sequence[Freshness]) -> Freshness:
    """Of one thing and of what is shown along with it."""
    known = [other for other in others if other.as_of is not None]
    mode = PARTIAL if main.mode == FRESH and any(other.mode != FRESH for other in known) else main.mode
    times = [time for time in (main.as_of, *(other.as_of for other in known)) if time is not None]
    why = "some of the included items are older" if mode != main.mode else main.why
    return msgspec.structs.replace(main, mode=mode, as_of=min(times, default=None), why=why)
