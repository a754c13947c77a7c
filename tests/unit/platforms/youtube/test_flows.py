"""What follows a fetch: a channel's uploads, the videos of a page in one call, and the next page."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from beat_actors.errors import BadInput
from beat_actors.platforms.interface import FetchSpec, Parsed
from beat_actors.platforms.youtube import YouTubeAccount, YouTubePost, platform

CHANNEL, UPLOADS = "UC" + "a" * 22, "UU" + "a" * 22


def accepted(flow: str, **params: Any) -> tuple[FetchSpec, dict[str, Any]]:
    validated = platform.flows[flow].validate(params)
    return platform.flows[flow].first(validated), msgspec.to_builtins(validated)


def followed(flow: str, spec: FetchSpec, params: dict[str, Any], parsed: Parsed, items: int = 0) -> Sequence[FetchSpec]:
    return platform.flows[flow].follow_ups(spec, params, parsed, items)


def page(first: int, count: int, cursor: str | None) -> Parsed:
    return Parsed([], cursor, [f"v{n}" for n in range(first, first + count)])


def account(**known: Any) -> Parsed:
    return Parsed([YouTubeAccount(profile_id=CHANNEL, **{"uploads_playlist_id": UPLOADS, **known})])


@pytest.mark.parametrize(
    ("flow", "params", "operation", "asked"),
    [
        ("refresh_profile_by_id", {"profile_id": CHANNEL}, "profile_by_id", {"profile_id": CHANNEL}),
        ("refresh_profile_by_handle", {"handle": "@Some.Body"}, "profile_by_handle", {"handle": "some.body"}),
        ("refresh_profile_by_handle", {"handle": "ユーザー"}, "profile_by_handle", {"handle": "ユーザー"}),
        ("refresh_profile_by_username", {"username": "Cafe\u0301"}, "profile_by_username", {"username": "Caf\u00e9"}),
        ("refresh_profile_by_handle", {"handle": "@हिन्दी"}, "profile_by_handle", {"handle": "हिन्दी"}),
        ("refresh_profile_by_username", {"username": "தமிழ்"}, "profile_by_username", {"username": "தமிழ்"}),
        ("refresh_profile_by_username", {"username": "SomeBody"}, "profile_by_username", {"username": "SomeBody"}),
        ("refresh_post_by_id", {"post_id": "D-bmsgyNrCY"}, "post_by_id", {"post_id": "D-bmsgyNrCY"}),
    ],
)
def test_one_thing_is_one_call(flow: str, params: dict[str, Any], operation: str, asked: dict[str, Any]) -> None:
    spec, filled = accepted(flow, **params)
    assert (spec.operation, spec.params) == (operation, asked)
    assert followed(flow, spec, filled, account()) == ()


def test_a_profile_may_bring_its_newest_posts() -> None:
    spec, params = accepted("refresh_profile_by_handle", handle="somebody", posts=12)
    (uploads,) = followed("refresh_profile_by_handle", spec, params, account(media_count=90))
    assert (uploads.operation, uploads.params) == ("posts_by_playlist", {"playlist_id": UPLOADS})
    (posts,) = followed("refresh_profile_by_handle", uploads, params, page(0, 50, "next"))
    assert (posts.operation, len(posts.params["post_ids"])) == ("posts_by_ids", 12)


@pytest.mark.parametrize("known", [{"media_count": 0}, {"uploads_playlist_id": None}])
def test_a_channel_without_uploads_is_not_asked_for_them(known: dict[str, Any]) -> None:
    spec, params = accepted("refresh_posts_by_channel", profile_id=CHANNEL)
    assert followed("refresh_posts_by_channel", spec, params, account(**known)) == ()


def test_the_videos_of_a_page_are_one_fetch_and_the_pages_end_with_what_is_wanted() -> None:
    flow = "refresh_posts_by_channel"
    spec, params = accepted(flow, profile_id=CHANNEL, limit=120)
    assert spec.operation == "profile_by_id"
    (uploads,) = followed(flow, spec, params, account())
    uploads = FetchSpec(uploads.operation, uploads.params, None, "ytapi")
    posts, second = followed(flow, uploads, params, page(0, 50, "p2"))
    assert posts == FetchSpec("posts_by_ids", {"post_ids": [f"v{n}" for n in range(50)]})
    assert (second.cursor, second.source, second.page) == ("p2", "ytapi", 2)
    posts, third = followed(flow, second, params, page(50, 49, "p3"), items=3)
    assert (third.page, third.params["found"]) == (3, 99)
    (posts,) = followed(flow, third, params, page(99, 50, "p4"), items=99)
    assert posts.params["post_ids"] == [f"v{n}" for n in range(99, 120)]
    assert followed(flow, posts, params, Parsed([YouTubePost(post_id="v1")]), 100) == ()


def test_a_page_whose_videos_are_all_gone_leads_on() -> None:
    flow = "refresh_posts_by_channel"
    _, params = accepted(flow, profile_id=CHANNEL)
    uploads = FetchSpec("posts_by_playlist", {"playlist_id": UPLOADS}, None, "ytapi")
    gone = Parsed([YouTubePost(post_id="v1", privacy_status="deleted")], "p2")
    (second,) = followed(flow, uploads, params, gone)
    assert (second.cursor, second.params["found"]) == ("p2", 0)


def test_a_search_asks_for_what_it_is_given() -> None:
    spec, params = accepted(
        "search_posts",
        q="street food",
        profile_id=CHANNEL,
        published_after="2025-01-01T02:00:00+02:00",
        order="date",
        region="DE",
        language="zh-Hant",
        limit=60,
    )
    assert spec == FetchSpec(
        "posts_by_search",
        {
            "q": "street food",
            "profile_id": CHANNEL,
            "published_after": "2025-01-01T00:00:00Z",
            "order": "date",
            "region": "DE",
            "language": "zh-Hant",
        },
    )
    posts, second = followed("search_posts", spec, params, page(0, 50, "p2"))
    assert second.params == {**spec.params, "found": 50}
    (posts,) = followed("search_posts", second, params, page(50, 50, "p3"))
    assert len(posts.params["post_ids"]) == 10


def test_a_channels_search_is_by_date() -> None:
    spec, _ = accepted("search_posts_by_channel", profile_id=CHANNEL, published_before="2025-01-01T00:00:00Z")
    assert spec.params == {"profile_id": CHANNEL, "published_before": "2025-01-01T00:00:00Z", "order": "date"}


def test_comments_are_paged_until_there_are_enough() -> None:
    spec, params = accepted("refresh_post_comments", post_id="D-bmsgyNrCY", limit=150)
    comments = Parsed([YouTubePost(post_id="x")], "p2")
    (second,) = followed("refresh_post_comments", spec, params, comments, items=104)
    assert (second.operation, second.cursor, second.page) == ("comments_by_post", "p2", 2)
    assert followed("refresh_post_comments", second, params, Parsed(comments.records, "p3"), items=150) == ()
    assert followed("refresh_post_comments", second, params, Parsed(comments.records), items=110) == ()


@pytest.mark.parametrize(
    ("flow", "params", "why"),
    [
        ("refresh_profile_by_id", {"profile_id": "UCshort"}, "profile_id"),
        ("refresh_profile_by_id", {"profile_id": CHANNEL + "\n"}, "profile_id"),
        ("refresh_profile_by_id", {"profile_id": CHANNEL, "posts": -1}, "posts"),
        ("refresh_profile_by_handle", {"handle": "two words"}, "handle"),
        ("refresh_profile_by_handle", {"handle": "a,b"}, "handle"),
        ("refresh_post_by_id", {"post_id": "a,b"}, "post_id"),
        ("refresh_post_by_id", {"post_id": "https://youtu.be/D-bmsgyNrCY"}, "post_id"),
        ("refresh_posts_by_channel", {"profile_id": CHANNEL, "limit": 0}, "limit"),
        ("refresh_post_comments", {"post_id": "D-bmsgyNrCY", "order": "best"}, "order"),
        ("search_posts", {"q": ""}, "q"),
        ("search_posts", {"q": "x", "limit": 501}, "limit"),
        ("search_posts", {"q": "x", "region": "Germany"}, "region"),
        ("search_posts", {"q": "x", "published_after": "2025-01-01T00:00:00"}, "a time with its zone"),
        ("search_posts", {"q": "x", "published_after": "0001-01-01T00:00:00+14:00"}, "no day"),
        (
            "search_posts_by_channel",
            {
                "profile_id": CHANNEL,
                "published_after": "2025-01-02T00:00:00Z",
                "published_before": "2025-01-01T00:00:00Z",
            },
            "lies after",
        ),
    ],
)
def test_bad_parameters_are_met_with_a_sentence(flow: str, params: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        platform.flows[flow].validate(params)
