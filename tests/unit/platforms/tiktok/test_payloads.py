"""TikTok's values: counts that are hidden, rounded or text, ids that are numbers or text, and what cannot be, with its path."""

import json
from typing import Any

import msgspec
import pytest

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import FetchSpec, Parsed
from beat_actors.platforms.reading import duration
from beat_actors.platforms.tiktok import TikTokAccount, TikTokComment, TikTokPost, platform
from beat_actors.platforms.tiktok.payloads import next_cursor, url
from tests.conftest import FIXTURES

RECORDED = FIXTURES / "tiktok"
POST_ID = "7000000000000000001"
HANDLES = {"tikwm": "emnankuao60", "api23": "notdsa"}


def recorded(path: str) -> Any:
    return json.loads((RECORDED / f"{path}.json").read_text())


def parsed(source: str, operation: str, payload: Any, **params: str) -> Parsed:
    spec = FetchSpec(operation, params, source=source)
    return platform.sources[source].endpoints[operation].parse(msgspec.json.encode(payload), spec)


def changed(thing: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`...` takes a key away."""
    return {key: value for key, value in {**thing, **changes}.items() if value is not ...}


def profile(source: str, user: dict[str, Any] | None = None, /, **info: Any) -> TikTokAccount:
    payload = recorded("tikwm/tikwm_user_info" if source == "tikwm" else "web/user")
    about = payload["data" if source == "tikwm" else "userInfo"]
    about["user"] = changed(about["user"], user or {})
    about |= info
    for name in [name for name, value in about.items() if value is ...]:
        del about[name]
    (record,) = parsed(source, "profile_by_handle", payload, handle=HANDLES[source]).records
    assert isinstance(record, TikTokAccount)
    return record


def tikwm_post(alone: bool = False, **changes: Any) -> TikTokPost:
    if alone:
        payload = recorded("tikwm/tikwm_api")
        payload["data"] = changed(payload["data"], changes)
        (record,) = parsed("tikwm", "post_by_id", payload, post_id=POST_ID).records
    else:
        payload = recorded("tikwm/tikwm_user_posts")
        payload["data"]["videos"] = [changed(payload["data"]["videos"][0], {"video_id": POST_ID, **changes})]
        (record,) = parsed("tikwm", "posts_by_id", payload, profile_id="42").records
    assert isinstance(record, TikTokPost)
    return record


def web_post(**changes: Any) -> TikTokPost:
    item = changed(recorded("web/listV2")["items"][0], changes)
    (record,) = parsed("api23", "posts_by_id", {"itemList": [item], "hasMore": False}, profile_id="844863").records
    assert isinstance(record, TikTokPost)
    return record


def test_s10_3_recorded_profiles_are_kept_whole() -> None:
    account = profile("tikwm")
    assert (account.profile_id, account.handle, account.full_name) == ("7383554383977046352", "emnankuao60", "ごぜゃゕ")
    assert (account.followers, account.following, account.likes, account.media_count) == (207900, 262, 1400000, 191)
    assert (account.is_private, account.is_verified) == (False, False)
    assert account.external_url == "https://www.example.com/zncchrc77"
    assert account.sec_uid.startswith("WR8f")
    assert account.biography.startswith("【母旟抓稻🐼】\n→ → →")
    assert account.profile_pic_url.startswith("https://p16-sign-sg.tiktokcdn.com/wxfvt/")
    account = profile("api23")
    assert (account.profile_id, account.followers, account.likes, account.is_verified) == (
        "844863",
        48300000,
        241100000,
        True,
    )


@pytest.mark.parametrize("source", HANDLES)
def test_counts_are_taken_to_the_last_digit_where_the_answer_has_them(source: str) -> None:
    shown = {"followerCount": 427700, "heartCount": -1815967296, "videoCount": 1605, "followingCount": 176}
    exact = {"followerCount": "427682", "heartCount": "6764096123", "heart": "6764096123", "videoCount": "1605"}
    account = profile(source, stats=shown, statsV2=exact)
    assert (account.followers, account.likes, account.media_count, account.following) == (427682, 6764096123, 1605, 176)
    assert profile(source, stats=..., statsV2=exact).followers == 427682
    assert profile(source, stats={"followerCount": "12"}, statsV2={}).followers == 12
    assert profile(source, stats={"followerCount": 12, "heart": 7}, statsV2=None).likes == 7


@pytest.mark.parametrize("source", HANDLES)
@pytest.mark.parametrize("hidden", [None, ""])
def test_what_is_hidden_is_unknown_and_not_zero(source: str, hidden: Any) -> None:
    account = profile(source, stats={"followerCount": hidden, "followingCount": hidden})
    assert (account.followers, account.following, account.likes) == (None, None, None)


@pytest.mark.parametrize("source", HANDLES)
def test_what_is_optional_may_be_absent_null_or_new(source: str) -> None:
    user = {"id": 7, "uniqueId": HANDLES[source].upper(), "nickname": "שלום 🌍 \0", "signature": None, "invented": [1]}
    gone = {"bioLink": None, "secUid": ..., "avatarLarger": "", "avatarMedium": None, "avatarThumb": "//p16/a.jpeg"}
    account = profile(source, {**user, **gone, "verified": ..., "privateAccount": ..., "secret": True})
    assert (account.profile_id, account.handle, account.full_name) == ("7", HANDLES[source], "שלום 🌍 �")
    assert (account.biography, account.external_url, account.sec_uid) == (None, None, None)
    assert (account.is_private, account.is_verified) == (True, None)
    assert account.profile_pic_url == "https://p16/a.jpeg"


@pytest.mark.parametrize(("source", "at"), [("tikwm", "$.data"), ("api23", "$.userInfo")])
@pytest.mark.parametrize(
    ("user", "info", "path"),
    [
        ({"id": ...}, {}, "user.id"),
        ({"id": ""}, {}, "user.id"),
        ({"id": -1}, {}, "user.id"),
        ({"id": {}}, {}, "user.id"),
        ({"uniqueId": ...}, {}, "user.uniqueId"),
        ({"uniqueId": "two words"}, {}, "user.uniqueId"),
        ({"uniqueId": "x\0"}, {}, "user.uniqueId"),
        ({"verified": "yes"}, {}, "user.verified"),
        ({}, {"user": ...}, "user"),
        ({}, {"stats": ...}, "stats.followerCount"),
        ({}, {"stats": {}}, "stats.followerCount"),
        ({}, {"stats": {"followerCount": -5}}, "stats.followerCount"),
        ({}, {"stats": {"followerCount": "many"}}, "stats.followerCount"),
        ({}, {"stats": {"followerCount": []}}, "stats.followerCount"),
        ({}, {"stats": {"followerCount": 1, "heartCount": -5}}, "stats.heartCount"),
        ({}, {"statsV2": {"followerCount": "-5"}}, "statsV2.followerCount"),
    ],
)
def test_s6_9_an_account_that_cannot_be_is_malformed_with_its_path(
    source: str, at: str, user: dict[str, Any], info: dict[str, Any], path: str
) -> None:
    with pytest.raises(Malformed) as refused:
        profile(source, user, **info)
    assert refused.value.path == f"{at}.{path}"


@pytest.mark.parametrize("source", HANDLES)
def test_somebody_elses_answer_is_malformed(source: str) -> None:
    with pytest.raises(Malformed, match="the answer is of"):
        profile(source, {"uniqueId": "somebody.else"})


def test_s10_3_a_recorded_post_is_kept_whole() -> None:
    post = tikwm_post()
    assert (post.post_id, post.profile_id, post.handle, post.post_type) == (POST_ID, "42", "emnankuao60", "video")
    assert (post.likes, post.comments, post.views, post.shares, post.saves) == (324, 14, 7064, None, None)
    assert (post.region, post.caption) == ("JP", "スメァッ朑ぱケモテツじまゑねおわぴ？🤭💕")
    assert post.taken_at.isoformat() == "2021-12-12T12:38:44+00:00"
    assert post.permalink == f"https://www.tiktok.com/@emnankuao60/video/{POST_ID}"
    post = web_post()
    assert (post.post_id, post.profile_id, post.handle) == ("1175103047869201094", "844863", "notdsa")
    assert (post.likes, post.comments, post.views, post.shares) == (85700, 16600, 853600, 680)
    assert (post.video_duration, post.music_title, post.music_id) == (59.0, "trdrmmoi umimr", "3630983195679013097")
    assert post.thumbnail_url.startswith("https://p16-sign-sg.tiktokcdn.com/")


def test_the_webs_oldest_list_is_read_too() -> None:
    found = parsed("api23", "posts_by_id", recorded("web/list"), profile_id="1610688")
    first = found.records[0]
    assert isinstance(first, TikTokPost)
    assert (first.post_id, first.profile_id, first.handle) == ("7913517437852169044", "1610688", "nutulrimaolir")
    assert (first.likes, first.comments, first.views, first.shares) == (1563781, 46142, 5893701, 6728)
    assert (first.video_duration, first.music_title, first.caption) == (15.0, "KIALRD TI IK... ALUMMTLR", "")
    assert first.thumbnail_url.startswith("https://p16-va-default.akamaized.net/ycc/")
    assert first.taken_at is not None


@pytest.mark.parametrize("images", [["https://p16/1.jpeg", "https://p16/2.jpeg"], []])
def test_a_post_of_pictures_is_no_video(images: list[str]) -> None:
    post_type = "photo" if images else "video"
    post = tikwm_post(images=images, duration=0)
    assert (post.post_type, post.video_duration) == (post_type, None)
    assert post.permalink == f"https://www.tiktok.com/@emnankuao60/{post_type}/{POST_ID}"
    web = web_post(
        imagePost={"title": "", "images": []} if images else None, video={"duration": 0, "cover": "", "playAddr": ""}
    )
    assert (web.post_type, web.video_duration, web.thumbnail_url, web.media_url) == (post_type, None, None, None)


def test_a_posts_counts_may_be_text_hidden_or_new() -> None:
    post = tikwm_post(digg_count="0012", play_count=None, share_count="3", collect_count=4, comment_count=..., new=1)
    assert (post.likes, post.views, post.shares, post.saves, post.comments) == (12, None, 3, 4, None)
    exact = {"diggCount": "85712", "playCount": "853601", "collectCount": "9"}
    web = web_post(stats={"diggCount": 85700, "shareCount": 680}, statsV2=exact, author="notdsa", authorId="844863")
    assert (web.likes, web.views, web.shares, web.saves, web.comments) == (85712, 853601, 680, 9, None)
    assert (web.handle, web.profile_id) == ("notdsa", "844863")
    bare = web_post(stats=..., author=..., video=None, music=None, desc=None, createTime="1609464681")
    assert (bare.likes, bare.handle, bare.permalink, bare.caption) == (None, None, None, None)
    assert bare.taken_at.isoformat() == "2021-01-01T01:31:21+00:00"


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"video_id": ...}, "video_id"),
        ({"video_id": None}, "video_id"),
        ({"video_id": "v09044g40000"}, "video_id"),
        ({"video_id": 0}, "video_id"),
        ({"author": ...}, "author"),
        ({"author": {"unique_id": "x y"}}, "author.unique_id"),
        ({"author": {"unique_id": "x", "id": "y"}}, "author.id"),
        ({"author": {"unique_id": "x", "id": "43"}}, "author.id"),
        ({"digg_count": -1}, "digg_count"),
        ({"play_count": "lots"}, "play_count"),
        ({"images": "none"}, "images"),
    ],
)
def test_s6_9_a_post_that_cannot_be_is_malformed_with_its_path(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(Malformed) as refused:
        tikwm_post(**changes)
    assert refused.value.path in (f"$.data.videos[0].{path}", f"$.data.videos[...].{path}")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"id": ...}, "id"),
        ({"id": "abc"}, "id"),
        ({"author": {"id": "1", "uniqueId": "x"}}, "author.id"),
        ({"stats": {"diggCount": -1}}, "stats.diggCount"),
        ({"statsV2": {"playCount": "-7"}}, "statsV2.playCount"),
        ({"music": {"id": "song"}}, "music.id"),
    ],
)
def test_s6_9_a_post_of_the_web_that_cannot_be_is_malformed_with_its_path(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(Malformed) as refused:
        web_post(**changes)
    assert refused.value.path in (f"$.itemList[0].{path}", f"$.itemList[...].{path}")


def test_s6_10_a_recorded_list_without_ids_is_bad_and_says_where() -> None:
    """As it was recorded: the sample is older than the field."""
    with pytest.raises(Malformed) as refused:
        parsed("tikwm", "posts_by_id", recorded("tikwm/tikwm_user_posts"), profile_id="42")
    assert refused.value.path == "$.data.videos[0].video_id"


def test_one_post_is_the_one_that_was_asked_for() -> None:
    assert tikwm_post(alone=True).post_id == POST_ID
    assert tikwm_post(alone=True, id=int(POST_ID)).post_id == POST_ID
    for elsewhere in ({"id": "1"}, {"id": "x"}):
        with pytest.raises(Malformed) as refused:
            tikwm_post(alone=True, **elsewhere)
        assert refused.value.path == "$.data.id"
    item = recorded("web/listV2")["items"][0]
    with pytest.raises(Malformed, match="the answer is of 1175103047869201094"):
        parsed("api23", "post_by_id", {"itemInfo": {"itemStruct": item}}, post_id=POST_ID)


def test_a_recorded_comment_is_kept() -> None:
    found = parsed("tikwm", "comments_by_post", recorded("tikwm/tikwm_comment_list"), post_id=POST_ID)
    (comment,) = found.records
    assert isinstance(comment, TikTokComment)
    assert (comment.comment_id, comment.post_id, comment.handle) == ("7478765677004011531", POST_ID, "tdutnmddeii")
    assert (comment.likes, comment.replies, comment.profile_id) == (3688, 106, "8905587592914333671")
    assert found.next_cursor == "1"


@pytest.mark.parametrize(
    ("page", "cursor"),
    [
        ({"hasMore": True, "cursor": 1700000000000}, "1700000000000"),
        ({"hasMore": 1, "cursor": "17"}, "17"),
        ({"hasMore": True, "maxCursor": "17"}, "17"),
        ({"hasMore": False, "cursor": "17"}, None),
        ({"hasMore": True, "cursor": "-1"}, None),
        ({"hasMore": True, "cursor": "0"}, None),
        ({"hasMore": True}, None),
        ({"cursor": "17"}, None),
    ],
)
def test_the_last_page_is_known_by_what_it_says(page: dict[str, Any], cursor: str | None) -> None:
    for answer in ({"itemList": [], **page}, {"data": {"itemList": [], **page}}, {"items": [], **page}):
        assert parsed("api23", "posts_by_id", answer, profile_id="1").next_cursor == cursor


def test_an_account_that_posted_nothing_has_a_page_that_ends_and_nothing_else_is_one() -> None:
    assert parsed("api23", "posts_by_id", {"data": {"hasMore": False, "cursor": "0"}}, profile_id="1").records == []
    for answer in ({}, {"hasMore": True}, {"data": {}}, {"statusCode": 0}):
        with pytest.raises(Malformed, match="without its posts"):
            parsed("api23", "posts_by_id", answer, profile_id="1")


def test_small_values() -> None:
    assert [duration(value) for value in (12, "7", 0.5, 0, None, "", "long", -3, float("inf"))] == [
        12.0, 7.0, 0.5, None, None, None, None, None, None,
    ]  # fmt: skip
    assert url(None, "", "/video/cover/1.jpeg", "javascript:x", "https://p16/x") == "https://p16/x"
    assert url("ftp://x") is None
    assert next_cursor("", True) is None


# Somebody else's


@pytest.mark.parametrize(
    ("source", "payload", "path"),
    [
        (
            "tikwm",
            {"data": {"videos": [{"video_id": "1", "author": {"unique_id": "another"}}]}},
            "$.data.videos[0].author.unique_id",
        ),
        (
            "api23",
            {"itemList": [{"id": "1", "author": {"uniqueId": "another"}}], "hasMore": False},
            "$.itemList[0].author.uniqueId",
        ),
        ("api23", {"itemList": [{"id": "1", "author": "another"}], "hasMore": False}, "$.itemList[0].author.uniqueId"),
        (
            "api23",
            {"body": {"itemListData": [{"itemInfos": {"id": "1"}, "authorInfos": {"uniqueId": "another"}}]}},
            "$.body.itemListData[0].itemInfos.uniqueId",
        ),
    ],
)
def test_somebody_elses_posts_are_malformed_though_they_name_no_id(source: str, payload: Any, path: str) -> None:
    with pytest.raises(Malformed) as refused:
        parsed(source, "posts_by_id", payload, handle="somebody", profile_id="42", sec_uid="x")
    assert refused.value.path == path
    (post,) = parsed(source, "posts_by_id", payload, handle="Another", profile_id="42", sec_uid="x").records
    assert (post.profile_id, post.handle) == ("42", "another")


def test_the_comments_on_another_post_are_malformed() -> None:
    payload = recorded("tikwm/tikwm_comment_list")
    payload["data"]["comments"][0]["video_id"] = int(POST_ID)
    assert parsed("tikwm", "comments_by_post", payload, post_id=POST_ID).records
    with pytest.raises(Malformed) as refused:
        parsed("tikwm", "comments_by_post", payload, post_id="7")
    assert refused.value.path == "$.data.comments[0].video_id"


def web_comments(**more: Any) -> dict[str, Any]:
    """The recorded comment in the names of TikTok's own web."""
    (told,) = recorded("tikwm/tikwm_comment_list")["data"]["comments"]
    user = {"uid": told["user"]["id"], "unique_id": told["user"]["unique_id"]}
    numbers = {"digg_count": told["digg_count"], "reply_comment_total": told["reply_total"]}
    comment = {
        "cid": told["id"],
        "aweme_id": POST_ID,
        "text": told["text"],
        "create_time": told["create_time"],
        "user": user,
    }
    return {"status_code": 0, "comments": [comment | numbers], "cursor": 50, "has_more": 1} | more


@pytest.mark.parametrize("wrap", [lambda page: page, lambda page: {"data": page}], ids=["root", "data"])
def test_the_webs_comments_are_those_of_the_other_source(wrap: Any) -> None:
    (known,) = parsed("tikwm", "comments_by_post", recorded("tikwm/tikwm_comment_list"), post_id=POST_ID).records
    found = parsed("api23", "comments_by_post", wrap(web_comments()), post_id=POST_ID)
    assert (list(found.records), found.next_cursor) == ([known], "50")
    assert parsed("api23", "comments_by_post", wrap(web_comments(has_more=0)), post_id=POST_ID).next_cursor is None


def test_a_post_without_comments_has_none_and_a_page_without_a_list_is_malformed() -> None:
    assert parsed("api23", "comments_by_post", {"comments": None, "has_more": 0}, post_id=POST_ID).records == []
    for page in ({}, {"has_more": 1}, {"data": {"cursor": 3}}):
        with pytest.raises(Malformed):
            parsed("api23", "comments_by_post", page, post_id=POST_ID)
    with pytest.raises(Malformed) as refused:
        parsed("api23", "comments_by_post", web_comments(), post_id="7")
    assert refused.value.path == "$.comments[0].aweme_id"


@pytest.mark.parametrize("source", ["tikwm", "api23"])
def test_yes_and_no_may_be_1_and_0(source: str) -> None:
    record = profile(source, {"verified": 1, "secret": 0, "privateAccount": ...})
    assert (record.is_verified, record.is_private) == (True, False)
