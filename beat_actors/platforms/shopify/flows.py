"""What a consumer may ask of a store. A listing goes on where the last complete one ended."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import MAXYEAR, datetime, timedelta
from typing import Annotated, Any

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import FetchSpec, Flow, FollowUps, Parsed, Resume
from beat_actors.platforms.reading import in_seconds
from beat_actors.platforms.shopify.crawler import ShopifyCrawler
from beat_actors.platforms.shopify.stores import domain

# A run begins a little before the last one ended: the clocks are two, and a listing may lag behind what was written.
OVERLAP = timedelta(minutes=5)
FIRST_YEAR = 2000  # there was no Shopify yet

Time = Annotated[datetime, msgspec.Meta(tz=True)]


class ByStore(msgspec.Struct, forbid_unknown_fields=True):
    store: str

    def __post_init__(self) -> None:
        self.store = domain(self.store)


class ChangedInStore(msgspec.Struct, forbid_unknown_fields=True):
    """What was updated from `updated_at_min` to `updated_at_max`.

    A request that names neither goes on where the last such run ended, and `moves_mark`: when it is complete, the next goes on
    from its own end. One with bounds of its own leaves the mark where it is, or what lies between would never be read.
    """

    store: str
    updated_at_min: Time | None = None
    updated_at_max: Time | None = None
    moves_mark: bool | None = None

    def __post_init__(self) -> None:
        self.store = domain(self.store)
        for time in (self.updated_at_min, self.updated_at_max):
            if time is not None and not FIRST_YEAR <= time.year < MAXYEAR:
                raise ValueError(f"{time:%Y-%m-%d} is no day on which a store was updated")
        if self.updated_at_min and self.updated_at_max and self.updated_at_min > self.updated_at_max:
            raise ValueError("updated_at_min lies after updated_at_max")
        if self.moves_mark is None:  # so it is before the open bounds are filled in, and then it stays
            self.moves_mark = self.updated_at_min is None and self.updated_at_max is None


def listing(fetch: Callable[[str, str | None, str | None], FetchSpec]) -> Callable[[ChangedInStore], FetchSpec]:
    def first(params: ChangedInStore) -> FetchSpec:
        since, until = params.updated_at_min, params.updated_at_max
        if params.moves_mark and since is not None:
            since -= OVERLAP
        return fetch(params.store, in_seconds(since), in_seconds(until))

    return first


def every_page_then(mark: str) -> FollowUps:
    """All pages; after the last one the store itself, with `mark` at the end of what was listed.

    Only the last page's header shows that it is the last, and a parser sees no header: hence a call of its own for the mark.
    """

    def follow_ups(spec: FetchSpec, params: Mapping[str, Any], parsed: Parsed, _items: int) -> Sequence[FetchSpec]:
        if spec.operation == "shop":
            return ()
        if parsed.next_cursor is not None:
            return (_next_page(spec, parsed.next_cursor),)
        until = spec.params.get("updated_at_max")
        if until is None or not params.get("moves_mark"):
            return ()
        return (ShopifyCrawler.fetch_shop(spec.params["store"], **{mark: until}),)

    return follow_ups


def _next_page(spec: FetchSpec, cursor: str) -> FetchSpec:
    """Raises `Malformed` where the cursor leads nowhere: to end there would pass for the end of the list."""
    if not cursor:
        raise Malformed("there is a next page, and its link does not lead to it", path="$")
    return replace(spec, cursor=cursor, page=spec.page + 1)


def no_more(*_: Any) -> Sequence[FetchSpec]:
    return ()


def _refresh(what: str, fetch: Callable[[str, str | None, str | None], FetchSpec]) -> Flow:
    mark = f"{what}_synced_to"
    return Flow(
        f"refresh_{what}_by_store",
        ChangedInStore,
        listing(fetch),
        every_page_then(mark),
        resume=Resume("shopify_store", mark, "store", since="updated_at_min", until="updated_at_max"),
    )


FLOWS = {
    flow.name: flow
    for flow in (
        _refresh("orders", ShopifyCrawler.fetch_orders_by_store),
        _refresh("products", ShopifyCrawler.fetch_products_by_store),
        _refresh("customers", ShopifyCrawler.fetch_customers_by_store),
        Flow("refresh_store", ByStore, lambda params: ShopifyCrawler.fetch_shop(params.store), no_more),
    )
}
