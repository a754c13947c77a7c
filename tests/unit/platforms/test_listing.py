"""How far a listing goes on: the engine's one rule, on plain values."""

from dataclasses import replace
from typing import Any

import pytest

from beat_actors.pipeline.listing import EMPTY_PAGES, PAGES, RECENT, Listing, holding_the_mark, listing_of
from beat_actors.platforms.instagram import InstagramPost, platform
from beat_actors.platforms.interface import FetchSpec, Parsed

FIRST = FetchSpec("own_posts", {"user_id": "17"}, source="graphapi")


def posts(*codes: str) -> list[InstagramPost]:
    return [InstagramPost(shortcode=code) for code in codes]


def follow(pages: Any, at_most: int = 1_000) -> tuple[int, Listing]:
    """Follow a provider that answers the n-th call with `pages(n)`: (codes, next cursor). Returns the calls, and what is remembered."""
    spec = FIRST
    for n in range(at_most):
        codes, cursor = pages(n)
        listing, _ = listing_of(spec.listing).read(Parsed(posts(*codes), cursor), platform)
        wanted = [] if cursor is None else [replace(spec, cursor=cursor, page=spec.page + 1)]
        listing, following = listing.bounded(spec, wanted)
        if not following:
            return n + 1, listing
        (spec,) = following
    return at_most, listing


def test_a_listing_is_followed_to_its_end() -> None:
    calls, listing = follow(lambda n: ([f"code{n:03}"], f"c{n}" if n < 300 else None))
    assert (calls, listing.partial) == (301, None)
    assert len(listing.recent) == RECENT


@pytest.mark.parametrize("length", [1, 2, 3, 50, 200])
def test_cursors_in_a_circle_end_a_listing_and_are_reported(length: int) -> None:
    calls, listing = follow(lambda n: ([f"code{n:04}"], f"c{n % length}"))
    assert calls <= 4 * length + 2
    assert listing.partial is not None
    assert (listing.partial["code"], listing.partial["page"]) == ("cycle", calls)
    assert (listing.partial["operation"], listing.partial["source"]) == ("own_posts", "graphapi")


def test_empty_pages_are_followed_where_a_next_page_is_named_and_not_for_ever() -> None:
    assert follow(lambda n: (["first"] if n == 0 else ["last1"] if n == 4 else [], None if n == 4 else f"c{n}"))[0] == 5
    calls, listing = follow(lambda n: ([], f"c{n}"))
    assert calls == EMPTY_PAGES
    assert listing.partial is not None
    assert listing.partial["code"] == "empty"


def test_what_the_page_before_held_is_no_progress() -> None:
    calls, listing = follow(lambda n: (["same1", "same2"], f"c{n}"))
    assert calls == EMPTY_PAGES + 1
    assert listing.partial is not None
    _, fresh = Listing().read(Parsed(posts("aaaaa", "bbbbb"), "c"), platform)
    assert len(fresh.records) == 2
    listing, _ = Listing().read(Parsed(posts("aaaaa", "bbbbb"), "c"), platform)
    _, fresh = listing.read(Parsed(posts("bbbbb", "ccccc"), "d"), platform)
    assert [record.shortcode for record in fresh.records] == ["ccccc"]


def test_a_listing_has_a_last_page() -> None:
    listing, following = Listing().bounded(FIRST, [replace(FIRST, cursor="next", page=PAGES + 1)])
    assert not following
    assert listing.partial is not None
    assert listing.partial["code"] == "pages"


def test_what_was_not_read_is_remembered_to_the_end() -> None:
    hole = {"code": "holes", "message": "1 record of this page cannot be read"}
    listing, _ = Listing().read(Parsed(posts("aaaaa"), "c", partial=hole), platform)
    _, (following,) = listing.bounded(FIRST, [replace(FIRST, cursor="c", page=2)])
    assert listing_of(following.listing).partial == hole
    mark = FetchSpec("shop", {"store": "s", "orders_synced_to": "2025-01-02T12:00:00Z"})
    assert holding_the_mark([mark, FIRST], "orders_synced_to") == [FIRST]
