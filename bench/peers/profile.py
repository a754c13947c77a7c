"""The validated parse: Lama's `/a2/user` straight into typed structs, then into the two records that are stored."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

TYPES = {"GraphImage": "image", "GraphVideo": "reels", "GraphSidecar": "carousel"}
ACCOUNT_METRICS = ("followers", "following", "media_count")
POST_METRICS = ("likes", "comments", "views", "video_duration")


class Count(msgspec.Struct):
    count: int


class Text(msgspec.Struct):
    text: str


class Caption(msgspec.Struct):
    node: Text


class Captions(msgspec.Struct):
    edges: list[Caption]


class Node(msgspec.Struct):
    id: str
    shortcode: str
    thumbnail_url: str
    typename: str = msgspec.field(name="__typename")
    edge_media_to_caption: Captions
    edge_media_to_comment: Count
    edge_media_preview_like: Count

    taken_at_timestamp: int | None = None
    video_url: str | None = None
    video_view_count: int | None = None
    video_duration: float | None = None


class Edge(msgspec.Struct):
    node: Node


class Timeline(msgspec.Struct):
    count: int
    edges: list[Edge]


class User(msgspec.Struct):
    id: str
    username: str
    edge_followed_by: Count
    edge_follow: Count
    edge_owner_to_timeline_media: Timeline
    full_name: str | None = None
    biography: str | None = None
    external_url: str | None = None
    profile_pic_url_hd: str | None = None
    category_name: str | None = None
    is_private: bool | None = None
    is_verified: bool | None = None


class Graphql(msgspec.Struct):
    user: User


class Answer(msgspec.Struct):
    graphql: Graphql


class Account(msgspec.Struct):
    """The columns of `account`, the key first."""

    profile_id: str
    handle: str
    full_name: str | None
    biography: str | None
    external_url: str | None
    profile_pic_url: str | None
    category: str | None
    is_private: bool | None
    is_verified: bool | None
    followers: int
    following: int
    media_count: int


class Post(msgspec.Struct):
    """The columns of `post`, the key first."""

    shortcode: str
    post_id: str
    profile_id: str
    post_type: str | None
    caption: str | None
    permalink: str
    thumbnail_url: str
    media_url: str | None
    taken_at: datetime | None
    likes: int
    comments: int
    views: int | None
    video_duration: float | None


decode = msgspec.json.Decoder(Answer).decode


def parse(body: bytes, handle: str) -> tuple[Account, Sequence[Post]]:
    """Raises `msgspec.ValidationError` for another shape, `ValueError` for somebody else's profile."""
    user = decode(body).graphql.user
    if user.username != handle:
        raise ValueError(f"asked for {handle}, the answer is of {user.username}")
    timeline = user.edge_owner_to_timeline_media
    account = Account(
        profile_id=user.id,
        handle=user.username,
        full_name=user.full_name,
        biography=user.biography,
        external_url=user.external_url,
        profile_pic_url=user.profile_pic_url_hd,
        category=user.category_name,
        is_private=user.is_private,
        is_verified=user.is_verified,
        followers=user.edge_followed_by.count,
        following=user.edge_follow.count,
        media_count=timeline.count,
    )
    return account, [post(edge.node, user.id) for edge in timeline.edges]


def post(node: Node, profile_id: str) -> Post:
    captions = node.edge_media_to_caption.edges
    return Post(
        shortcode=node.shortcode,
        post_id=node.id,
        profile_id=profile_id,
        post_type=TYPES.get(node.typename),
        caption=captions[0].node.text if captions else None,
        permalink=f"https://www.instagram.com/p/{node.shortcode}/",
        thumbnail_url=node.thumbnail_url,
        media_url=node.video_url,
        taken_at=datetime.fromtimestamp(node.taken_at_timestamp, UTC) if node.taken_at_timestamp else None,
        likes=node.edge_media_preview_like.count,
        comments=node.edge_media_to_comment.count,
        views=node.video_view_count,
        video_duration=node.video_duration or None,
    )
