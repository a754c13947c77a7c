"""What Beat knows of TikTok: accounts, posts and comments, as dimensions and metrics."""

from datetime import datetime

from beat_actors.platforms.interface import AssetClass, Entity, Listed, Personal, Record, Refetch


class TikTokAccount(Record, frozen=True, kw_only=True):
    """A profile. `profile_id` is TikTok's own id; `sec_uid` the name by which its web asks for the account's posts.

    `likes` are those that all of its posts received together.
    """

    profile_id: str
    handle: str
    sec_uid: str | None = None
    full_name: str | None = None
    biography: str | None = None
    external_url: str | None = None
    profile_pic_url: str | None = None
    is_private: bool | None = None
    is_verified: bool | None = None
    followers: int | None = None
    following: int | None = None
    likes: int | None = None
    media_count: int | None = None


class TikTokPost(Record, frozen=True, kw_only=True):
    """A post, by the id that all providers share. `post_type` is video or photo. `region` is the country that it was posted in."""

    post_id: str
    profile_id: str | None = None
    handle: str | None = None
    post_type: str | None = None
    caption: str | None = None
    permalink: str | None = None
    thumbnail_url: str | None = None
    media_url: str | None = None
    taken_at: datetime | None = None
    region: str | None = None
    music_id: str | None = None
    music_title: str | None = None
    likes: int | None = None
    comments: int | None = None
    views: int | None = None
    shares: int | None = None
    saves: int | None = None
    video_duration: float | None = None


class TikTokComment(Record, frozen=True, kw_only=True):
    """A comment on a post; `replies` is how many answer it."""

    comment_id: str
    post_id: str
    profile_id: str | None = None
    handle: str | None = None
    text: str | None = None
    commented_at: datetime | None = None
    likes: int | None = None
    replies: int | None = None


ACCOUNT = Entity(
    record=TikTokAccount,
    kind="profiles",
    table="tiktok_account",
    log="profile_log",
    key="profile_id",
    metrics=frozenset({"followers", "following", "likes", "media_count"}),
    assets={"profile_pic_url": AssetClass.AVATAR},
    volatile=frozenset({"profile_pic_url"}),
    names=("handle",),
    refetch=(Refetch("refresh_tiktok_profiles", {"handle": "handle"}, {"posts": 0}),),
    personal=Personal(
        "names, biography, links and picture of a profile's owner",
        ("profile_id", "handle", "sec_uid", "full_name", "biography", "external_url", "profile_pic_url"),
        ("profile_id", "handle", "sec_uid"),
    ),
)
POST = Entity(
    record=TikTokPost,
    kind="posts",
    table="tiktok_post",
    log="post_log",
    key="post_id",
    metrics=frozenset({"likes", "comments", "views", "shares", "saves", "video_duration"}),
    assets={"thumbnail_url": AssetClass.THUMBNAIL},
    volatile=frozenset({"thumbnail_url", "media_url"}),
    lists=(Listed("profiles", "profile_id", refetch=(Refetch("refresh_tiktok_profiles", {"handle": "handle"}),)),),
    newest="taken_at",
    refetch=(Refetch("refresh_tiktok_post", {"post_id": "post_id"}),),
    personal=Personal(
        "author, captions, media URLs",
        ("profile_id", "handle", "caption", "permalink", "thumbnail_url", "media_url"),
        ("profile_id", "handle"),
    ),
)
COMMENT = Entity(
    record=TikTokComment,
    kind="comments",
    table="tiktok_comment",
    log=None,
    key="comment_id",
    metrics=frozenset({"likes", "replies"}),
    lists=(Listed("posts", "post_id", refetch=(Refetch("refresh_tiktok_comments", {"post_id": "post_id"}),)),),
    newest="commented_at",
    refetch=(Refetch("refresh_tiktok_comments", {"post_id": "post_id"}),),
    personal=Personal("author and text of a comment", ("profile_id", "handle", "text"), ("profile_id", "handle")),
)
