"""Lists of posts as Instagram's private API, its web and the gateways answer them: a profile's posts and reels, tagged posts, hashtags.

The private API has `items` and a cursor, the web has `edges` below the list's name, and Lama has a pair of both or wraps them in `response`.
"""

from collections.abc import Sequence

import msgspec

from beat_actors.errors import Malformed, Missing
from beat_actors.platforms.instagram.entities import InstagramPost
from beat_actors.platforms.instagram.payloads import (
    PageInfo,
    next_page,
)
from beat_actors.platforms.instagram.posts import Items, Node, inner, post_record
from beat_actors.platforms.interface import FetchSpec, Parsed
from beat_actors.platforms.reading import Count, Flag, Id, decoder, flag
from beat_actors.platforms.reading import name as compared


class Edge(msgspec.Struct):
    node: Node


class Connection(msgspec.Struct):
    """A list of the web. A profile may have no more of it than its count."""

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


class Paging(msgspec.Struct):
    max_id: Id | None = None
    more_available: Flag = None


class ListData(Items):
    """A null user or hashtag means that it does not exist."""

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
    """The posts of a hashtag are in `sections`, the rows in which the app shows them."""

    sections: list[Section] | None = None
    next_max_id: Id | None = None
    more_available: Flag = None


class Listing(Response):
    """The private API's list with the cursor of its next page, or the web's edges in `data`. Version 2 of Lama wraps it in `response`."""

    paging_info: Paging | None = None
    next_page_id: Id | None = None
    response: Response | None = None
    data: ListData | None = None


class Chunk(msgspec.Struct, array_like=True):
    """Lama's pair: a page, and the cursor of the next one."""

    media: list[Node]
    cursor: Id | None = None


OF_ONE = frozenset({"posts_by_id", "posts_by_handle", "reels_by_id"})
"""The operations that list the posts of one account."""
LISTS = {
    "posts_by_id": ("xdt_api__v1__feed__user_timeline_graphql_connection", "user.edge_owner_to_timeline_media"),
    "posts_by_handle": ("xdt_api__v1__feed__user_timeline_graphql_connection", "user.edge_owner_to_timeline_media"),
    "reels_by_id": ("xdt_api__v1__clips__user__connection_v2", "user.edge_owner_to_timeline_media"),
    "tagged_by_id": ("xdt_api__v1__usertags__user_id__feed_connection", "user.edge_user_to_photos_of_you"),
    "hashtag_posts": ("hashtag.edge_hashtag_to_ranked_media", "hashtag.edge_hashtag_to_media"),
}
"""Where the web's answer has the posts of an operation, today's place first."""
decode_listing = decoder(Listing)
decode_chunk = decoder(Chunk)


def the_posts(body: bytes, spec: FetchSpec) -> Parsed:
    """A page of posts. Raises `Missing` where the owner of the list does not exist, and `Malformed` for an answer that is not a list."""
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
    if data is not None and getattr(data, owner) is None:  # recorded: 200 with a null user for an unknown id
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
    return [inner(edge.node, f"{at}.edges[{i}].node") for i, edge in enumerate(connection.edges)]


def _placed(nodes: Sequence[Node], at: str) -> list[tuple[Node, str]]:
    return [inner(node, f"{at}[{i}]") for i, node in enumerate(nodes)]


def _records(nodes: Sequence[tuple[Node, str]], spec: FetchSpec) -> list[InstagramPost]:
    """Raises `Malformed` for posts of another account. Where an item does not name its author, the author is the account that was asked for."""
    if spec.operation not in OF_ONE:
        return [post_record(node, at) for node, at in nodes]
    # An account that was only observed through the Graph API has an id that Instagram's own answers do not have.
    asked = str(spec.params.get("profile_id") or "")
    profile_id, handle = asked if asked.isdigit() else None, str(spec.params.get("handle") or "").lower() or None
    _the_author_asked_for(nodes, profile_id, handle)
    return [post_record(node, at, profile_id, handle) for node, at in nodes]


def _the_author_asked_for(nodes: Sequence[tuple[Node, str]], profile_id: str | None, handle: str | None) -> None:
    """A post of several authors may name another one first. So one post of the account is enough, and no item is judged by itself."""
    for node, _ in nodes:
        authors = node.authors()
        if not authors or any(each.is_one_of(profile_id, handle) for each in authors):
            return
    if nodes:
        node, at = nodes[0]
        found = next(each.who() or each.handle() for each in node.authors())
        path = f"{at}.{'user.pk' if node.user is not None else 'owner.id'}"
        raise Malformed(f"asked for the posts of {profile_id or handle}, these are of {found}", path=path)
