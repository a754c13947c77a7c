"""YouTube's values: counts that are text or hidden, videos that are gone, live or to come, and what is optional everywhere."""

import json
from typing import Any

import msgspec
import pytest

from beat_actors.errors import Malformed, Missing
from beat_actors.platforms.interface import FetchSpec, Parsed
from beat_actors.platforms.youtube import platform
from tests.conftest import FIXTURES

RECORDED = FIXTURES / "youtube/ytapi"
ENDPOINTS = platform.sources["ytapi"].endpoints
CHANNEL = "ZK_t6PQ7NL9K8pYD6IJV5Tzg"
VIDEO = "D-bmsgyNrCY"
COMMENTED = "S3KL3oKQDZ8"


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text())


def read(operation: str, payload: Any, **params: Any) -> Parsed:
    return ENDPOINTS[operation].parse(msgspec.json.encode(payload), FetchSpec(operation, params))


def changed(item: Any, changes: dict[str, Any]) -> Any:
    """The item with parts of it replaced (`snippet.title`), or left out where the value is `...`."""
    item = json.loads(json.dumps(item))
    for path, value in changes.items():
        *parts, last = path.split(".")
        at = item
        for part in parts:
            at = at.setdefault(part, {})
        if value is ...:
            at.pop(last, None)
        else:
            at[last] = value
    return item


def channel(**changes: Any) -> Any:
    item = changed(recorded("channels_list_single_b")["items"][0], changes)
    (record,) = read("profile_by_id", {"items": [item]}, profile_id=str(item.get("id"))).records
    return record


def video(**changes: Any) -> Any:
    item = changed(recorded("videos_list_single")["items"][0], changes)
    (record,) = read("post_by_id", {"items": [item]}, post_id=str(item.get("id"))).records
    return record


def listing(*items: Any) -> Parsed:
    return read("posts_by_playlist", {"items": list(items)})


def test_a_recorded_channel_is_read() -> None:
    record = channel()
    assert (record.profile_id, record.handle, record.full_name) == (CHANNEL, "midoimslksseinul", "Skmrla Dnmnakaeua")
    assert (record.followers, record.media_count, record.views) == (1_927_873, 5_026, 696_786_642)
    assert (record.country, record.is_followers_hidden) == ("US", False)
    assert record.published_at.isoformat() == "2007-08-23T00:34:43+00:00"
    assert "=n236-" in record.profile_pic_url  # the largest
    assert record.uploads_playlist_id is None


def test_a_channels_uploads_are_named() -> None:
    item = recorded("channels_list_multi")["items"][0]
    (record,) = read("profile_by_id", {"items": [item]}, profile_id=item["id"]).records
    assert record.uploads_playlist_id == "UUK8sQmJBp8GCxrOtXWBpyEA"
    assert channel(**{"contentDetails.relatedPlaylists.uploads": ""}).uploads_playlist_id is None


def test_hidden_subscribers_are_unknown_and_not_none_at_all() -> None:
    for number in ("0", "5", ...):
        record = channel(**{"statistics.hiddenSubscriberCount": True, "statistics.subscriberCount": number})
        assert (record.followers, record.is_followers_hidden) == (None, True)
    assert channel(**{"statistics.subscriberCount": "0"}).followers == 0


@pytest.mark.parametrize("said", [12, "12", 12.0])
def test_a_count_may_be_text_or_a_number(said: Any) -> None:
    assert channel(**{"statistics.videoCount": said}).media_count == 12


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"id": ...}, "$.items[0].id"),
        ({"id": ""}, "$.items[0].id"),
        ({"id": "two words"}, "$.items[0].id"),
        ({"statistics.subscriberCount": "many"}, "$.items[0].statistics.subscriberCount"),
        ({"statistics.subscriberCount": -1}, "$.items[0].statistics.subscriberCount"),
        ({"statistics.subscriberCount": ...}, "$.items[0].statistics.subscriberCount"),
        ({"statistics.subscriberCount": ""}, "$.items[0].statistics.subscriberCount"),
        ({"statistics": ...}, "$.items[0].statistics.subscriberCount"),
        ({"statistics": None}, "$.items[0].statistics.subscriberCount"),
        ({"statistics.viewCount": "1" * 30}, "$.items[0].statistics.viewCount"),
        ({"statistics.videoCount": {"value": 1}}, "$.items[0].statistics.videoCount"),
        ({"snippet": "text"}, "$.items[0].snippet"),
    ],
)
def test_what_cannot_be_is_malformed_with_its_path(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(Malformed) as refused:
        channel(**changes)
    assert refused.value.path == path


def test_what_is_optional_may_be_null_absent_or_new() -> None:
    record = channel(
        **{
            "snippet.title": "🎬 קולנוע \0",
            "snippet.description": None,
            "snippet.customUrl": ...,
            "snippet.thumbnails": {"default": None, "medium": {"width": 1}},
            "snippet.publishedAt": "long ago",
            "status": None,
            "invented": [1],
        }
    )
    assert (record.full_name, record.biography, record.handle) == ("🎬 קולנוע �", None, None)
    assert (record.profile_pic_url, record.published_at, record.privacy_status) == (None, None, None)
    bare = channel(snippet=...)
    assert (bare.profile_id, bare.full_name) == (CHANNEL, None)
    assert video(snippet=None, id="12345678901").post_id == "12345678901"
    assert read("post_by_id", {"items": [{"id": 12345678901}]}, post_id="12345678901").records


def test_a_recorded_video_is_read() -> None:
    record = video(
        **{
            "contentDetails.duration": "PT4M13S",
            "statistics": {"viewCount": "64000", "likeCount": "312", "commentCount": "9", "favoriteCount": "0"},
            "status": {"privacyStatus": "public", "madeForKids": False},
        }
    )
    assert (record.post_id, record.profile_id, record.channel_title) == (VIDEO, CHANNEL, "Skmrla Dnmnakaeua")
    assert (record.views, record.likes, record.comments, record.video_duration) == (64_000, 312, 9, 253)
    assert (record.category_id, record.language, record.audio_language) == ("28", "en", "en")
    assert record.taken_at.isoformat() == "2019-03-21T20:37:49+00:00"
    assert len(record.tags) == 12
    assert record.thumbnail_url.endswith("tuyohknmvomhp.jpg")  # maxres
    assert (record.broadcast, record.privacy_status, record.is_made_for_kids) == ("none", "public", False)
    assert (record.scheduled_at, record.started_at, record.concurrent_viewers) == (None, None, None)


def test_hidden_likes_and_comments_that_are_off_are_unknown() -> None:
    record = video(statistics={"viewCount": "1"})
    assert (record.views, record.likes, record.comments) == (1, None, None)


def test_a_livestream_is_read_while_it_runs() -> None:
    live = {"actualStartTime": "2025-01-01T12:00:00Z", "concurrentViewers": "77", "activeLiveChatId": "x"}
    record = video(
        **{
            "snippet.liveBroadcastContent": "live",
            "contentDetails.duration": "P0D",
            "liveStreamingDetails": live,
            "statistics": {"viewCount": "1000", "likeCount": "5"},
        }
    )
    assert (record.broadcast, record.concurrent_viewers, record.video_duration) == ("live", 77, None)
    assert (record.started_at.isoformat(), record.ended_at) == ("2025-01-01T12:00:00+00:00", None)


def test_a_premiere_that_is_to_come_has_a_time_and_no_duration() -> None:
    record = video(
        **{
            "snippet.liveBroadcastContent": "upcoming",
            "contentDetails": {},
            "liveStreamingDetails": {"scheduledStartTime": "2025-01-01T12:00:00Z"},
            "statistics": ...,
        }
    )
    assert (record.broadcast, record.video_duration, record.views) == ("upcoming", None, None)
    assert record.scheduled_at.isoformat() == "2025-01-01T12:00:00+00:00"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("PT4M13S", 253),
        ("PT1H", 3_600),
        ("P1DT2H3M4S", 93_784),
        ("P1W", 604_800),
        ("PT0.5S", 0.5),
        ("P0D", None),
        ("PT0S", None),
        ("P", None),
        ("", None),
        (None, None),
        ("four minutes", None),
        ("PT٤M", None),
        ("PT" + "9" * 400 + "S", None),
    ],
)
def test_a_duration_is_in_seconds(said: Any, seconds: float | None) -> None:
    assert video(**{"contentDetails.duration": said}).video_duration == seconds


@pytest.mark.parametrize("payload", [{}, {"kind": "youtube#channelListResponse"}, {"pageInfo": {"totalResults": 3}}])
def test_an_answer_without_items_is_nothing_only_if_it_says_so(payload: Any) -> None:
    with pytest.raises(Malformed) as refused:
        read("profile_by_id", payload, profile_id=CHANNEL)
    assert refused.value.path == "$.items"
    for nothing in ({"pageInfo": {"totalResults": 0}}, {"pageInfo": {"totalResults": "0"}}, {"items": []}):
        with pytest.raises(Missing):
            read("profile_by_id", nothing, profile_id=CHANNEL)
        with pytest.raises(Missing):
            read("post_by_id", nothing, post_id=VIDEO)
        assert read("posts_by_ids", nothing, post_ids=[VIDEO]) == Parsed([])
        assert read("comments_by_post", nothing, post_id=VIDEO) == Parsed([])
        assert read("replies_by_comment", nothing, post_id=VIDEO, comment_id="c1") == Parsed([])
        assert read("posts_by_playlist", nothing) == Parsed([], None, [])


def test_somebody_elses_answer_is_malformed() -> None:
    payload = recorded("channels_list_single_b")
    assert read("profile_by_handle", payload, handle="MidoImslksseinul").records
    assert read("profile_by_username", payload, username="somebody").records
    for operation, params, path in (
        ("profile_by_id", {"profile_id": "UC" + "x" * 22}, "$.items[0].id"),
        ("profile_by_handle", {"handle": "other"}, "$.items[0].snippet.customUrl"),
    ):
        with pytest.raises(Malformed, match="the answer is of") as refused:
            read(operation, payload, **params)
        assert refused.value.path == path
    videos = recorded("videos_list_multi")
    with pytest.raises(Malformed, match="nobody asked") as refused:
        read("posts_by_ids", videos, post_ids=[VIDEO])
    assert refused.value.path == "$.items[1].id"


def test_of_many_videos_those_that_are_gone_are_left_out() -> None:
    parsed = read("posts_by_ids", recorded("videos_list_multi"), post_ids=[VIDEO, "x" * 11, "wcspynOAR5J"])
    assert [record.post_id for record in parsed.records] == [VIDEO, "wcspynOAR5J"]


def test_a_recorded_playlist_names_its_videos() -> None:
    first, second = (read("posts_by_playlist", recorded(f"playlistItems_p{n}")) for n in (1, 2))
    assert (len(first.listed), first.next_cursor, first.records) == (10, "CAoQAA", [])
    assert (second.listed, second.next_cursor) == (["2wKN6RmdduW", "WITsWLVVX1b", "Pq1ylyyubrN"], None)


def item(post_id: str, **changes: Any) -> Any:
    whole = {
        "contentDetails": {"videoId": post_id, "videoPublishedAt": "2025-01-01T00:00:00Z"},
        "status": {"privacyStatus": "public"},
    }
    return changed(whole, changes)


def test_private_and_deleted_videos_of_a_playlist_are_noted_and_not_asked_for() -> None:
    parsed = listing(
        item("there"),
        item("hidden", **{"status.privacyStatus": "private"}),
        item("removed", **{"status.privacyStatus": "privacyStatusUnspecified"}),
        item("unlisted", **{"status.privacyStatus": "unlisted"}),
        {"snippet": {"title": "Private video", "thumbnails": {}, "resourceId": {"videoId": "words"}}},
        {"snippet": {"title": "Deleted video", "resourceId": {"videoId": "words2"}}},
        {
            "snippet": {
                "title": "Private video",
                "thumbnails": {"default": {"url": "u"}},
                "resourceId": {"videoId": "so-called"},
            }
        },
    )
    assert parsed.listed == ["there", "unlisted", "so-called"]
    assert [(record.post_id, record.privacy_status) for record in parsed.records] == [
        ("hidden", "private"),
        ("removed", "deleted"),
        ("words", "private"),
        ("words2", "deleted"),
    ]
    assert {record.title for record in parsed.records} == {None}


def test_an_item_without_a_video_is_malformed() -> None:
    with pytest.raises(Malformed) as refused:
        listing(item("there"), {"status": {"privacyStatus": "public"}})
    assert refused.value.path == "$.items[1].contentDetails.videoId"


def test_a_search_names_videos_and_nothing_else() -> None:
    parsed = read("posts_by_search", recorded("search_keywords_p2"))
    assert (parsed.listed[:2], parsed.next_cursor) == (["-1ExA-f3tjS", "d4sWzEMKGrN"], "CDIQAA")
    found = [
        {"id": {"kind": "youtube#channel", "channelId": "c"}},
        {"id": {"kind": "youtube#video", "videoId": "v"}},
        {"id": {"kind": "youtube#playlist", "playlistId": "p"}},
    ]
    assert read("posts_by_search", {"items": found}).listed == ["v"]
    with pytest.raises(Malformed) as refused:
        read("posts_by_search", {"items": [*found, {"id": {"kind": "youtube#video"}}]})
    assert refused.value.path == "$.items[3].id.videoId"


def test_a_recorded_thread_is_read() -> None:
    parsed = read("comments_by_post", recorded("commentThreads_by_video_p1"), post_id=COMMENTED)
    first = parsed.records[0]
    assert (first.comment_id, first.post_id, first.parent_id) == ("XeiR4ipdQJTzp2-keSE0CvTEAo", COMMENTED, None)
    assert (first.profile_id, first.author_name) == ("UCzj-CjKYmGlZ7vTL-vOe57A", "dsekio tosskeo")
    assert (first.text, first.likes, first.replies) == ("Skmrla.msr", 0, 0)  # not the HTML
    assert first.commented_at.isoformat() == "2019-11-26T15:51:44+00:00"


def test_answers_name_the_comment_that_they_answer() -> None:
    payload = recorded("commentThreads_by_video_p1")
    thread, other = payload["items"][:2]
    answer = other["snippet"]["topLevelComment"]
    answer["snippet"].update(parentId=thread["id"], authorChannelId=None, likeCount="3", textOriginal=None)
    thread["replies"] = {"comments": [answer, {"id": "Ug.2", "snippet": {"textOriginal": "שלום 👋"}}]}
    thread["snippet"]["totalReplyCount"] = 7
    first, second, third = read("comments_by_post", {"items": [thread]}, post_id=COMMENTED).records
    assert (first.replies, second.parent_id, third.parent_id) == (7, thread["id"], first.comment_id)
    assert (second.profile_id, second.likes, second.text) == (
        None,
        3,
        "Rmelss noe LTI kt smml ion statit teaelua arel..",
    )
    assert (third.text, third.author_name, third.post_id) == ("שלום 👋", None, COMMENTED)


def test_comments_on_another_video_are_malformed() -> None:
    with pytest.raises(Malformed) as refused:
        read("comments_by_post", recorded("commentThreads_by_video_p1"), post_id=VIDEO)
    assert refused.value.path == "$.items[0].snippet.videoId"


def test_a_comment_without_an_id_is_malformed() -> None:
    payload = recorded("commentThreads_by_video_p1")
    payload["items"][3]["snippet"]["topLevelComment"]["id"] = None
    with pytest.raises(Malformed) as refused:
        read("comments_by_post", payload, post_id=COMMENTED)
    assert refused.value.path == "$.items[3].snippet.topLevelComment.id"


def test_a_name_from_before_there_were_handles_is_no_other_handle() -> None:
    item = changed(recorded("channels_list_single_b")["items"][0], {"snippet.customUrl": "oldname"})
    (found,) = read("profile_by_handle", {"items": [item]}, handle="Somebody").records
    assert found.handle == "somebody"


def replies(**snippet: Any) -> Any:
    """The recorded comments as a list of answers; `snippet` is what the first of them says besides."""
    recording = recorded("commentThreads_by_video_p1")
    listed = [thread["snippet"]["topLevelComment"] for thread in recording["items"]]
    listed[0]["snippet"] |= snippet
    return {**recording, "items": listed}


def test_what_answers_a_comment_is_read_with_the_comment_that_it_answers() -> None:
    page = read("replies_by_comment", replies(parentId="c1"), post_id=COMMENTED, comment_id="c1")
    assert len(page.records) == 5
    assert {(each.parent_id, each.post_id) for each in page.records} == {("c1", COMMENTED)}
    assert page.next_cursor is not None
    assert page.records[0].likes == 0


@pytest.mark.parametrize(("name", "of"), [("parentId", "another"), ("videoId", VIDEO)])
def test_an_answer_to_another_comment_is_not_read(name: str, of: str) -> None:
    with pytest.raises(Malformed) as refused:
        read("replies_by_comment", replies(**{name: of}), post_id=COMMENTED, comment_id="c1")
    assert refused.value.path == f"$.items[0].snippet.{name}"
