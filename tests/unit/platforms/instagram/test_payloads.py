"""How Instagram's payloads are read: what is optional may be anything, what is the point may not."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from beat_actors.errors import Malformed
from beat_actors.platforms.instagram import InstagramPost, platform
from beat_actors.platforms.interface import FetchSpec, Parsed
from tests.conformance.recordings.instagram import GOOD, PARAMS

MEDIA = {"media_id": "18000000000000001", "user_id": "17841400000000001"}


def read(source: str, operation: str, payload: Any, **params: str) -> Parsed:
    spec = FetchSpec(operation, PARAMS | params, source=source)
    return platform.sources[source].endpoints[operation].parse(msgspec.json.encode(payload), spec)


def recorded(path: str, source: str, operation: str) -> tuple[Any, dict[str, Any]]:
    found = next(r for r in GOOD if (r.path, r.source, r.operation) == (f"instagram/{path}", source, operation))
    return msgspec.json.decode(found.body()), found.params


# Single posts


@pytest.mark.parametrize(
    ("source", "payload", "path"),
    [
        ("arraybobo", {"shortcode": "AAAAAAAAAAA"}, "$.shortcode"),
        ("jotucker", {"items": [{"code": "AAAAAAAAAAA"}]}, "$.items[0].code"),
        ("lama", {"items": [{"code": "AAAAAAAAAAA"}]}, "$.items[0].code"),
        ("lama", {"media_or_ad": {"code": "AAAAAAAAAAA"}}, "$.media_or_ad.code"),
        ("lama", {"code": "AAAAAAAAAAA"}, "$.code"),
        ("lama", {"status": "ok"}, "$.code"),
    ],
)
def test_another_post_is_malformed(source: str, payload: Any, path: str) -> None:
    with pytest.raises(Malformed) as refused:
        read(source, "post_by_shortcode", payload)
    assert refused.value.path == path


def test_a_private_link_names_the_post_by_its_first_characters() -> None:
    (post,) = read(
        "jotucker", "post_by_shortcode", {"items": [{"code": "CUT8mV0hZtM"}]}, shortcode="CUT8mV0hZtMtoken"
    ).records
    assert post.shortcode == "CUT8mV0hZtM"


def test_likes_that_are_hidden_are_unknown_and_other_negatives_cannot_be() -> None:
    node = {"shortcode": "CUT8mV0hZtM", "edge_media_preview_like": {"count": -1}}
    assert read("arraybobo", "post_by_shortcode", node).records[0].likes is None
    with pytest.raises(Malformed) as refused:
        read("arraybobo", "post_by_shortcode", node | {"edge_media_preview_like": {"count": -2}})
    assert refused.value.path == "$.edge_media_preview_like.count"


@pytest.mark.parametrize("hidden", [{"like_count": -1}, {"like_count": 3, "like_and_view_counts_disabled": True}])
def test_likes_that_the_private_api_hides_are_unknown(hidden: dict[str, Any]) -> None:
    (post,) = read(
        "jotucker", "post_by_shortcode", {"items": [{"code": "CUT8mV0hZtM", "comment_count": 2, **hidden}]}
    ).records
    assert (post.likes, post.comments) == (None, 2)


def test_a_graph_post_without_a_link_has_its_shortcode() -> None:
    data = [
        {"id": "1", "shortcode": "CUT8mV0hZtM"},
        {"id": "2", "permalink": "https://www.instagram.com/reel/CUT8mV0hZtN/"},
    ]
    found = read("graphapi", "own_posts", {"data": data}).records
    assert [post.shortcode for post in found] == ["CUT8mV0hZtM", "CUT8mV0hZtN"]
    with pytest.raises(Malformed) as refused:
        read("graphapi", "own_posts", {"data": [{"id": "1"}]})
    assert refused.value.path == "$.data[0].permalink"


def test_todays_comment_edge_counts_the_comments() -> None:
    node = {"shortcode": "CUT8mV0hZtM", "edge_media_to_parent_comment": {"count": "7"}, "__typename": "XDTGraphVideo"}
    (post,) = read("arraybobo", "post_by_shortcode", node).records
    assert (post.comments, post.post_type) == (7, "reels")


# Stories


def test_stories_have_the_same_ids_in_every_shape() -> None:
    payload, params = recorded("lama/v2_user_stories_by_username.json", "arraybobo", "stories_by_id")
    private = read("arraybobo", "stories_by_id", payload, **params).records
    payload, params = recorded("lama/v1_user_stories.json", "lama", "stories_by_id")
    flat = read("lama", "stories_by_id", payload, **params).records
    assert [story.story_id for story in private] == [story.story_id for story in flat]
    assert [story.taken_at for story in private] == [story.taken_at for story in flat]
    assert private[0].media_type == flat[0].media_type == "video"
    assert private[0].expiring_at == datetime.fromtimestamp(1775745075, UTC)
    assert all(story.profile_id == "961865" and story.media_url for story in (*private, *flat))


def test_a_story_of_the_web_has_its_best_video() -> None:
    payload, params = recorded("upstream/graphql_reels_media.json", "arraybobo", "stories_by_id")
    (story,) = read("arraybobo", "stories_by_id", payload, **params).records
    sources = payload["data"]["reels_media"][0]["items"][0]["video_resources"]
    assert (story.media_url, story.handle, story.media_type) == (sources[-1]["src"], "aoulaols", "video")
    assert (story.expiring_at - story.taken_at).total_seconds() == 86_400


@pytest.mark.parametrize(
    "payload",
    [
        {"reels": {}},
        {"reels": {"123456": None}},
        {"reels": {"123456": {"user": None, "items": None}}},
        {"data": {"reels_media": []}},
        {"data": {"reels_media": [{"items": None}]}},
    ],
)
def test_who_has_no_stories_is_not_missing(payload: Any) -> None:
    assert not read("arraybobo", "stories_by_id", payload).records


@pytest.mark.parametrize(
    ("item", "path"),
    [
        ({"pk": "1", "user": {"pk": 99}}, "$.reels.123456.items[0].user.pk"),
        ({"pk": None}, "$.reels.123456.items[0].pk"),
        ({"pk": "story"}, "$.reels.123456.items[0].pk"),
        ({"pk": 1, "like_count": "many"}, "$.reels.123456.items[0].like_count"),
    ],
)
def test_a_story_that_is_nobodys_is_malformed(item: Any, path: str) -> None:
    with pytest.raises(Malformed) as refused:
        read("arraybobo", "stories_by_id", {"reels": {"123456": {"items": [item]}}})
    assert refused.value.path == path


def test_neither_shape_is_malformed() -> None:
    with pytest.raises(Malformed, match="neither"):
        read("arraybobo", "stories_by_id", {"status": "ok"})


def test_an_own_story_has_instagrams_id_where_it_can_be_known() -> None:
    story = {"id": "17900", "permalink": "https://www.instagram.com/stories/somebody/2364685711368192577"}
    ids = [
        read("graphapi", "own_stories", {"data": [each]}).records[0].story_id
        for each in (story | {"ig_id": "81019178"}, story, {"id": 17900})
    ]
    assert ids == ["81019178", "2364685711368192577", "graph:17900"]


# Insights


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"name": "reach"}],
        [{"name": "reach", "values": []}],
        [{"name": "reach", "values": [{}]}],
        [{"name": "reach", "values": [{"value": {}}]}],
        [{"name": "reach", "total_value": {}}],
        [{"name": "reach", "total_value": {"breakdowns": [{"dimension_keys": ["country"]}]}}],
    ],
)
def test_what_is_not_reported_is_no_data_and_never_0(data: Any) -> None:
    assert not read("graphapi", "profile_insights", {"data": data}).records
    assert not read("graphapi", "post_insights", {"data": data}).records


def test_a_zero_that_is_reported_is_a_zero() -> None:
    (number,) = read("graphapi", "post_insights", {"data": [{"name": "shares", "values": [{"value": 0}]}]}).records
    assert number.value == 0


@pytest.mark.parametrize(
    "insight",
    [
        {"name": "audience", "period": "lifetime", "values": [{"value": {"F.25-34": 12, "شكرا": "3", "gone": None}}]},
        {
            "name": "audience",
            "period": "lifetime",
            "total_value": {
                "breakdowns": [
                    {
                        "dimension_keys": ["age"],
                        "results": [
                            {"dimension_values": ["F.25-34"], "value": 12},
                            {"dimension_values": ["شكرا"], "value": "3"},
                            {"dimension_values": ["gone"]},
                        ],
                    }
                ]
            },
        },
    ],
    ids=["values", "total_value"],
)
def test_both_shapes_give_the_same_numbers(insight: Any) -> None:
    found = read("graphapi", "profile_insights", {"data": [insight]}).records
    assert [(each.dimension, each.value) for each in found] == [("F.25-34", 12), ("شكرا", 3)]
    assert len({each.insight_id for each in found}) == 2


def test_a_row_of_days_is_a_row_of_numbers() -> None:
    payload, params = recorded("graphapi/user_insights_legacy.json", "graphapi", "profile_insights")
    found = read("graphapi", "profile_insights", payload, **params).records
    assert [(each.ends_at.isoformat(), each.value) for each in found[:2]] == [
        ("2017-05-04T07:00:00+00:00", 4),
        ("2017-05-05T07:00:00+00:00", 66),
    ]
    assert len({each.insight_id for each in found}) == 6


def test_a_total_stands_beside_its_parts() -> None:
    payload, params = recorded("graphapi/user_insights_total_value.json", "graphapi", "profile_insights")
    total, *parts = read("graphapi", "profile_insights", payload, **params).records
    assert (total.value, total.breakdown, total.dimension) == (14_516_883, None, None)
    assert {part.breakdown for part in parts} == {"media_product_type,follow_type"}
    assert next(part.value for part in parts if part.dimension == "AD,FOLLOWER") == 67_608


def test_the_navigation_of_a_story_is_kept_by_the_media_id_alone() -> None:
    results = [{"dimension_values": [way], "value": n} for n, way in enumerate(("tap_forward", "tap_exit"))]
    breakdown = {"dimension_keys": ["story_navigation_action_type"], "results": results}
    data = [{"name": "navigation", "period": "lifetime", "total_value": {"value": 1, "breakdowns": [breakdown]}}]
    found = read("graphapi", "story_navigation", {"data": data}, media_id="123_456").records
    assert [(each.post_id, each.dimension, each.value) for each in found] == [
        ("123", None, 1),
        ("123", "tap_forward", 0),
        ("123", "tap_exit", 1),
    ]


@pytest.mark.parametrize(
    ("insight", "path"),
    [
        ({"period": "day"}, "$.data[0].name"),
        ({"name": "reach", "values": [{"value": -3}]}, "$.data[0].values[0].value"),
        ({"name": "reach", "values": [{"value": {"DE": "many"}}]}, "$.data[0].values[0].value.DE"),
        ({"name": "reach", "values": [{"value": 1, "end_time": "soon"}]}, "$.data[0].values[0].end_time"),
        ({"name": "reach", "total_value": {"value": "x"}}, "$.data[0].total_value.value"),
    ],
)
def test_an_insight_that_cannot_be_is_malformed(insight: Any, path: str) -> None:
    with pytest.raises(Malformed) as refused:
        read("graphapi", "post_insights", {"data": [insight]})
    assert refused.value.path == path


# Lists


def test_the_graph_apis_last_page_has_a_cursor_but_leads_nowhere() -> None:
    cursors = {"before": "a", "after": "b"}
    media = [{"id": "1", "permalink": "https://www.instagram.com/p/CUT8mV0hZtM/"}]
    last = read("graphapi", "own_posts", {"data": media, "paging": {"cursors": cursors}})
    middle = read("graphapi", "own_posts", {"data": media, "paging": {"cursors": cursors, "next": "https://x"}})
    assert (last.next_cursor, middle.next_cursor) == (None, "b")
    assert read("graphapi", "own_posts", {"data": []}).next_cursor is None


def test_who_follows_whom() -> None:
    user = {"id": 7, "username": "Somebody.Else", "full_name": "שלום 🌍", "new_key": {}}
    lists = {"edges": [{"node": user}], "page_info": {"has_next_page": False, "end_cursor": "x"}}
    follower = read("jotucker", "followers_by_id", {"data": {"user": {"edge_followed_by": lists}}})
    followed = read("jotucker", "following_by_id", {"data": {"user": {"edge_follow": lists}}})
    assert follower == read("lama", "followers_by_id", [[{"pk": "7", "username": "somebody.else"}], None])
    assert followed == read("lama", "following_by_id", [[{"pk": "7", "username": "somebody.else"}], ""])
    assert [r.follow_id for r in (*follower.records, *followed.records)] == ["7:123456", "123456:7"]
    assert follower.next_cursor is None


@pytest.mark.parametrize("user", [{"id": "x", "username": "a"}, {"username": "a"}, {"id": "7", "username": ""}])
def test_a_follower_without_a_name_or_an_id_is_malformed(user: Any) -> None:
    with pytest.raises(Malformed) as refused:
        read("lama", "followers_by_id", [[user], None])
    assert refused.value.path.startswith("$[0][0].")


def test_what_answers_a_comment_stands_behind_it() -> None:
    answer = {"node": {"id": "2", "text": "شكرا", "owner": None}}
    edges = [
        {"node": {"id": 1, "text": "🌍", "created_at": 1607919868, "owner": {"id": "9", "username": "A"},
                  "edge_liked_by": {"count": 3}, "edge_threaded_comments": {"edges": [answer]}}},
        {"node": {"id": "3", "text": None}},
    ]  # fmt: skip
    payload = {"data": {"shortcode_media": {"edge_media_to_parent_comment": {"edges": edges}}}}
    found = read("jotucker", "comments_by_shortcode", payload).records
    assert [(c.comment_id, c.parent_id) for c in found] == [("1", None), ("2", "1"), ("3", None)]
    assert (found[0].likes, found[0].handle, found[0].commented_at) == (3, "a", datetime.fromtimestamp(1607919868, UTC))
    assert {c.shortcode for c in found} == {PARAMS["shortcode"]}


def test_a_comment_of_the_graph_api_names_who_it_may() -> None:
    data = [
        {"id": "1", "text": "a", "from": {"id": "9", "username": "Somebody"}, "timestamp": "2020-06-01T10:56:52+0000"},
        {"id": "2", "text": "b", "username": "other", "like_count": "4", "parent_id": "1"},
    ]
    first, second = read("graphapi", "own_comments", {"data": data}, **MEDIA).records
    assert (first.handle, first.post_id, second.handle) == ("somebody", MEDIA["media_id"], "other")
    assert (second.likes, second.parent_id) == (4, "1")


@pytest.mark.parametrize("operation", ["own_post", "own_story"])
def test_another_medium_is_malformed(operation: str) -> None:
    with pytest.raises(Malformed) as refused:
        read("graphapi", operation, {"id": "5", "permalink": "https://www.instagram.com/p/CUT8mV0hZtM/"}, **MEDIA)
    assert refused.value.path == "$.id"


def test_another_account_is_malformed() -> None:
    with pytest.raises(Malformed, match="the answer is of 5"):
        read("graphapi", "own_profile", {"id": 5, "username": "a", "followers_count": 1})


# Somebody else's


def wrapped(shape: str, nodes: list[dict[str, Any]]) -> Any:
    web = {"data": {"user": {"edge_owner_to_timeline_media": {"edges": [{"node": each} for each in nodes]}}}}
    return {"chunk": [nodes, None], "items": {"items": [{"media": each} for each in nodes]}, "web": web}[shape]


POSTS_OF = [
    ("lama", "posts_by_id", "chunk", "user", "$[0][0].user.pk"),
    ("lama", "reels_by_id", "chunk", "user", "$[0][0].user.pk"),
    ("bestsolutions", "posts_by_id", "items", "user", "$.items[0].media.user.pk"),
    ("arraybobo", "reels_by_id", "items", "user", "$.items[0].media.user.pk"),
    ("arraybobo", "posts_by_id", "web", "owner", "$.data.user.edge_owner_to_timeline_media.edges[0].node.owner.id"),
    ("arraybobo", "posts_by_handle", "web", "owner", "$.data.user.edge_owner_to_timeline_media.edges[0].node.owner.id"),
]


@pytest.mark.parametrize(("source", "operation", "shape", "by", "path"), POSTS_OF)
def test_somebody_elses_posts_are_malformed(source: str, operation: str, shape: str, by: str, path: str) -> None:
    other = {"pk": 99, "id": "99", "username": "another"}
    nodes = [{"code": f"AAAAAAAAAA{n}", by: other} for n in range(3)]
    with pytest.raises(Malformed, match="these are of 99") as refused:
        read(source, operation, wrapped(shape, nodes))
    assert refused.value.path == path


@pytest.mark.parametrize(("source", "operation", "shape", "by"), [each[:4] for each in POSTS_OF])
def test_posts_that_several_made_stand_in_the_list_of_each(source: str, operation: str, shape: str, by: str) -> None:
    mine, other = {"pk": "123456", "username": "somebody"}, {"pk": 99, "username": "another"}
    for nodes in (
        [{"code": "AAAAAAAAAA1", by: other, "coauthor_producers": [mine]}],
        [{"code": "AAAAAAAAAA1", by: other}, {"code": "AAAAAAAAAA2", by: mine}],
        [{"code": "AAAAAAAAAA1", by: other}, {"code": "AAAAAAAAAA2"}],
    ):
        first, *more = read(source, operation, wrapped(shape, nodes)).records
        assert (first.profile_id, first.handle) == ("99", "another")
        assert {post.profile_id for post in more} <= {"123456"}


def test_another_accounts_media_at_the_graph_api_are_malformed() -> None:
    answer = {"business_discovery": {"username": "Another", "media": {"data": []}}}
    for operation in ("posts_by_handle", "posts_by_id"):
        with pytest.raises(Malformed) as refused:
            read("graphapi", operation, answer)
        assert refused.value.path == "$.business_discovery.username"


@pytest.mark.parametrize("reel", [{"items": [{"pk": 1}]}, {"items": []}, None])
def test_somebody_elses_stories_are_malformed_though_they_name_nobody(reel: Any) -> None:
    with pytest.raises(Malformed) as refused:
        read("arraybobo", "stories_by_id", {"reels": {"999": reel}})
    assert refused.value.path == "$.reels.999"


def test_the_comments_of_another_post_are_malformed() -> None:
    media = {"shortcode": "AAAAAAAAAAA", "edge_media_to_parent_comment": {"edges": []}}
    for name in ("shortcode_media", "xdt_shortcode_media"):
        with pytest.raises(Malformed) as refused:
            read("jotucker", "comments_by_shortcode", {"data": {name: media}})
        assert refused.value.path == f"$.data.{name}.shortcode"


@pytest.mark.parametrize(
    ("operation", "ours"),
    [
        ("profile_insights", PARAMS["user_id"]),
        ("post_insights", PARAMS["media_id"]),
        ("story_insights", PARAMS["media_id"]),
        ("story_navigation", PARAMS["media_id"]),
    ],
)
def test_anothers_insights_are_malformed(operation: str, ours: str) -> None:
    insight = {"name": "reach", "period": "day", "values": [{"value": 3}]}
    assert read("graphapi", operation, {"data": [insight | {"id": f"{ours}/insights/reach/day"}]}).records
    with pytest.raises(Malformed) as refused:
        read("graphapi", operation, {"data": [insight, insight | {"id": "99/insights/reach/day"}]})
    assert refused.value.path == "$.data[1].id"


@pytest.mark.parametrize("followers", [{"followers_count": ""}, {"followers_count": None}, {}])
def test_an_account_of_the_graph_api_without_its_follower_count_is_malformed(followers: dict[str, Any]) -> None:
    account = {"id": "1", "username": "somebody", **followers}
    for operation, payload, at in (
        ("profile_by_handle", {"business_discovery": account}, "$.business_discovery"),
        ("own_profile", account, "$"),
    ):
        with pytest.raises(Malformed) as refused:
            read("graphapi", operation, payload, user_id="1")
        assert refused.value.path == f"{at}.followers_count"


# Said otherwise


def post_of(source: str, node: dict[str, Any]) -> InstagramPost:
    named = {"shortcode" if source == "arraybobo" else "code": "CUT8mV0hZtM", **node}
    payload = named if source == "arraybobo" else {"items": [named]}
    (post,) = read(source, "post_by_shortcode", payload).records
    assert isinstance(post, InstagramPost)
    return post


@pytest.mark.parametrize("hidden", [-1, "-1"])
def test_a_count_that_is_hidden_refuses_nothing_else(hidden: Any) -> None:
    counts = dict.fromkeys(("like_count", "comment_count", "view_count", "play_count"), hidden)
    post = post_of("jotucker", {**counts, "media_type": 1})
    assert (post.likes, post.comments, post.views, post.plays, post.post_type) == (None, None, None, None, "image")
    (own,) = read(
        "graphapi", "own_posts", {"data": [{"id": "1", "shortcode": "CUT8mV0hZtM", "like_count": hidden}]}
    ).records
    assert own.likes is None
    (story,) = read(
        "arraybobo", "stories_by_id", {"reels": {"123456": {"items": [{"pk": 1, "like_count": hidden}]}}}
    ).records
    assert story.likes is None


@pytest.mark.parametrize("hidden", [-1, "-1", ""])
def test_the_followers_of_an_account_cannot_be_hidden(hidden: Any) -> None:
    user = {"pk": 123456, "username": "somebody", "follower_count": hidden}
    with pytest.raises(Malformed) as refused:
        read("jotucker", "profile_by_id", {"user": user})
    assert refused.value.path == "$.user.follower_count"


def test_kinds_and_flags_may_be_text_or_numbers() -> None:
    assert post_of("jotucker", {"media_type": "2"}).post_type == "reels"
    user = {
        "pk": "",
        "pk_id": "123456",
        "username": "somebody",
        "follower_count": 1,
        "account_type": "2",
        "is_private": 1,
    }
    (account,) = read("jotucker", "profile_by_id", {"user": user}).records
    assert (account.profile_id, account.account_type, account.is_private) == ("123456", "business", True)
    page = {"items": [{"code": "CUT8mV0hZtM"}], "next_max_id": "next"}
    assert read("bestsolutions", "posts_by_id", page | {"more_available": 1}).next_cursor == "next"
    assert read("bestsolutions", "posts_by_id", page | {"more_available": 0}).next_cursor is None


def test_the_graph_apis_id_may_be_empty_and_its_time_a_number() -> None:
    media = {"id": "1", "ig_id": "", "permalink": "https://www.instagram.com/p/CUT8mV0hZtM/", "timestamp": 1591008972}
    (post,) = read("graphapi", "own_posts", {"data": [media]}).records
    assert post.taken_at == datetime.fromtimestamp(1591008972, UTC)
    account = {"id": "1", "ig_id": "", "username": "somebody", "followers_count": 3}
    (found,) = read("graphapi", "own_profile", account, user_id="1").records
    assert found.profile_id == "graph:1"


def test_lists_that_are_null_hold_nothing() -> None:
    assert post_of("arraybobo", {"edge_media_to_caption": {"edges": None}}).caption is None
    timeline = {"count": 3, "edges": None}
    user = {
        "id": "123456",
        "username": "somebody",
        "edge_followed_by": {"count": 1},
        "edge_owner_to_timeline_media": timeline,
    }
    (account,) = read("lama", "profile_by_handle", {"graphql": {"user": user}}).records
    assert account.media_count == 3
    with pytest.raises(Malformed) as refused:  # where the list is what was asked for
        read("arraybobo", "posts_by_id", {"data": {"user": {"edge_owner_to_timeline_media": timeline}}})
    assert refused.value.path == "$.data.user.edge_owner_to_timeline_media.edges"


def test_a_video_of_the_web_is_one_also_without_its_typename() -> None:
    assert post_of("arraybobo", {"is_video": True}).post_type == "reels"
    assert post_of("arraybobo", {"is_video": False}).post_type is None


def test_a_post_of_the_web_of_2016_keeps_its_counts_and_its_date() -> None:
    post = post_of(
        "arraybobo", {"likes": {"count": 7}, "comments": {"count": "2"}, "date": 1460000000, "caption": "old"}
    )
    assert (post.likes, post.comments, post.caption) == (7, 2, "old")
    assert post.taken_at == datetime.fromtimestamp(1460000000, UTC)
    assert post_of("jotucker", {"likes": 7, "comments": []}).likes is None


@pytest.mark.parametrize("within", [lambda reels: reels, lambda reels: {"reels_media": reels}], ids=["list", "object"])
def test_stories_of_todays_web_are_read(within: Any) -> None:
    reels = [
        {"id": "123456", "user": {"pk": "123456", "username": "somebody"}, "items": [{"pk": "5", "media_type": 1}]}
    ]
    payload = {"data": {"xdt_api__v1__feed__reels_media": within(reels)}}
    (story,) = read("arraybobo", "stories_by_id", payload).records
    assert (story.story_id, story.handle, story.media_type) == ("5", "somebody", "image")
    reels[0]["user"] = {"pk": "99"}
    with pytest.raises(Malformed, match="the answer is of 99"):
        read("arraybobo", "stories_by_id", payload)


def test_lamas_second_version_wraps_what_it_passes_on() -> None:
    reel = {"user": {"pk": 123456, "username": "somebody"}, "items": [{"pk": "5"}]}
    assert read("lama", "stories_by_id", {"response": {"reel": reel}}).records[0].story_id == "5"
    users = {"response": {"users": [{"pk": "7", "username": "other"}], "next_max_id": "a"}, "next_page_id": None}
    follows = read("lama", "followers_by_id", users)
    assert (follows.records[0].follower_id, follows.next_cursor) == ("7", "a")
    assert read("lama", "followers_by_id", users | {"next_page_id": "b"}).next_cursor == "b"
    medias = [{"media": {"code": "CUT8mV0hZtM"}}, {"media": {"code": "CUT8mV0hZtN"}}]
    rows = {"sections": [{"layout_content": {"medias": medias}}, {"layout_content": None}], "more_available": True}
    found = read("lama", "hashtag_posts", {"response": rows, "next_page_id": "c"})
    assert ([post.shortcode for post in found.records], found.next_cursor) == (["CUT8mV0hZtM", "CUT8mV0hZtN"], "c")
    inner = {"response": {"items": [{"code": "CUT8mV0hZtM"}], "next_max_id": "d"}}
    assert read("lama", "tagged_by_id", inner).next_cursor == "d"
    rows["sections"][0] = {"layout_content": {"medias": [{"media": {"code": "no"}}]}}
    with pytest.raises(Malformed) as refused:
        read("lama", "hashtag_posts", {"response": rows})
    assert refused.value.path == "$.response.sections[0].layout_content.medias[0].media.code"
