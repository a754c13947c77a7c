"""The Data API's resources, and how they become records.

Every part of a resource may be absent: a channel that hides its subscribers, a video without likes, a livestream without a duration.
Strict where it is the point: a thing has an id, a count is one, an answer has its items or says that there are none.
"""

import re
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import FetchSpec
from beat_actors.platforms.reading import Count, Id, count, decoder, instant, name, text
from beat_actors.platforms.youtube.entities import YouTubeAccount, YouTubeComment, YouTubePost

T = TypeVar("T")

ID = re.compile(r"[A-Za-z0-9_.=-]{1,200}")
DURATION = re.compile(
    r"P(?:([0-9]{1,9})W)?(?:([0-9]{1,9})D)?(?:T(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)S)?)?"
)
UNITS = (604_800, 86_400, 3_600, 60, 1)
# What a playlist says of a video that is not public any more, in words and, where it is asked for, as a status.
GONE = {"Private video": "private", "Deleted video": "deleted"}
STATUS_GONE = {"private": "private", "privacyStatusUnspecified": "deleted"}


class Resource(msgspec.Struct, rename="camel"):
    """Fields are named as in the payload: `publishedAt`."""


class Thumbnail(Resource):
    url: str | None = None


class Thumbnails(Resource):
    """From the largest to the smallest."""

    maxres: Thumbnail | None = None
    standard: Thumbnail | None = None
    high: Thumbnail | None = None
    medium: Thumbnail | None = None
    default: Thumbnail | None = None

    def largest(self) -> str | None:
        sizes = (self.maxres, self.standard, self.high, self.medium, self.default)
        return next((size.url for size in sizes if size is not None and size.url), None)


class PageInfo(Resource):
    total_results: Count = None


class Page(Resource, Generic[T]):
    """`items` is left out where there are none, and then the page says so."""

    items: list[T] | msgspec.UnsetType = msgspec.UNSET
    page_info: PageInfo | None = None
    next_page_token: str | None = None

    def all(self) -> Sequence[T]:
        if not isinstance(self.items, msgspec.UnsetType):
            return self.items
        if self.page_info is None or count(self.page_info.total_results, "$.pageInfo.totalResults") != 0:
            raise Malformed("an answer without items, which does not say that there are none", path="$.items")
        return ()


class ChannelSnippet(Resource):
    title: str | None = None
    description: str | None = None
    custom_url: str | None = None
    published_at: str | None = None
    thumbnails: Thumbnails | None = None
    default_language: str | None = None
    country: str | None = None


class ChannelStatistics(Resource):
    subscriber_count: Count = None
    hidden_subscriber_count: bool | None = None
    video_count: Count = None
    view_count: Count = None


class RelatedPlaylists(Resource):
    uploads: str | None = None


class ChannelDetails(Resource):
    related_playlists: RelatedPlaylists | None = None


class Status(Resource):
    privacy_status: str | None = None
    made_for_kids: bool | None = None


class Channel(Resource):
    id: Id
    snippet: ChannelSnippet | None = None
    statistics: ChannelStatistics | None = None
    content_details: ChannelDetails | None = None
    status: Status | None = None


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
    """Livestreams have it, and premieres."""

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


class ResourceId(Resource):
    """A search may find channels and playlists too."""

    kind: str | None = None
    video_id: Id | None = None


class ItemSnippet(Resource):
    title: str | None = None
    thumbnails: dict[str, msgspec.Raw] | None = None
    resource_id: ResourceId | None = None


class ItemDetails(Resource):
    video_id: Id | None = None


class PlaylistItem(Resource):
    """Told by its details and its status, or by its snippet."""

    content_details: ItemDetails | None = None
    status: Status | None = None
    snippet: ItemSnippet | None = None


class Found(Resource):
    id: ResourceId


class AuthorId(Resource):
    value: str | None = None


class CommentSnippet(Resource):
    author_display_name: str | None = None
    author_channel_id: AuthorId | None = None
    text_original: str | None = None
    text_display: str | None = None
    parent_id: Id | None = None
    video_id: Id | None = None
    like_count: Count = None
    published_at: str | None = None
    updated_at: str | None = None


class Comment(Resource):
    id: Id
    snippet: CommentSnippet


class ThreadSnippet(Resource):
    top_level_comment: Comment
    video_id: Id | None = None
    total_reply_count: Count = None


class Replies(Resource):
    comments: list[Comment] | None = None


class Thread(Resource):
    snippet: ThreadSnippet
    replies: Replies | None = None


decode_channels = decoder(Page[Channel])
decode_videos = decoder(Page[Video])
decode_playlist = decoder(Page[PlaylistItem])
decode_found = decoder(Page[Found])
decode_threads = decoder(Page[Thread])
decode_replies = decoder(Page[Comment])


def account(channel: Channel, at: str) -> YouTubeAccount:
    snippet = channel.snippet or ChannelSnippet()
    statistics = channel.statistics or ChannelStatistics()
    status = channel.status or Status()
    playlists = (channel.content_details or ChannelDetails()).related_playlists or RelatedPlaylists()
    followers = count(statistics.subscriber_count, f"{at}.statistics.subscriberCount")
    if followers is None and not statistics.hidden_subscriber_count:
        raise Malformed("a channel without its subscriber count", path=f"{at}.statistics.subscriberCount")
    return YouTubeAccount(
        profile_id=the_id(channel.id, f"{at}.id"),
        handle=handle(snippet.custom_url),
        full_name=text(snippet.title),
        biography=text(snippet.description),
        country=text(snippet.country),
        language=text(snippet.default_language),
        profile_pic_url=text(snippet.thumbnails.largest()) if snippet.thumbnails else None,
        uploads_playlist_id=text(playlists.uploads) or None,
        privacy_status=text(status.privacy_status),
        is_made_for_kids=status.made_for_kids,
        is_followers_hidden=statistics.hidden_subscriber_count,
        published_at=instant(snippet.published_at),
        # Hidden, the number is left out or 0.
        followers=None if statistics.hidden_subscriber_count else followers,
        media_count=count(statistics.video_count, f"{at}.statistics.videoCount"),
        views=count(statistics.view_count, f"{at}.statistics.viewCount"),
    )


def post(video: Video, at: str) -> YouTubePost:
    snippet = video.snippet or VideoSnippet()
    statistics = video.statistics or VideoStatistics()
    status = video.status or Status()
    live = video.live_streaming_details or Broadcast()
    viewers = count(live.concurrent_viewers, f"{at}.liveStreamingDetails.concurrentViewers")
    return YouTubePost(
        post_id=the_id(video.id, f"{at}.id"),
        profile_id=_optional_id(snippet.channel_id, f"{at}.snippet.channelId"),
        channel_title=text(snippet.channel_title),
        title=text(snippet.title),
        description=text(snippet.description),
        thumbnail_url=text(snippet.thumbnails.largest()) if snippet.thumbnails else None,
        tags=None if snippet.tags is None else [tag for each in snippet.tags if (tag := text(each))],
        category_id=_optional_id(snippet.category_id, f"{at}.snippet.categoryId"),
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
        likes=count(statistics.like_count, f"{at}.statistics.likeCount"),
        comments=count(statistics.comment_count, f"{at}.statistics.commentCount"),
        concurrent_viewers=viewers,
        video_duration=seconds(video.content_details.duration if video.content_details else None),
    )


def listed(item: PlaylistItem, at: str) -> tuple[str, str | None]:
    """A playlist's video by its id, and how it is gone: `private` or `deleted`; `None` where it is there."""
    snippet = item.snippet or ItemSnippet()
    of_snippet = snippet.resource_id.video_id if snippet.resource_id else None
    of_details = item.content_details.video_id if item.content_details else None
    status = item.status.privacy_status if item.status else None
    found = the_id(of_snippet if of_details is None else of_details, f"{at}.contentDetails.videoId")
    # A video may be called so and be there, and then it has pictures.
    called = None if snippet.thumbnails else GONE.get(snippet.title or "")
    return found, STATUS_GONE.get(status or "") or called


def comments(thread: Thread, spec: FetchSpec, at: str) -> list[YouTubeComment]:
    """The comment that begins a thread, and those of its answers that came along."""
    asked, said = spec.params["post_id"], _optional_id(thread.snippet.video_id, f"{at}.snippet.videoId")
    if said not in (None, asked):
        raise Malformed(f"asked for {asked!r}, the answer is of {said!r}", path=f"{at}.snippet.videoId")
    replies = count(thread.snippet.total_reply_count, f"{at}.snippet.totalReplyCount")
    first = _comment(thread.snippet.top_level_comment, asked, f"{at}.snippet.topLevelComment", replies=replies)
    answers = (thread.replies.comments if thread.replies else None) or []
    return [
        first,
        *(
            _comment(each, asked, f"{at}.replies.comments[{i}]", parent_id=first.comment_id)
            for i, each in enumerate(answers)
        ),
    ]


def reply(comment: Comment, spec: FetchSpec, at: str) -> YouTubeComment:
    """What answers the comment that was asked for. Raises `Malformed` where it answers another, or is on another video."""
    of = {"parentId": ("comment_id", comment.snippet.parent_id), "videoId": ("post_id", comment.snippet.video_id)}
    for key, (param, told) in of.items():
        asked, said = spec.params[param], _optional_id(told, f"{at}.snippet.{key}")
        if said not in (None, asked):
            raise Malformed(f"asked for {asked!r}, the answer is of {said!r}", path=f"{at}.snippet.{key}")
    return _comment(comment, spec.params["post_id"], at, parent_id=spec.params["comment_id"])


def _comment(
    comment: Comment, post_id: str, at: str, *, parent_id: str | None = None, replies: int | None = None
) -> YouTubeComment:
    snippet = comment.snippet
    return YouTubeComment(
        comment_id=the_id(comment.id, f"{at}.id"),
        post_id=post_id,
        parent_id=_optional_id(snippet.parent_id, f"{at}.snippet.parentId") or parent_id,
        profile_id=text(snippet.author_channel_id.value) if snippet.author_channel_id else None,
        author_name=text(snippet.author_display_name),
        text=text(snippet.text_display if snippet.text_original is None else snippet.text_original),
        commented_at=instant(snippet.published_at),
        edited_at=instant(snippet.updated_at),
        likes=count(snippet.like_count, f"{at}.snippet.likeCount"),
        replies=replies,
    )


def the_id(value: Id | None, path: str) -> str:
    """The id of a thing that is nothing without one. Raises `Malformed` for what is none."""
    if value is None or not ID.fullmatch(str(value)):
        raise Malformed(f"{str(value)[:80]!r} is not an id", path=path)
    return str(value)


def handle(value: str | None) -> str | None:
    """`@Name` as it is kept and compared: `name`."""
    return name((text(value) or "").removeprefix("@")) or None


def seconds(duration: str | None) -> float | None:
    """An ISO 8601 duration; `None` for what has none yet, which is told as P0D."""
    found = DURATION.fullmatch(duration or "")
    if found is None:
        return None
    return sum(float(part) * unit for part, unit in zip(found.groups(), UNITS, strict=True) if part) or None


def _optional_id(value: Id | None, path: str) -> str | None:
    return None if value is None or value == "" else the_id(value, path)
