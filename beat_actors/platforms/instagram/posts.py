"""A post as Instagram's private API, its web and the gateways return it.

The private API has `code`, `taken_at` and `like_count`, the web has `shortcode`, `taken_at_timestamp` and `edge_media_preview_like.count`, and
today's web mixes both. Each field is read under any of its names, and the post is found in any of its wrappers.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from beat_actors.errors import Missing
from beat_actors.platforms.instagram.entities import InstagramPost
from beat_actors.platforms.instagram.payloads import (
    Author,
    Candidates,
    Caption,
    Counted,
    Text,
    Url,
    an_id,
    concealed,
    moment,
    own_id,
    reported,
    shortcode,
    shortcode_of,
    the_post_asked_for,
    words,
)
from beat_actors.platforms.interface import FetchSpec, Parsed, told
from beat_actors.platforms.reading import Count, Id, Time, decoder, duration, given, silent_on, text, whole

POST_TELLS = told(InstagramPost, always={"caption"}, never={"graph_id", "carousel_id"})
POST_TYPES = {1: "image", 2: "reels", 8: "carousel"}
TYPENAMES = {"GraphImage": "image", "GraphVideo": "reels", "GraphSidecar": "carousel"}
TYPENAMES |= {f"XDT{name}": kind for name, kind in TYPENAMES.items()}


class CaptionNode(msgspec.Struct):
    node: Text


class CaptionEdges(msgspec.Struct):
    edges: list[CaptionNode] | None = None


class Child(msgspec.Struct):
    """A picture or video of a carousel."""

    image_versions2: Candidates | None = None
    thumbnail_url: str | None = None


Other = list[Any] | int | float | str | None


class Node(msgspec.Struct):
    pk: Id | None = None
    id: Id | None = None
    user: Author | None = None
    owner: Author | None = None
    coauthor_producers: list[Author] | None = None
    thumbnail_url: str | None = None
    video_url: str | None = None
    video_duration: Count = None
    # Fields of the private API, and the same flattened by Lama.
    code: str | None = None
    media_type: Count = None
    taken_at: Time = None
    taken_at_ts: Time = None
    caption: Caption | msgspec.UnsetType = msgspec.UNSET
    caption_text: str | msgspec.UnsetType | None = msgspec.UNSET
    image_versions2: Candidates | None = None
    display_uri: str | None = None
    carousel_media: list[Child] | None = None
    resources: list[Child] | None = None
    video_versions: list[Url] | None = None
    like_count: Count = None
    comment_count: Count = None
    view_count: Count = None
    play_count: Count = None
    ig_play_count: Count = None
    like_and_view_counts_disabled: bool | None = None
    # Fields of the web.
    shortcode: str | None = None
    typename: str | None = msgspec.field(name="__typename", default=None)
    is_video: bool | None = None
    display_url: str | None = None
    thumbnail_src: str | None = None
    taken_at_timestamp: Time = None
    video_view_count: Count = None
    video_play_count: Count = None
    edge_media_to_caption: CaptionEdges | msgspec.UnsetType | None = msgspec.UNSET
    edge_media_to_comment: Counted | None = None
    edge_media_to_parent_comment: Counted | None = None
    edge_media_preview_like: Counted | None = None
    edge_liked_by: Counted | None = None
    # Fields of the web of 2016. The private API uses these names for other things.
    likes: Counted | Other = None
    comments: Counted | Other = None
    date: Time = None
    # Some answers have the post one level further down.
    media: "Node | None" = None
    media_or_ad: "Node | None" = None

    def authors(self) -> list[Author]:
        """The authors that the node names. A post may have several, and is in the list of each."""
        named = (self.user, self.owner, *(self.coauthor_producers or ()))
        return [each for each in named if each is not None and (each.who() or each.username)]

    def is_of_the_web(self) -> bool:
        return (
            self.shortcode is not None
            or self.typename is not None
            or self.taken_at_timestamp is not None
            or self.display_url is not None
            or given(self.edge_media_to_caption) is not None
        )


class Items(msgspec.Struct):
    items: list[Node] | None = None


class PostData(Items):
    shortcode_media: Node | msgspec.UnsetType | None = msgspec.UNSET
    xdt_shortcode_media: Node | msgspec.UnsetType | None = msgspec.UNSET
    xdt_api__v1__media__shortcode__web_info: Items | None = None


class PostAnswer(Node):
    """A post at the root, in `items`, in `media_or_ad`, or in the web's `data` or `graphql`, depending on the path and the year."""

    items: list[Node] | None = None
    data: PostData | None = None
    graphql: PostData | None = None


decode_post = decoder(PostAnswer)


def the_post(body: bytes, spec: FetchSpec) -> Parsed:
    """The post that was asked for. Raises `Missing` where the answer says that there is none, and `Malformed` where it has another post."""
    node, at = _the_node(decode_post(body))
    node, at = inner(node, at)
    found = post_record(node, at)
    the_post_asked_for(spec, found.shortcode, f"{at}.{'code' if node.shortcode is None else 'shortcode'}")
    return Parsed([found])


def _the_node(answer: PostAnswer) -> tuple[Node, str]:
    if answer.items is not None:
        return _first(answer.items, "$.items")
    for name, data in (("data", answer.data), ("graphql", answer.graphql)):
        if data is None:
            continue
        for edge in ("xdt_shortcode_media", "shortcode_media"):
            node = getattr(data, edge)
            if node is None:
                raise Missing("there is no such post")
            if node is not msgspec.UNSET:
                return node, f"$.{name}.{edge}"
        info = data.xdt_api__v1__media__shortcode__web_info
        if info is not None and info.items is not None:
            return _first(info.items, f"$.{name}.xdt_api__v1__media__shortcode__web_info.items")
        if data.items is not None:
            return _first(data.items, f"$.{name}.items")
    return answer, "$"


def _first(items: Sequence[Node], at: str) -> tuple[Node, str]:
    if not items:
        raise Missing("there is no such post")
    return items[0], f"{at}[0]"


def inner(node: Node, at: str) -> tuple[Node, str]:
    if node.media is not None:
        return node.media, f"{at}.media"
    return (node, at) if node.media_or_ad is None else (node.media_or_ad, f"{at}.media_or_ad")


def post_record(node: Node, at: str, profile_id: str | None = None, handle: str | None = None) -> InstagramPost:
    author = node.owner if node.user is None else node.user
    author, web = author or Author(), node.is_of_the_web()
    if not author.is_one_of(profile_id, handle) and (author.who() or author.handle()):
        profile_id = handle = None  # a post of several authors that names another one first
    own = own_id(node.pk, node.id)
    code = node.shortcode or node.code or shortcode_of(own) or ""
    captions = _captions(node)
    comments, threads = node.edge_media_to_comment or Counted(), node.edge_media_to_parent_comment or Counted()
    older = node.comments if isinstance(node.comments, Counted) else Counted()
    videos = node.video_versions or []
    code = shortcode(code, f"{at}.{'shortcode' if web else 'code'}")
    # Where the owner hides the number of likes, the answer has another number in its place (-1, or 3).
    hidden, likes = node.like_and_view_counts_disabled, _likes(node)
    return InstagramPost(
        shortcode=code,
        post_id=an_id(own, f"{at}.pk"),
        profile_id=an_id(author.who(), f"{at}.user.pk") or profile_id,
        handle=author.handle() or handle,
        post_type=_kind(node),
        caption=words(*map(given, captions)),
        permalink=f"https://www.instagram.com/p/{code}/",
        thumbnail_url=text(_picture(node)),
        media_url=text(node.video_url or (videos[0].url if videos else None)),
        taken_at=moment(node.taken_at_ts, node.taken_at, node.taken_at_timestamp, node.date),
        likes=None if hidden else reported(at, **likes),
        comments=reported(
            at,
            comment_count=node.comment_count,
            edge_media_to_comment__count=comments.count,
            edge_media_to_parent_comment__count=threads.count,
            comments__count=older.count,
        ),
        views=reported(at, view_count=node.view_count, video_view_count=node.video_view_count),
        plays=reported(
            at,
            play_count=node.play_count,
            ig_play_count=node.ig_play_count,
            video_play_count=node.video_play_count,
        ),
        video_duration=duration(node.video_duration),
        hidden=("likes",) if hidden else concealed(likes=tuple(likes.values()), comments=(node.comment_count,)),
        untold=silent_on(caption=captions),
    )


def _captions(node: Node) -> tuple[str | msgspec.UnsetType | None, ...]:
    """The caption in each of its places, unset where the place has no text. A list without captions says that there is none."""
    plain = node.caption.text if isinstance(node.caption, Text) else node.caption
    edges = node.edge_media_to_caption.edges if isinstance(node.edge_media_to_caption, CaptionEdges) else None
    listed = [each.node.text for each in edges or ()] if edges or edges is None else [None]
    return (node.caption_text, plain, *listed)


def _kind(node: Node) -> str | None:
    """`None` where the node only says that it is not a video: it may be one picture or several."""
    told = POST_TYPES.get(whole(node.media_type) or 0) or TYPENAMES.get(node.typename or "")
    return told or ("reels" if node.is_video else None)


def _likes(node: Node) -> dict[str, Count]:
    """The number of likes, under each of its names."""
    return {
        "like_count": node.like_count,
        "edge_media_preview_like__count": node.edge_media_preview_like.count if node.edge_media_preview_like else None,
        "edge_liked_by__count": node.edge_liked_by.count if node.edge_liked_by else None,
        "likes__count": node.likes.count if isinstance(node.likes, Counted) else None,
    }


def _picture(node: Node) -> str | None:
    """The picture that represents the post: the web's square thumbnail, or that of the first part of a carousel."""
    told = node.thumbnail_src or node.display_url or node.thumbnail_url or node.display_uri
    part = (node.carousel_media or node.resources or [Child()])[0]
    return told or _first_of(node.image_versions2) or _first_of(part.image_versions2) or part.thumbnail_url


def _first_of(pictures: Candidates | None) -> str | None:
    return pictures.first() if pictures else None
