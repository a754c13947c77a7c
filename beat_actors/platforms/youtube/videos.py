"""Videos as the Data API returns them, and the posts that they become."""

import re
from collections.abc import Sequence

from beat_actors.errors import Malformed, Missing
from beat_actors.platforms.interface import FetchSpec, Parsed, told
from beat_actors.platforms.reading import Count, Id, count, decoder, instant, text
from beat_actors.platforms.youtube.entities import YouTubePost
from beat_actors.platforms.youtube.payloads import Page, Resource, Status, Thumbnails, optional_id, the_id

# What a video does not have is left out of its part. A whole part that is not there says nothing.
OF_SNIPPET = ("title", "description", "tags", "language", "audio_language", "concurrent_viewers")
POST_TELLS = told(YouTubePost, always=(*OF_SNIPPET, "comments"))
DURATION = re.compile(
    r"P(?:([0-9]{1,9})W)?(?:([0-9]{1,9})D)?(?:T(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)S)?)?"
)
UNITS = (604_800, 86_400, 3_600, 60, 1)


class VideoSnippet(Resource):
    published_at: str | None = None
    channel_id: Id | None = None
    channel_title: str | None = None
    title: str | None = None
    description: str | None = None
    thumbnails: Thumbnails | None = None
    tags: list[str | None] | None = None
    category_id: Id | None = None
    live_broadcast_content: str | None = None
    default_language: str | None = None
    default_audio_language: str | None = None


class VideoDetails(Resource):
    duration: str | None = None


class VideoStatistics(Resource):
    view_count: Count = None
    like_count: Count = None
    comment_count: Count = None


class Broadcast(Resource):
    """The times of a livestream or a premiere."""

    scheduled_start_time: str | None = None
    actual_start_time: str | None = None
    actual_end_time: str | None = None
    concurrent_viewers: Count = None


class Video(Resource):
    id: Id
    snippet: VideoSnippet | None = None
    content_details: VideoDetails | None = None
    statistics: VideoStatistics | None = None
    status: Status | None = None
    live_streaming_details: Broadcast | None = None


decode_videos = decoder(Page[Video])


def parse_post(body: bytes, spec: FetchSpec) -> Parsed:
    found = _posts(body, [spec.params["post_id"]])
    if not found:
        raise Missing("there is no such video, or it is private")
    return Parsed(found)


def parse_posts(body: bytes, spec: FetchSpec) -> Parsed:
    return Parsed(_posts(body, spec.params["post_ids"]))


def _posts(body: bytes, asked: Sequence[str]) -> list[YouTubePost]:
    found = [post(item, f"$.items[{i}]") for i, item in enumerate(decode_videos(body).all())]
    for i, each in enumerate(found):
        if each.post_id not in asked:
            raise Malformed(f"nobody asked for {each.post_id!r}", path=f"$.items[{i}].id")
    return found


def post(video: Video, at: str) -> YouTubePost:
    snippet = video.snippet or VideoSnippet()
    statistics = video.statistics or VideoStatistics()
    status = video.status or Status()
    live = video.live_streaming_details or Broadcast()
    viewers = count(live.concurrent_viewers, f"{at}.liveStreamingDetails.concurrentViewers")
    likes = count(statistics.like_count, f"{at}.statistics.likeCount")
    return YouTubePost(
        post_id=the_id(video.id, f"{at}.id"),
        profile_id=optional_id(snippet.channel_id, f"{at}.snippet.channelId"),
        channel_title=text(snippet.channel_title),
        title=text(snippet.title),
        description=text(snippet.description),
        thumbnail_url=text(snippet.thumbnails.largest()) if snippet.thumbnails else None,
        tags=None if snippet.tags is None else [tag for each in snippet.tags if (tag := text(each))],
        category_id=optional_id(snippet.category_id, f"{at}.snippet.categoryId"),
        language=text(snippet.default_language),
        audio_language=text(snippet.default_audio_language),
        broadcast=text(snippet.live_broadcast_content),
        privacy_status=text(status.privacy_status),
        is_made_for_kids=status.made_for_kids,
        taken_at=instant(snippet.published_at),
        scheduled_at=instant(live.scheduled_start_time),
        started_at=instant(live.actual_start_time),
        ended_at=instant(live.actual_end_time),
        views=count(statistics.view_count, f"{at}.statistics.viewCount"),
        likes=likes,
        comments=count(statistics.comment_count, f"{at}.statistics.commentCount"),
        concurrent_viewers=viewers,
        video_duration=seconds(video.content_details.duration if video.content_details else None),
        # source: the reference of videos. The number of likes is left out where the owner hides it, that of comments where they are off.
        hidden=("likes",) if video.statistics is not None and likes is None else (),
        untold=(
            *(OF_SNIPPET if video.snippet is None else ()),
            *(("comments",) if video.statistics is None else ()),
        ),
    )


def seconds(duration: str | None) -> float | None:
    """An ISO 8601 duration in seconds; `None` for P0D, which a livestream has before its end."""
    found = DURATION.fullmatch(duration or "")
    if found is None:
        return None
    return sum(float(part) * unit for part, unit in zip(found.groups(), UNITS, strict=True) if part) or None
