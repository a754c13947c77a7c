"""Instagram's web GraphQL: users, posts, stories, comments and lists of users, as several providers pass them on."""

from collections.abc import Iterable, Sequence

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.instagram.entities import (
    InstagramAccount,
    InstagramComment,
    InstagramPost,
    InstagramStory,
)
from beat_actors.platforms.instagram.payloads import Author, Text, bare_id, shortcode, shown, the_id, the_one_asked_for
from beat_actors.platforms.instagram.private import Follower
from beat_actors.platforms.interface import FetchSpec
from beat_actors.platforms.reading import Count, Id, count, instant, text

TYPENAMES = {"GraphImage": "image", "GraphVideo": "reels", "GraphSidecar": "carousel"}
TYPENAMES |= {f"XDT{name}": kind for name, kind in TYPENAMES.items()}


class Counted(msgspec.Struct):
    count: Count = None


class FollowedBy(msgspec.Struct):
    count: int | str


class PageInfo(msgspec.Struct):
    has_next_page: bool | None = None
    end_cursor: str | None = None


def next_page(page: PageInfo | None) -> str | None:
    return page.end_cursor or None if page and page.has_next_page else None


class CaptionNode(msgspec.Struct):
    node: Text


class CaptionEdges(msgspec.Struct):
    edges: list[CaptionNode] = []


class WebNode(msgspec.Struct):
    """A post of the web GraphQL."""

    shortcode: str
    id: Id | None = None
    typename: str | None = msgspec.field(name="__typename", default=None)
    display_url: str | None = None
    thumbnail_src: str | None = None
    thumbnail_url: str | None = None
    video_url: str | None = None
    is_video: bool | None = None
    video_duration: float | None = None
    video_view_count: Count = None
    video_play_count: Count = None
    taken_at_timestamp: int | None = None
    owner: Author | None = None
    edge_media_to_caption: CaptionEdges | None = None
    edge_media_to_comment: Counted | None = None
    edge_media_to_parent_comment: Counted | None = None
    edge_media_preview_like: Counted | None = None
    edge_liked_by: Counted | None = None


class WebEdge(msgspec.Struct):
    node: WebNode


class Timeline(msgspec.Struct):
    edges: list[WebEdge]
    count: Count = None
    page_info: PageInfo | None = None


class WebUser(msgspec.Struct):
    """A user of the web GraphQL. Some gateways leave the user name out: the caller knows it."""

    id: Id
    edge_followed_by: FollowedBy
    username: str | None = None
    edge_follow: Counted | None = None
    edge_owner_to_timeline_media: Timeline | None = None
    full_name: str | None = None
    biography: str | None = None
    external_url: str | None = None
    profile_pic_url: str | None = None
    profile_pic_url_hd: str | None = None
    category_name: str | None = None
    is_private: bool | None = None
    is_verified: bool | None = None
    is_business_account: bool | None = None
    is_professional_account: bool | None = None


class Source(msgspec.Struct):
    src: str | None = None


class WebStory(msgspec.Struct):
    id: Id
    display_url: str | None = None
    video_resources: list[Source] | None = None
    video_duration: float | None = None
    is_video: bool | None = None
    taken_at_timestamp: int | None = None
    expiring_at_timestamp: int | None = None
    owner: Author | None = None


class WebReel(msgspec.Struct):
    """The stories of one user."""

    user: Author | None = None
    owner: Author | None = None
    items: list[WebStory] | None = None


class Commented(msgspec.Struct):
    """A comment. What answers it stands below it."""

    id: Id
    text: str | None = None
    created_at: int | None = None
    owner: Author | None = None
    edge_liked_by: Counted | None = None
    edge_threaded_comments: "Comments | None" = None


class CommentEdge(msgspec.Struct):
    node: Commented


class Comments(msgspec.Struct):
    edges: list[CommentEdge]
    page_info: PageInfo | None = None


class FollowEdge(msgspec.Struct):
    node: Follower


class Follows(msgspec.Struct):
    edges: list[FollowEdge]
    page_info: PageInfo | None = None


def account_from_web(user: WebUser, spec: FetchSpec, at: str = "$.graphql.user") -> InstagramAccount:
    handle = user.username or spec.params.get("handle")
    if not handle or not str(user.id).isdigit():
        raise Malformed("a user without a name or an id", path=at)
    the_one_asked_for(spec, handle=handle, profile_id=str(user.id))
    timeline = user.edge_owner_to_timeline_media
    return InstagramAccount(
        profile_id=str(user.id),
        handle=handle.lower(),
        full_name=text(user.full_name),
        biography=text(user.biography),
        external_url=text(user.external_url),
        profile_pic_url=user.profile_pic_url_hd or user.profile_pic_url,
        category=text(user.category_name) or None,
        account_type="business" if user.is_business_account else None,
        is_private=user.is_private,
        is_verified=user.is_verified,
        followers=count(user.edge_followed_by.count, f"{at}.edge_followed_by.count"),
        following=count(user.edge_follow.count if user.edge_follow else None, f"{at}.edge_follow.count"),
        media_count=count(timeline.count if timeline else None, f"{at}.edge_owner_to_timeline_media.count"),
    )


def posts_from_web(
    edges: Iterable[WebEdge], at: str, *, profile_id: str | None, handle: str | None
) -> list[InstagramPost]:
    return [post_from_web(edge.node, f"{at}[{i}].node", profile_id, handle) for i, edge in enumerate(edges)]


def post_from_web(node: WebNode, at: str, profile_id: str | None = None, handle: str | None = None) -> InstagramPost:
    owner = node.owner or Author()
    likes = node.edge_media_preview_like or node.edge_liked_by or Counted()
    comments = node.edge_media_to_comment or node.edge_media_to_parent_comment or Counted()
    captions = node.edge_media_to_caption.edges if node.edge_media_to_caption else []
    name = owner.username or handle
    return InstagramPost(
        shortcode=shortcode(node.shortcode, f"{at}.shortcode"),
        post_id=bare_id(node.id),
        profile_id=owner.who() or profile_id,
        handle=name.lower() if name else None,
        post_type=TYPENAMES.get(node.typename or ""),
        caption=text(captions[0].node.text) if captions else None,
        permalink=f"https://www.instagram.com/p/{node.shortcode}/",
        thumbnail_url=node.thumbnail_src or node.display_url or node.thumbnail_url,
        media_url=node.video_url,
        taken_at=instant(node.taken_at_timestamp),
        likes=shown(likes.count, f"{at}.edge_media_preview_like.count"),
        comments=count(comments.count, f"{at}.edge_media_to_comment.count"),
        views=count(node.video_view_count, f"{at}.video_view_count"),
        plays=count(node.video_play_count, f"{at}.video_play_count"),
        video_duration=node.video_duration or None,
    )


def story_from_web(item: WebStory, reel: WebReel, spec: FetchSpec, at: str) -> InstagramStory:
    author = item.owner or reel.user or reel.owner or Author()
    the_one_asked_for(spec, handle=None, profile_id=author.who(), path=f"{at}.owner.id")
    videos = item.video_resources or []
    return InstagramStory(
        story_id=the_id(item.id, f"{at}.id"),
        profile_id=author.who() or spec.params.get("profile_id"),
        handle=author.handle(),
        media_type=None if item.is_video is None else "video" if item.is_video else "image",
        thumbnail_url=item.display_url,
        media_url=videos[-1].src if videos else None,
        taken_at=instant(item.taken_at_timestamp),
        expiring_at=instant(item.expiring_at_timestamp),
        video_duration=item.video_duration or None,
    )


def comments_from_web(
    edges: Iterable[CommentEdge], at: str, of: str, parent: str | None = None
) -> Sequence[InstagramComment]:
    """The comments on the post with the shortcode `of`, each followed by what answers it."""
    found: list[InstagramComment] = []
    for i, edge in enumerate(edges):
        node, here = edge.node, f"{at}[{i}].node"
        owner, answers = node.owner or Author(), node.edge_threaded_comments
        comment = InstagramComment(
            comment_id=the_id(node.id, f"{here}.id"),
            shortcode=of,
            parent_id=parent,
            profile_id=owner.who(),
            handle=owner.handle(),
            text=text(node.text),
            commented_at=instant(node.created_at),
            likes=count((node.edge_liked_by or Counted()).count, f"{here}.edge_liked_by.count"),
        )
        found.append(comment)
        if answers and parent is None:
            found += comments_from_web(
                answers.edges, f"{here}.edge_threaded_comments.edges", of, parent=comment.comment_id
            )
    return found
