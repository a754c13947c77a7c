"""What Beat knows of Instagram: accounts and posts, as dimensions and metrics."""

from datetime import datetime

from beat_actors.platforms.interface import Entity, Record


class InstagramAccount(Record, frozen=True, kw_only=True):
    """A profile. `profile_id` is Instagram's own id (pk); `graph_id` the Graph API's."""

    profile_id: str
    handle: str
    graph_id: str | None = None
    full_name: str | None = None
    biography: str | None = None
    external_url: str | None = None
    profile_pic_url: str | None = None
    category: str | None = None
    account_type: str | None = None
    is_private: bool | None = None
    is_verified: bool | None = None
    followers: int | None = None
    following: int | None = None
    media_count: int | None = None


class InstagramPost(Record, frozen=True, kw_only=True):
    """A post, by the shortcode that all providers share. `post_type` is image, reels or carousel."""

    shortcode: str
    post_id: str | None = None
    profile_id: str | None = None
    handle: str | None = None
    post_type: str | None = None
    caption: str | None = None
    permalink: str | None = None
    thumbnail_url: str | None = None
    media_url: str | None = None
    taken_at: datetime | None = None
    likes: int | None = None
    comments: int | None = None
    views: int | None = None
    plays: int | None = None
    video_duration: float | None = None


ACCOUNT = Entity(
    record=InstagramAccount,
    table="instagram_account",
    log="profile_log",
    key="profile_id",
    metrics=frozenset({"followers", "following", "media_count"}),
    assets=("profile_pic_url",),
    volatile=frozenset({"profile_pic_url"}),
)
POST = Entity(
    record=InstagramPost,
    table="instagram_post",
    log="post_log",
    key="shortcode",
    metrics=frozenset({"likes", "comments", "views", "plays", "video_duration"}),
    assets=("thumbnail_url",),
    volatile=frozenset({"thumbnail_url", "media_url"}),
)
