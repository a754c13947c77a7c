"""What a consumer may ask of Instagram, and what follows from an answer."""

from typing import Any

import pytest
from msgspec.structs import replace

from beat_actors.errors import BadInput
from beat_actors.platforms.instagram import InstagramAccount, InstagramPost, platform
from beat_actors.platforms.interface import FetchSpec, Parsed

USER, MEDIA = "17841400000000001", "18000000000000001"
OWN = {"user_id": USER, "media_id": MEDIA, "limit": 20, "posts": 20}
PAGED = ("refresh_reels", "refresh_tagged_posts", "refresh_followers", "refresh_following", "refresh_comments")
POST = InstagramPost(shortcode="CUT8mV0hZtM")


def first(flow: str, **params: Any) -> FetchSpec:
    declared = platform.flow(flow)
    return declared.first(declared.validate(params))


@pytest.mark.parametrize(
    ("flow", "params"),
    [
        ("refresh_post_by_shortcode", {"shortcode": "../etc"}),
        ("refresh_post_by_shortcode", {"shortcode": "abc"}),
        ("refresh_stories_posts", {"profile_id": "natgeo"}),
        ("refresh_own_stories", {}),
        ("refresh_post_insights", {"user_id": USER, "media_id": MEDIA, "media_type": "igtv"}),
        ("refresh_post_insights", {"user_id": USER, "media_id": "1/insights", "media_type": "image"}),
        ("refresh_hashtag_posts", {"hashtag": "two words"}),
        ("refresh_followers", {"profile_id": "1", "limit": 0}),
        ("refresh_followers", {"profile_id": "1", "cursor": "x"}),
    ],
)
def test_what_cannot_be_is_refused(flow: str, params: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        first(flow, **params)


@pytest.mark.parametrize("tag", ["#Recipes", "recipes", "مطبخ", "요리"])
def test_a_hashtag_is_asked_for_without_its_sign(tag: str) -> None:
    assert first("refresh_hashtag_posts", hashtag=tag).params == {"hashtag": tag.removeprefix("#").lower()}


def test_what_is_the_owners_carries_the_owner() -> None:
    for name, flow in platform.flows.items():
        names = set(flow.params.__struct_fields__)
        if "user_id" not in names:
            continue
        params = {key: value for key, value in OWN.items() if key in names}
        params |= {"media_type": "image"} if "media_type" in names else {}
        spec = first(name, **params)
        assert spec.owner == USER, name
        assert platform.chains[spec.operation] == ("graphapi",)


def test_a_next_page_stays_with_its_source_and_its_owner() -> None:
    spec = FetchSpec("own_posts", {"user_id": USER}, None, "graphapi", 1, USER)
    follow_ups = platform.flow("refresh_own_posts").follow_ups
    (following,) = follow_ups(spec, {"limit": 20}, Parsed([POST], "next"), 1)
    assert following == FetchSpec("own_posts", {"user_id": USER}, "next", "graphapi", 2, USER)


@pytest.mark.parametrize("flow", PAGED)
@pytest.mark.parametrize(
    ("parsed", "items"),
    [
        (Parsed([POST], None), 1),
        (Parsed([POST], "next"), 20),
    ],
    ids=["the last", "enough"],
)
def test_pages_end(flow: str, parsed: Parsed, items: int) -> None:
    spec = FetchSpec("any", {"profile_id": "1"}, "this", "jotucker", 3)
    assert not platform.flow(flow).follow_ups(spec, {"limit": 20}, parsed, items)


def test_an_account_has_nine_demographics() -> None:
    spec = first("refresh_profile_insights", user_id=USER)
    others = platform.flow("refresh_profile_insights").follow_ups(spec, {"user_id": USER}, Parsed([]), 0)
    asked = {(each.params["metric"], each.params["breakdown"]) for each in (spec, *others)}
    assert len(asked) == 9 == 1 + len(others)
    assert not platform.flow("refresh_profile_insights").follow_ups(others[0], {"user_id": USER}, Parsed([]), 0)


def test_only_a_carousel_has_children_and_only_a_story_is_left() -> None:
    params = {"user_id": USER, "media_id": MEDIA}
    spec = first("refresh_own_post", **params)
    children = platform.flow("refresh_own_post").follow_ups
    assert not children(spec, params, Parsed([InstagramPost(shortcode="CUT8mV0hZtM", post_type="image")]), 1)
    (asked,) = children(spec, params, Parsed([InstagramPost(shortcode="CUT8mV0hZtM", post_type="carousel")]), 1)
    assert (asked.operation, asked.params["media_id"], asked.owner) == ("own_children", MEDIA, USER)
    insights = platform.flow("refresh_post_insights").follow_ups
    assert not insights(first("refresh_post_insights", **params, media_type="reels"), params, Parsed([]), 0)
    (asked,) = insights(first("refresh_post_insights", **params, media_type="story"), params, Parsed([]), 0)
    assert asked.operation == "story_navigation"


PROFILE = InstagramAccount(profile_id="123456", handle="somebody", followers=1, media_count=80)


def twelve(prefix: str) -> list[InstagramPost]:
    return [InstagramPost(shortcode=f"{prefix}{n:04d}") for n in range(12)]


def test_the_posts_behind_a_profile_are_asked_of_whoever_gave_the_cursor() -> None:
    follow_ups = platform.flow("refresh_profile_by_handle").follow_ups
    spec = FetchSpec("profile_by_handle", {"handle": "somebody"}, None, "graphapi")
    (following,) = follow_ups(spec, {"posts": 60}, Parsed([PROFILE, *twelve("first")], "next"), 13)
    params = {"handle": "somebody", "profile_id": "123456", "listed": 12}
    assert following == FetchSpec("posts_by_id", params, "next", "graphapi", 2)
    (unknown,) = follow_ups(
        spec, {"posts": 60}, Parsed([replace(PROFILE, profile_id="graph:1"), *twelve("first")], "next"), 13
    )
    assert unknown.operation == "posts_by_handle"
    for operation in (following.operation, unknown.operation):
        assert len(platform.chains[operation]) > 1


@pytest.mark.parametrize("flow", ["refresh_profile_by_handle", "refresh_reels"])
def test_a_listing_that_was_begun_anew_counts_from_its_own_beginning(flow: str) -> None:
    """The request has had 37 items already, of a listing whose cursor was lost."""
    follow_ups, wanted = platform.flow(flow).follow_ups, {"posts": 24, "limit": 24}
    begun = FetchSpec("posts_by_id", {"profile_id": "123456", "listed": 36}, None, "jotucker", 1)
    (second,) = follow_ups(begun, wanted, Parsed(twelve("first"), "next"), 37 + 12)
    assert (second.cursor, second.source, second.page, second.params["listed"]) == ("next", "jotucker", 2, 12)
    assert not follow_ups(second, wanted, Parsed(twelve("second"), "more"), 37 + 24)


def test_the_days_of_insights_are_asked_in_seconds_or_not_at_all() -> None:
    spec = first(
        "refresh_profile_insights_daily", user_id=USER, since="2026-06-01T02:00:00+02:00", until="2026-06-08T00:00:00Z"
    )
    assert (spec.owner, spec.params["since"], spec.params["until"]) == (USER, 1_780_272_000, 1_780_876_800)
    build = platform.sources["graphapi"].endpoints["profile_insights_daily"].build
    secret = {"token": "t", "user_id": USER}
    asked = {"metric": "reach", "period": "day", "metric_type": "time_series"}
    assert build(spec, secret).query == {**asked, "since": "1780272000", "until": "1780876800"}
    plain = first("refresh_profile_insights_daily", user_id=USER, metric="follower_count")
    assert build(plain, secret).query == {**asked, "metric": "follower_count"}


@pytest.mark.parametrize(
    "params",
    [
        {"since": "2026-06-01T00:00:00Z"},
        {"until": "2026-06-01T00:00:00Z"},
        {"since": "2026-06-01T00:00:00Z", "until": "2026-06-01T00:00:00Z"},
        {"since": "2026-06-01T00:00:00Z", "until": "2026-07-02T00:00:00Z"},
        {"since": "1900-06-01T00:00:00Z", "until": "1900-06-02T00:00:00Z"},
        {"since": "2026-06-01T00:00:00", "until": "2026-06-02T00:00:00"},
        {"metric": "views"},
    ],
)
def test_days_of_insights_that_cannot_be_asked_for_are_refused(params: dict[str, str]) -> None:
    with pytest.raises(BadInput):
        first("refresh_profile_insights_daily", user_id=USER, **params)
