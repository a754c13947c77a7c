"""What Beat knows of YouTube: channels, videos and comments, as dimensions and metrics."""

from datetime import datetime

from beat_actors.platforms.interface import AssetClass, Entity, Listed, Personal, Record, Refetch


class YouTubeAccount(Record, frozen=True, kw_only=True):
    """A channel. `profile_id` is the channel's id; `uploads_playlist_id` the playlist that holds all its videos.

    `followers` is rounded to three digits by YouTube, and unknown where the channel hides it.
    """

    profile_id: str
    handle: str | None = None
    full_name: str | None = None
    biography: str | None = None
    country: str | None = None
    language: str | None = None
    profile_pic_url: str | None = None
    uploads_playlist_id: str | None = None
    privacy_status: str | None = None
    is_made_for_kids: bool | None = None
    is_followers_hidden: bool | None = None
    published_at: datetime | None = None
    followers: int | None = None
    media_count: int | None = None
    views: int | None = None


class YouTubePost(Record, frozen=True, kw_only=True):
    """A video, livestream or premiere. `broadcast` is none, upcoming or live: where it stands now.

    `taken_at` is when it was published. What is scheduled or live has no `video_duration` yet; what is or was a livestream or a
    premiere has `scheduled_at`, `started_at` and `ended_at`. `privacy_status` is public or unlisted; `private` and `deleted` are what
    a playlist says of videos that are there no more.
    """

    post_id: str
    profile_id: str | None = None
    channel_title: str | None = None
    title: str | None = None
    description: str | None = None
    thumbnail_url: str | None = None
    tags: list[str] | None = None
    category_id: str | None = None
    language: str | None = None
    audio_language: str | None = None
    broadcast: str | None = None
    privacy_status: str | None = None
    is_made_for_kids: bool | None = None
    taken_at: datetime | None = None
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    views: int | None = None
    likes: int | None = None
    comments: int | None = None
    concurrent_viewers: int | None = None
    video_duration: float | None = None


class YouTubeComment(Record, frozen=True, kw_only=True):
    """A comment on a video; `parent_id` is the comment that it answers. `profile_id` is the author's channel."""

    comment_id: str
    post_id: str
    parent_id: str | None = None
    profile_id: str | None = None
    author_name: str | None = None
    text: str | None = None
    commented_at: datetime | None = None
    edited_at: datetime | None = None
    likes: int | None = None
    replies: int | None = None


ACCOUNT = Entity(
    record=YouTubeAccount,
    kind="profiles",
    table="youtube_account",
    log="profile_log",
    key="profile_id",
    metrics=frozenset({"followers", "media_count", "views"}),
    assets={"profile_pic_url": AssetClass.AVATAR},
    names=("handle",),
    refetch=(
        Refetch("refresh_profile_by_id", {"profile_id": "profile_id"}),
        Refetch("refresh_profile_by_handle", {"handle": "handle"}),
    ),
    personal=Personal(
        "names, biography, links and picture of a profile's owner",
        ("profile_id", "handle", "full_name", "biography", "country", "profile_pic_url"),
        ("profile_id", "handle"),
    ),
)
POST = Entity(
    record=YouTubePost,
    kind="posts",
    table="youtube_post",
    log="post_log",
    key="post_id",
    metrics=frozenset({"views", "likes", "comments", "concurrent_viewers", "video_duration"}),
    assets={"thumbnail_url": AssetClass.THUMBNAIL},
    lists=(
        Listed("profiles", "profile_id", refetch=(Refetch("refresh_posts_by_channel", {"profile_id": "profile_id"}),)),
    ),
    newest="taken_at",
    refetch=(Refetch("refresh_post_by_id", {"post_id": "post_id"}),),
    personal=Personal(
        "author, captions, media URLs",
        ("profile_id", "channel_title", "title", "description", "thumbnail_url", "tags"),
        ("profile_id",),
    ),
)
COMMENT = Entity(
    record=YouTubeComment,
    kind="comments",
    table="youtube_comment",
    log=None,
    key="comment_id",
    metrics=frozenset({"likes", "replies"}),
    lists=(Listed("posts", "post_id", refetch=(Refetch("refresh_post_comments", {"post_id": "post_id"}),)),),
    newest="commented_at",
    refetch=(Refetch("refresh_post_comments", {"post_id": "post_id"}),),
    personal=Personal(
        "author and text of a comment", ("profile_id", "author_name", "text"), ("profile_id", "author_name")
    ),
)
