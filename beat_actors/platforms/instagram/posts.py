"""Posts as Instagram's private API, its web and the gateways tell of them, alone and in lists.

The private API says `code`, `taken_at` and `like_count`, the web `shortcode`, `taken_at_timestamp` and
`edge_media_preview_like.count`, and today's web mixes both. Each is read wherever it comes, in whatever it is wrapped.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from beat_actors.errors import Malformed, Missing
from beat_actors.platforms.instagram.entities import InstagramPost
from beat_actors.platforms.instagram.payloads import (
    Author,
    Candidates,
    Caption,
    Counted,
    PageInfo,
    Text,
    Url,
    an_id,
    moment,
    next_page,
    own_id,
    shortcode,
    shortcode_of,
    the_post_asked_for,
    told,
    words,
)
from beat_actors.platforms.interface import FetchSpec, Parsed
from beat_actors.platforms.reading import Count, Flag, Id, Time, decoder, duration, flag, text, whole
from beat_actors.platforms.reading import name as compared

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
    # The private API's, and the same flattened by Lama.
    code: str | None = None
    media_type: Count = None
    taken_at: Time = None
    taken_at_ts: Time = None
    caption: Caption = None
    caption_text: str | None = None
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
    # The web's.
    shortcode: str | None = None
    typename: str | None = msgspec.field(name="__typename", default=None)
    is_video: bool | None = None
    display_url: str | None = None
    thumbnail_src: str | None = None
    taken_at_timestamp: Time = None
    video_view_count: Count = None
    video_play_count: Count = None
    edge_media_to_caption: CaptionEdges | None = None
    edge_media_to_comment: Counted | None = None
    edge_media_to_parent_comment: Counted | None = None
    edge_media_preview_like: Counted | None = None
    edge_liked_by: Counted | None = None
    # The web's of 2016. The private API has something else under such names.
    likes: Counted | Other = None
    comments: Counted | Other = None
    date: Time = None
    # A post may stand one level further down.
    media: "Node | None" = None
    media_or_ad: "Node | None" = None

    def authors(self) -> list[Author]:
        """Who made it, as far as it is told: a post may have several authors, and stands in the list of each."""
        named = (self.user, self.owner, *(self.coauthor_producers or ()))
        return [each for each in named if each is not None and (each.who() or each.username)]

    def is_of_the_web(self) -> bool:
        told = (self.shortcode, self.typename, self.taken_at_timestamp, self.display_url, self.edge_media_to_caption)
        return any(each is not None for each in told)


class Edge(msgspec.Struct):
    node: Node


class Connection(msgspec.Struct):
    """A list of the web. A profile may tell no more of it than its count."""

    edges: list[Edge] | None = None
    count: Count = None
    page_info: PageInfo | None = None


class OfUser(msgspec.Struct):
    edge_owner_to_timeline_media: Connection | None = None
    edge_user_to_photos_of_you: Connection | None = None


class OfHashtag(msgspec.Struct):
    name: str | None = None
    edge_hashtag_to_ranked_media: Connection | None = None
    edge_hashtag_to_media: Connection | None = None


class Items(msgspec.Struct):
    items: list[Node] | None = None


class PostData(Items):
    shortcode_media: Node | msgspec.UnsetType | None = msgspec.UNSET
    xdt_shortcode_media: Node | msgspec.UnsetType | None = msgspec.UNSET
    xdt_api__v1__media__shortcode__web_info: Items | None = None


class PostAnswer(Node):
    """A post at the root, in `items`, in `media_or_ad`, or in the web's `data` or `graphql`: which, depends on the path and the year."""

    items: list[Node] | None = None
    data: PostData | None = None
    graphql: PostData | None = None


class Paging(msgspec.Struct):
    max_id: Id | None = None
    more_available: Flag = None


class ListData(Items):
    """A null user or hashtag is one that there is not."""

    user: OfUser | msgspec.UnsetType | None = msgspec.UNSET
    hashtag: OfHashtag | msgspec.UnsetType | None = msgspec.UNSET
    xdt_api__v1__feed__user_timeline_graphql_connection: Connection | None = None
    xdt_api__v1__clips__user__connection_v2: Connection | None = None
    xdt_api__v1__usertags__user_id__feed_connection: Connection | None = None


class Layout(msgspec.Struct):
    medias: list[Node] | None = None


class Section(msgspec.Struct):
    layout_content: Layout | None = None


class Response(Items):
    """A hashtag's posts stand in the rows in which they are shown."""

    sections: list[Section] | None = None
    next_max_id: Id | None = None
    more_available: Flag = None


class Listing(Response):
    """The private API's list with the cursor of its next page, or the web's edges in `data`; Lama's v2 has it in `response`."""

    paging_info: Paging | None = None
    next_page_id: Id | None = None
    response: Response | None = None
    data: ListData | None = None


class Chunk(msgspec.Struct, array_like=True):
    """Lama's pair: a page, and the next page's cursor or nothing."""

    media: list[Node]
    cursor: Id | None = None


OF_ONE = frozenset({"posts_by_id", "posts_by_handle", "reels_by_id"})
"""The lists of what one account has made."""
LISTS = {
    "posts_by_id": ("xdt_api__v1__feed__user_timeline_graphql_connection", "user.edge_owner_to_timeline_media"),
    "posts_by_handle": ("xdt_api__v1__feed__user_timeline_graphql_connection", "user.edge_owner_to_timeline_media"),
    "reels_by_id": ("xdt_api__v1__clips__user__connection_v2", "user.edge_owner_to_timeline_media"),
    "tagged_by_id": ("xdt_api__v1__usertags__user_id__feed_connection", "user.edge_user_to_photos_of_you"),
    "hashtag_posts": ("hashtag.edge_hashtag_to_ranked_media", "hashtag.edge_hashtag_to_media"),
}
"""Where the web has the posts that an operation asks for, today's way first."""

decode_post = decoder(PostAnswer)
decode_listing = decoder(Listing)
decode_chunk = decoder(Chunk)


def the_post(body: bytes, spec: FetchSpec) -> Parsed:
    """Raises `Missing` where an answer says that there is none, and `Malformed` for another than was asked for."""
    node, at = _the_node(decode_post(body))
    node, at = _inner(node, at)
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


def the_posts(body: bytes, spec: FetchSpec) -> Parsed:
    """A page of posts. Raises `Missing` where the one whose they are is not there, and `Malformed` for an answer that is no list."""
    if body.lstrip()[:1] == b"[":
        chunk = decode_chunk(body)
        return Parsed(_records(_placed(chunk.media, "$[0]"), spec), str(chunk.cursor) if chunk.cursor else None)
    page = decode_listing(body)
    for part, at in ((page, "$"), (page.response, "$.response")):
        if part is not None and (nodes := _listed(part, at)) is not None:
            return Parsed(_records(nodes, spec), _next(page))
    return _of_the_web(page.data, spec)


def _listed(part: Response, at: str) -> list[tuple[Node, str]] | None:
    if part.items is not None:
        return _placed(part.items, f"{at}.items")
    if part.sections is None:
        return None
    rows = ((i, row.layout_content.medias or []) for i, row in enumerate(part.sections) if row.layout_content)
    return [each for i, row in rows for each in _placed(row, f"{at}.sections[{i}].layout_content.medias")]


def _of_the_web(data: ListData | None, spec: FetchSpec) -> Parsed:
    named = LISTS[spec.operation]
    owner = named[-1].partition(".")[0]
    if data is not None and getattr(data, owner) is None:  # recorded: HTTP 200 with a null user where the id is unknown
        raise Missing(f"there is no such {owner}")
    tag = data.hashtag.name if data is not None and isinstance(data.hashtag, OfHashtag) else None
    if owner == "hashtag" and tag and compared(tag) != compared(str(spec.params["hashtag"])):
        raise Malformed(
            f"asked for {spec.params['hashtag']!r}, the answer is of {tag[:100]!r}", path="$.data.hashtag.name"
        )
    for path in named:
        connection = data
        for name in path.split("."):
            connection = getattr(connection, name, None)
        if isinstance(connection, Connection):
            found = _records(_nodes(connection, f"$.data.{path}"), spec)
            return Parsed(found, next_page(connection.page_info))
    raise Malformed("an answer without its posts", path=f"$.data.{named[-1]}" if data is not None else "$.items")


def _next(page: Listing) -> str | None:
    paging, inner = page.paging_info or Paging(), page.response or Response()
    cursor = page.next_max_id or paging.max_id or page.next_page_id or inner.next_max_id
    over = any(flag(each.more_available) is False for each in (page, paging))
    return str(cursor) if cursor and not over else None


def posts_of(
    connection: Connection, at: str, *, profile_id: str | None = None, handle: str | None = None
) -> list[InstagramPost]:
    return [post_record(node, where, profile_id, handle) for node, where in _nodes(connection, at)]


def _nodes(connection: Connection, at: str) -> list[tuple[Node, str]]:
    if connection.edges is None:
        raise Malformed("a list without its edges", path=f"{at}.edges")
    return [_inner(edge.node, f"{at}.edges[{i}].node") for i, edge in enumerate(connection.edges)]


def _placed(nodes: Sequence[Node], at: str) -> list[tuple[Node, str]]:
    return [_inner(node, f"{at}[{i}]") for i, node in enumerate(nodes)]


def _records(nodes: Sequence[tuple[Node, str]], spec: FetchSpec) -> list[InstagramPost]:
    """Raises `Malformed` for somebody else's posts. What an item leaves out of its author is who was asked for."""
    if spec.operation not in OF_ONE:
        return [post_record(node, at) for node, at in nodes]
    # Whom the Graph API alone knows has no id that Instagram tells.
    asked = str(spec.params.get("profile_id") or "")
    profile_id, handle = asked if asked.isdigit() else None, str(spec.params.get("handle") or "").lower() or None
    _the_author_asked_for(nodes, profile_id, handle)
    return [post_record(node, at, profile_id, handle) for node, at in nodes]


def _the_author_asked_for(nodes: Sequence[tuple[Node, str]], profile_id: str | None, handle: str | None) -> None:
    """Posts that several have made together name another of them first, so it is the page that is judged and not an item."""
    for node, _ in nodes:
        authors = node.authors()
        if not authors or any(each.is_one_of(profile_id, handle) for each in authors):
            return
    if nodes:
        node, at = nodes[0]
        found = next(each.who() or each.handle() for each in node.authors())
        path = f"{at}.{'user.pk' if node.user is not None else 'owner.id'}"
        raise Malformed(f"asked for the posts of {profile_id or handle}, these are of {found}", path=path)


def _inner(node: Node, at: str) -> tuple[Node, str]:
    if node.media is not None:
        return node.media, f"{at}.media"
    return (node, at) if node.media_or_ad is None else (node.media_or_ad, f"{at}.media_or_ad")


def post_record(node: Node, at: str, profile_id: str | None = None, handle: str | None = None) -> InstagramPost:
    author = node.owner if node.user is None else node.user
    author, web = author or Author(), node.is_of_the_web()
    if not author.is_one_of(profile_id, handle) and (author.who() or author.handle()):
        profile_id = handle = None  # somebody else's, with whom it was made
    own = own_id(node.pk, node.id)
    code = node.shortcode or node.code or shortcode_of(own) or ""
    captions = (node.edge_media_to_caption.edges if node.edge_media_to_caption else None) or []
    comments, threads = node.edge_media_to_comment or Counted(), node.edge_media_to_parent_comment or Counted()
    older = node.comments if isinstance(node.comments, Counted) else Counted()
    videos = node.video_versions or []
    code = shortcode(code, f"{at}.{'shortcode' if web else 'code'}")
    # Where the owner hides it, the number of likes that is told is not the number of likes (it is -1, or 3).
    hidden = node.like_and_view_counts_disabled
    return InstagramPost(
        shortcode=code,
        post_id=an_id(own, f"{at}.pk"),
        profile_id=an_id(author.who(), f"{at}.user.pk") or profile_id,
        handle=author.handle() or handle,
        post_type=_kind(node),
        caption=words(node.caption_text, node.caption, *(caption.node for caption in captions)),
        permalink=f"https://www.instagram.com/p/{code}/",
        thumbnail_url=text(_picture(node)),
        media_url=text(node.video_url or (videos[0].url if videos else None)),
        taken_at=moment(node.taken_at_ts, node.taken_at, node.taken_at_timestamp, node.date),
        likes=None if hidden else _likes(node, at),
        comments=told(
            at,
            comment_count=node.comment_count,
            edge_media_to_comment__count=comments.count,
            edge_media_to_parent_comment__count=threads.count,
            comments__count=older.count,
        ),
        views=told(at, view_count=node.view_count, video_view_count=node.video_view_count),
        plays=told(
            at,
            play_count=node.play_count,
            ig_play_count=node.ig_play_count,
            video_play_count=node.video_play_count,
        ),
        video_duration=duration(node.video_duration),
    )


def _kind(node: Node) -> str | None:
    """What is no video may be a picture or several: that alone does not tell."""
    told = POST_TYPES.get(whole(node.media_type) or 0) or TYPENAMES.get(node.typename or "")
    return told or ("reels" if node.is_video else None)


def _likes(node: Node, at: str) -> int | None:
    return told(
        at,
        like_count=node.like_count,
        edge_media_preview_like__count=node.edge_media_preview_like.count if node.edge_media_preview_like else None,
        edge_liked_by__count=node.edge_liked_by.count if node.edge_liked_by else None,
        likes__count=node.likes.count if isinstance(node.likes, Counted) else None,
    )


def _picture(node: Node) -> str | None:
    """The web's square own_id, as its lists show it; a carousel's is that of its first part."""
    told = node.thumbnail_src or node.display_url or node.thumbnail_url or node.display_uri
    part = (node.carousel_media or node.resources or [Child()])[0]
    return told or _first_of(node.image_versions2) or _first_of(part.image_versions2) or part.thumbnail_url


def _first_of(pictures: Candidates | None) -> str | None:
    return pictures.first() if pictures else None
