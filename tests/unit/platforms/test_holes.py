"""Which record of a page is left out where one cannot be read, for the shapes of every platform."""

import json
from typing import Any

import pytest

from beat_actors.errors import Malformed
from beat_actors.payloads.structure import structure
from beat_actors.pipeline.holes import read
from beat_actors.platforms.interface import FetchSpec, Parsed
from beat_actors.platforms.registry import platforms


def page(platform: str, source: str, operation: str, body: Any, **params: Any) -> tuple[Parsed, list[str]]:
    known = platforms()[platform]
    endpoint = known.sources[source].endpoints[operation]
    spec = FetchSpec(operation, params, source=source)
    parsed, holes = read(lambda body: endpoint.parse(body, spec), json.dumps(body).encode(), known.record_lists)
    return parsed, [hole.path for hole in holes]


def medium(n: int, **told: Any) -> dict[str, Any]:
    return {"pk": str(3800000000000000000 + n), "code": f"DAAAAAAAA{n}", "user": {"pk": "1"}, **told}


BAD = {"like_count": "many"}
THREAD = {"snippet": {"topLevelComment": {"id": "c1", "snippet": {}}}}


@pytest.mark.parametrize(
    ("platform", "source", "operation", "params", "body", "kept", "paths"),
    [
        ("instagram", "lama", "posts_by_id", {"profile_id": "1"}, [[medium(1), medium(2, **BAD), medium(3)], "c"], 2,
         ["$[0][1].like_count"]),
        ("instagram", "jotucker", "posts_by_id", {"profile_id": "1"}, {"items": [medium(1, **BAD), medium(2, **BAD), medium(3)]}, 1,
         ["$.items[0].like_count", "$.items[1].like_count"]),
        ("instagram", "jotucker", "hashtag_posts", {"hashtag": "x"},
         {"sections": [{"layout_content": {"medias": [{"media": medium(1)}, {"media": medium(2, **BAD)}]}}]}, 1,
         ["$.sections[0].layout_content.medias[1].media.like_count"]),
        ("instagram", "graphapi", "own_stories", {"user_id": "17"}, {"data": [{"id": "1"}, {"id": None}]}, 1, ["$.data[1].id"]),
        ("tiktok", "tikwm", "posts_by_id", {"profile_id": "7"},
         {"data": {"videos": [{"video_id": "1", "author": {"unique_id": "a"}}, {"video_id": "x", "author": {"unique_id": "a"}}]}}, 1,
         ["$.data.videos[1].video_id"]),
        ("tiktok", "api23", "posts_by_id", {"profile_id": "7"}, {"itemList": [{"id": "1"}, {"id": {}}], "hasMore": False}, 1,
         ["$.itemList[1].id"]),
        ("youtube", "ytapi", "comments_by_post", {"post_id": "v"},
         {"items": [THREAD | {"replies": {"comments": [{"id": "c2", "snippet": {}}, {"id": "c3"}]}}]}, 2,
         ["$.items[0].replies.comments[1].snippet"]),
        ("youtube", "ytapi", "posts_by_playlist", {"playlist_id": "p"},
         {"items": [{"contentDetails": {"videoId": "v1"}}, {"contentDetails": {}}]}, 0, ["$.items[1].contentDetails.videoId"]),
        ("shopify", "shopify", "products_by_store", {"store": "s"},
         {"products": [{"id": 1, "updated_at": "2026-11-01T00:00:00Z"}, {"id": 2}]}, 1, ["$.products[1].updated_at"]),
    ],
)  # fmt: skip
def test_the_record_that_cannot_be_read_is_left_out_alone(
    platform: str, source: str, operation: str, params: dict[str, Any], body: Any, kept: int, paths: list[str]
) -> None:
    parsed, found = page(platform, source, operation, body, **params)
    assert (len(parsed.records), found) == (kept, paths)
    assert parsed.records or parsed.listed
    assert parsed.partial is not None
    assert parsed.partial["path"] == paths[0]


def test_a_part_of_a_record_is_never_left_out_of_it() -> None:
    good = {"id": 1, "updated_at": "2026-11-01T00:00:00Z", "total_price": "1", "currency": "EUR"}
    body = {"orders": [good, good | {"id": 2, "line_items": [{"id": 5, "quantity": "many"}, {"id": 6}]}]}
    parsed, found = page("shopify", "shopify", "orders_by_store", body, store="s")
    assert (len(parsed.records), found) == (1, ["$.orders[1].line_items[0].quantity"])


def test_what_was_asked_for_alone_is_not_missing_because_it_cannot_be_read() -> None:
    for body in ({"items": [{"id": "v", "statistics": {"viewCount": "many"}}]}, {"items": [{}]}):
        with pytest.raises(Malformed):
            page("youtube", "ytapi", "post_by_id", body, post_id="v")
    with pytest.raises(Malformed):
        page("instagram", "lama", "posts_by_id", [[medium(1, user={"pk": "2"})], None], profile_id="1")


def test_records_of_one_page_are_told_apart_by_how_they_are_built() -> None:
    body = {"items": [medium(1, **BAD), medium(2, **BAD), medium(3, caption={}, **BAD), medium(4)]}
    known = platforms()["instagram"]
    endpoint = known.sources["jotucker"].endpoints["posts_by_id"]
    spec = FetchSpec("posts_by_id", {"profile_id": "1"}, source="jotucker")
    _, holes = read(lambda page: endpoint.parse(page, spec), json.dumps(body).encode(), known.record_lists)
    assert [hole.shape for hole in holes] == [structure(body["items"][n]) for n in (0, 1, 2)]
    assert holes[0].shape == holes[1].shape != holes[2].shape
