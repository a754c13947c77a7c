"""What an answer does not tell is unknown, and what it tells twice is one: zeros, second names, refusals that look like answers."""

import json
from typing import Any

import pytest

from beat_actors.errors import Malformed
from beat_actors.platforms.instagram import InstagramAccount, InstagramPost, platform
from beat_actors.platforms.instagram.crawler import InstagramCrawler
from beat_actors.platforms.interface import Answer, FetchSpec, Outcome

ID = "1000000001"


def read(source: str, operation: str, body: Any, **params: str) -> Any:
    endpoint = platform.sources[source].endpoints[operation]
    return list(endpoint.parse(json.dumps(body).encode(), FetchSpec(operation, params)).records)


def medium(**told: Any) -> dict[str, Any]:
    return {"pk": "3800000000000000001", "code": "DAAAAAAAAA1", "media_type": 2, "user": {"pk": ID}, **told}


def web_profile(*nodes: dict[str, Any], **user: Any) -> dict[str, Any]:
    timeline = {"count": len(nodes), "edges": [{"node": node} for node in nodes]}
    who = {"id": ID, "username": "example", "edge_followed_by": {"count": 7}, "edge_owner_to_timeline_media": timeline}
    return {"graphql": {"user": {**who, **user}}}


def test_a_zero_of_lama_is_a_number_that_it_does_not_have() -> None:
    zeros = medium(view_count=0, play_count=0, like_count=0, comment_count=0)
    for operation, params in (("posts_by_id", {"profile_id": ID}), ("hashtag_posts", {"hashtag": "example"})):
        (post,) = read("lama", operation, [[zeros], None], **params)
        assert (post.views, post.plays, post.likes, post.comments) == (None, None, 0, 0)
    (reel,) = read("lama", "reels_by_id", [[medium(view_count=0, play_count=2_594_210)], None], profile_id=ID)
    assert (reel.views, reel.plays) == (None, 2_594_210)
    (alone,) = read("lama", "post_by_shortcode", zeros, shortcode="DAAAAAAAAA1")
    assert (alone.views, alone.plays) == (None, None)
    node = {"id": "38", "shortcode": "DAAAAAAAAA1", "is_video": True, "video_view_count": 0}
    _, post = read("lama", "profile_by_handle", web_profile(node), handle="example")
    assert post.views is None


def test_a_zero_of_the_web_is_a_number() -> None:
    node = {"id": "38", "shortcode": "DAAAAAAAAA1", "is_video": True, "video_view_count": 0}
    page = {"data": {"user": {"edge_owner_to_timeline_media": {"edges": [{"node": node}]}}}}
    (post,) = read("jotucker", "posts_by_id", page, profile_id=ID)
    assert post.views == 0


def test_minus_one_under_one_name_does_not_hide_what_another_tells() -> None:
    node = {
        "id": "38",
        "shortcode": "Bzzzzzzzzz1",
        "edge_media_preview_like": {"count": -1},
        "edge_liked_by": {"count": 76},
        "edge_media_to_comment": {"count": -1},
        "edge_media_to_parent_comment": {"count": 3},
    }
    _, post = read("lama", "profile_by_handle", web_profile(node), handle="example")
    assert isinstance(post, InstagramPost)
    assert (post.likes, post.comments) == (76, 3)
    _, hidden = read(
        "lama", "profile_by_handle", web_profile({**node, "edge_liked_by": {"count": -1}}), handle="example"
    )
    assert hidden.likes is None


@pytest.mark.parametrize(
    ("told", "url"),
    [
        ({"external_url": None, "bio_links": [{"url": "https://example.org/links"}]}, "https://example.org/links"),
        ({"external_url": "https://a.example", "bio_links": [{"url": "https://b.example"}]}, "https://a.example"),
        ({"bio_links": [{"url": None}, {"url": "https://b.example"}]}, "https://b.example"),
        ({"bio_links": []}, None),
    ],
)
def test_the_link_of_a_profile_may_stand_in_its_list_of_links(told: dict[str, Any], url: str | None) -> None:
    user = {"pk": ID, "username": "example", "follower_count": 1000, **told}
    (account,) = read("lama", "profile_by_id", user, profile_id=ID)
    assert isinstance(account, InstagramAccount)
    assert account.external_url == url


def test_an_insight_that_is_reported_in_both_shapes_is_one() -> None:
    results = [{"dimension_values": ["tap_forward"], "value": 19}, {"dimension_values": ["tap_back"], "value": 6}]
    insight = {
        "name": "navigation",
        "period": "lifetime",
        "values": [{"value": 25}],
        "total_value": {"value": 25, "breakdowns": [{"dimension_keys": ["action"], "results": results}]},
    }
    found = read("graphapi", "story_navigation", {"data": [insight]}, media_id="18")
    assert [one.value for one in found] == [25, 19, 6]
    assert len({one.insight_id for one in found}) == 3
    dated = {**insight, "values": [{"value": 25, "end_time": "2026-03-01T08:00:00+0000"}]}
    assert len(read("graphapi", "story_navigation", {"data": [dated]}, media_id="18")) == 4


@pytest.mark.parametrize(
    "message",
    [
        "(#100) Pages Public Content Access requires either app secret proof or an app token",
        "API calls from the server require an appsecret_proof argument",
        "Invalid appsecret_proof provided in the API argument",
        "(#100) Tried accessing nonexisting field (business_discovery) on node type (IGUser)",
        "(#100) Tried accessing nonexisting field (business_discovery) on node type (User)",
    ],
)
def test_a_refusal_about_the_app_or_the_token_is_not_about_the_thing(message: str) -> None:
    body = json.dumps({"error": {"message": message, "code": 100}}).encode()
    assert platform.sources["graphapi"].classify(Answer(400, {}, body)).outcome is Outcome.PERMISSION_MISSING


@pytest.mark.parametrize("source", ["arraybobo", "jotucker", "bestsolutions", "lama"])
@pytest.mark.parametrize(
    ("body", "outcome", "wait"),
    [
        ({"message": "m", "status": "fail", "error_type": "ip_block"}, Outcome.UPSTREAM_DOWN, None),
        ({"message": "m", "status": "fail", "error_type": "generic_request_error"}, Outcome.UPSTREAM_DOWN, None),
        (
            {"message": "m", "status": "fail", "error_type": "block_eu_user_login_in_old_app"},
            Outcome.UPSTREAM_DOWN,
            None,
        ),
        ({"message": "m", "status": "fail", "error_type": "invalid_user"}, Outcome.UPSTREAM_DOWN, None),
        ({"message": "Please wait a few minutes", "status": "fail"}, Outcome.UPSTREAM_DOWN, 60),
        ({"message": "Not authorized to view user", "status": "fail"}, Outcome.PRIVATE, None),
        ({"message": "Media not found or unavailable", "status": "fail"}, Outcome.MISSING, None),
    ],
)
def test_instagrams_refusal_is_judged_as_one_whatever_its_status(
    source: str, body: dict[str, str], outcome: Outcome, wait: float | None
) -> None:
    for status in (200, 400):
        verdict = platform.sources[source].classify(Answer(status, {}, json.dumps(body).encode()))
        assert (verdict.outcome, verdict.retry_after) == (outcome, wait)


@pytest.mark.parametrize("source", ["arraybobo", "jotucker", "bestsolutions", "lama"])
def test_what_only_quotes_a_refusal_is_an_answer(source: str) -> None:
    for body in ({"caption": '"status": "fail"'}, {"items": [{"status": "fail"}], "status": "ok"}):
        verdict = platform.sources[source].classify(Answer(200, {}, json.dumps(body).encode()))
        assert verdict.outcome is Outcome.OK


def test_demographics_are_asked_for_a_time_that_their_metric_knows() -> None:
    asked = {
        (spec.params["metric"], spec.params.get("timeframe")) for spec in InstagramCrawler.fetch_profile_insights("17")
    }
    assert asked == {
        ("follower_demographics", None),
        ("reached_audience_demographics", "this_month"),
        ("engaged_audience_demographics", "this_month"),
    }
    endpoint = platform.sources["graphapi"].endpoints["profile_insights"]
    for spec in InstagramCrawler.fetch_profile_insights("17"):
        query = endpoint.build(spec, {"token": "t", "user_id": "17"}).query
        assert query.get("timeframe") == spec.params.get("timeframe")


@pytest.mark.parametrize("tag", ["हिन्दी", "#தமிழ்", "ภาษาไทย", "עִבְרִית", "cafe\u0301"])
def test_a_hashtag_may_be_written_in_any_script(tag: str) -> None:
    flow = platform.flow("refresh_hashtag_posts")
    spec = flow.first(flow.validate({"hashtag": tag}))
    assert spec.params["hashtag"].endswith("\u00e9") or spec.params["hashtag"] == tag.removeprefix("#")


@pytest.mark.parametrize(
    ("asked", "told"), [("हिन्दी", "हिन्दी"), ("caf\u00e9", "Cafe\u0301"), ("recipes", "Recipes"), ("recipes", None)]
)
def test_posts_of_another_hashtag_are_not_read(asked: str, told: str | None) -> None:
    def page(name: str | None) -> Any:
        return {"data": {"hashtag": {"name": name, "edge_hashtag_to_media": {"edges": []}}}}

    assert read("jotucker", "hashtag_posts", page(told), hashtag=asked) == []
    with pytest.raises(Malformed) as refused:
        read("jotucker", "hashtag_posts", page("another"), hashtag=asked)
    assert refused.value.path == "$.data.hashtag.name"


@pytest.mark.parametrize(
    "told", ["1772366400", 1_772_366_400, 1_772_366_400_000, "1772366400000", "2026-03-01T12:00:00+0000"]
)
def test_the_graph_api_may_report_a_time_in_any_form(told: Any) -> None:
    medium = {"id": "18000000000000001", "permalink": "https://www.instagram.com/p/DSp_OZgjHvE/", "timestamp": told}
    (own,) = read("graphapi", "own_post", medium, media_id="18000000000000001")
    assert own.taken_at.isoformat() == "2026-03-01T12:00:00+00:00"


def test_the_two_ids_of_a_post_stand_in_fields_of_their_own() -> None:
    told = {
        "id": "18000000000000001",
        "permalink": "https://www.instagram.com/p/DSp_OZgjHvE/",
        "timestamp": "2026-03-01T12:00:00+0000",
    }
    (own,) = read("graphapi", "own_post", told, media_id="18000000000000001")
    pk = own.post_id
    (other,) = read("lama", "post_by_shortcode", {"pk": pk, "code": "DSp_OZgjHvE"}, shortcode="DSp_OZgjHvE")
    assert (own.shortcode, own.graph_id) == (other.shortcode, "18000000000000001")
    assert (other.post_id, other.graph_id) == (pk, None)
    (older,) = read("graphapi", "own_post", {**told, "ig_id": pk}, media_id="18000000000000001")
    assert older.post_id == pk
    (alone,) = read("lama", "post_by_shortcode", {"pk": pk}, shortcode="DSp_OZgjHvE")  # the id says the shortcode again
    assert alone.shortcode == own.shortcode
