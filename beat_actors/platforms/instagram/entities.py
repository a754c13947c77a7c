"""What Beat knows of Instagram: accounts, posts, stories, comments, who follows whom, and insights, as dimensions and metrics."""

from datetime import datetime

from beat_actors.platforms.interface import AssetClass, Entity, Listed, Personal, Record, Refetch


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
    """A post, by the shortcode that all providers share. `post_type` is image, reels or carousel.

    `post_id` is Instagram's own id (pk); `graph_id` the Graph API's. `carousel_id`: the post is a picture or video of the carousel with
    that `graph_id`.
    """

    shortcode: str
    post_id: str | None = None
    graph_id: str | None = None
    carousel_id: str | None = None
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


class InstagramStory(Record, frozen=True, kw_only=True):
    """A story. `story_id` is Instagram's own id (pk); `graph_id` the Graph API's. `media_type` is image or video.

    Where the Graph API does not return Instagram's id, `story_id` is its own with `graph:` before it.
    """

    story_id: str
    graph_id: str | None = None
    profile_id: str | None = None
    handle: str | None = None
    shortcode: str | None = None
    media_type: str | None = None
    caption: str | None = None
    permalink: str | None = None
    thumbnail_url: str | None = None
    media_url: str | None = None
    taken_at: datetime | None = None
    expiring_at: datetime | None = None
    likes: int | None = None
    comments: int | None = None
    video_duration: float | None = None


class InstagramComment(Record, frozen=True, kw_only=True):
    """A comment on the post with that shortcode, or with that id of the Graph API's; `parent_id` is the comment that it answers."""

    comment_id: str
    shortcode: str | None = None
    post_id: str | None = None
    parent_id: str | None = None
    profile_id: str | None = None
    handle: str | None = None
    text: str | None = None
    commented_at: datetime | None = None
    likes: int | None = None


class InstagramFollow(Record, frozen=True, kw_only=True):
    """That one account follows another, as last seen. `follow_id` is `follower_id:followed_id`."""

    follow_id: str
    follower_id: str
    followed_id: str
    follower_handle: str | None = None
    followed_handle: str | None = None


class InstagramProfileInsight(Record, frozen=True, kw_only=True):
    """One number that the Graph API reports to an account's owner. `profile_id` is the Graph API's id (`graph_id` of the account).

    `breakdown` names what the number is broken down by (`country`, `age,gender`), `dimension` the part (`DE`, `25-34,F`); both
    are unknown for a total. `ends_at` is the end of the period, where the number is one of a row.
    """

    insight_id: str
    profile_id: str
    metric: str
    period: str | None = None
    timeframe: str | None = None
    breakdown: str | None = None
    dimension: str | None = None
    ends_at: datetime | None = None
    value: int | None = None


class InstagramPostInsight(Record, frozen=True, kw_only=True):
    """One number that the Graph API reports to the owner of a post or story; `post_id` is the Graph API's. See the profile's."""

    insight_id: str
    post_id: str
    metric: str
    period: str | None = None
    breakdown: str | None = None
    dimension: str | None = None
    ends_at: datetime | None = None
    value: int | None = None


ACCOUNT = Entity(
    record=InstagramAccount,
    kind="profiles",
    table="instagram_account",
    log="profile_log",
    key="profile_id",
    metrics=frozenset({"followers", "following", "media_count"}),
    assets={"profile_pic_url": AssetClass.AVATAR},
    volatile=frozenset({"profile_pic_url"}),
    names=("handle", "graph_id"),
    refetch=(Refetch("refresh_profile_by_handle", {"handle": "handle"}, {"posts": 0}),),
    personal=Personal(
        "names, biography, links and picture of a profile's owner",
        ("profile_id", "handle", "graph_id", "full_name", "biography", "external_url", "profile_pic_url"),
        ("profile_id", "handle", "graph_id"),
    ),
)
POST = Entity(
    record=InstagramPost,
    kind="posts",
    table="instagram_post",
    log="post_log",
    key="shortcode",
    metrics=frozenset({"likes", "comments", "views", "plays", "video_duration"}),
    assets={"thumbnail_url": AssetClass.THUMBNAIL},
    volatile=frozenset({"thumbnail_url", "media_url"}),
    names=("post_id", "graph_id"),
    lists=(Listed("profiles", "profile_id", refetch=(Refetch("refresh_profile_by_handle", {"handle": "handle"}),)),),
    newest="taken_at",
    refetch=(Refetch("refresh_post_by_shortcode", {"shortcode": "shortcode"}),),
    personal=Personal(
        "author, captions, media URLs",
        ("profile_id", "handle", "caption", "permalink", "thumbnail_url", "media_url"),
        ("profile_id", "handle"),
    ),
)
STORY = Entity(
    record=InstagramStory,
    kind="stories",
    table="instagram_story",
    log="post_log",
    key="story_id",
    metrics=frozenset({"likes", "comments", "video_duration"}),
    assets={"thumbnail_url": AssetClass.STORY, "media_url": AssetClass.STORY},
    volatile=frozenset({"thumbnail_url", "media_url"}),
    names=("graph_id",),
    lists=(
        Listed("profiles", "profile_id", refetch=(Refetch("refresh_stories_posts", {"profile_id": "profile_id"}),)),
    ),
    newest="taken_at",
    refetch=(Refetch("refresh_stories_posts", {"profile_id": "profile_id"}),),
    max_age=3600.0,
    personal=Personal(
        "author, captions, media URLs",
        ("profile_id", "handle", "caption", "permalink", "thumbnail_url", "media_url"),
        ("profile_id", "handle"),
    ),
)
COMMENT = Entity(
    record=InstagramComment,
    kind="comments",
    table="instagram_comment",
    log=None,
    key="comment_id",
    metrics=frozenset({"likes"}),
    lists=(Listed("posts", "shortcode", refetch=(Refetch("refresh_comments", {"shortcode": "shortcode"}),)),),
    newest="commented_at",
    refetch=(Refetch("refresh_comments", {"shortcode": "shortcode"}),),
    personal=Personal("author and text of a comment", ("profile_id", "handle", "text"), ("profile_id", "handle")),
)
FOLLOW = Entity(
    record=InstagramFollow,
    kind="follows",
    table="instagram_follow",
    log=None,
    key="follow_id",
    metrics=frozenset(),
    lists=(
        Listed(
            "profiles",
            "followed_id",
            name="followers",
            refetch=(Refetch("refresh_followers", {"profile_id": "profile_id"}),),
        ),
        Listed(
            "profiles",
            "follower_id",
            name="following",
            refetch=(Refetch("refresh_following", {"profile_id": "profile_id"}),),
        ),
    ),
    max_age=7 * 86_400.0,
    personal=Personal(
        "who follows whom",
        ("follow_id", "follower_id", "followed_id", "follower_handle", "followed_handle"),
        ("follower_id", "followed_id", "follower_handle", "followed_handle"),
    ),
)
PROFILE_INSIGHT = Entity(
    record=InstagramProfileInsight,
    kind="profile-insights",
    table="instagram_profile_insight",
    log="profile_log",
    key="insight_id",
    metrics=frozenset({"value"}),
    subject="profile_id",
    lists=(
        Listed(
            "profiles",
            "profile_id",
            theirs="graph_id",
            name="insights",
            refetch=(Refetch("refresh_profile_insights", {"user_id": "graph_id"}),),
        ),
    ),
    refetch=(Refetch("refresh_profile_insights", {"user_id": "profile_id"}),),
    personal=Personal("audience metrics of an own account", ("profile_id", "dimension"), ("profile_id",)),
)
POST_INSIGHT = Entity(
    record=InstagramPostInsight,
    kind="post-insights",
    table="instagram_post_insight",
    log="post_log",
    key="insight_id",
    metrics=frozenset({"value"}),
    subject="post_id",
    lists=(
        Listed(
            "posts",
            "post_id",
            theirs="graph_id",
            name="insights",
            refetch=(
                Refetch(
                    "refresh_post_insights",
                    {"media_id": "graph_id", "media_type": "post_type", "user_id": "profiles.graph_id"},
                ),
            ),
        ),
        Listed(
            "stories",
            "post_id",
            theirs="graph_id",
            name="insights",
            refetch=(
                Refetch(
                    "refresh_post_insights",
                    {"media_id": "graph_id", "user_id": "profiles.graph_id"},
                    {"media_type": "story"},
                ),
            ),
        ),
    ),
    personal=Personal("metrics of an own account's posts", ("post_id", "dimension")),
)
