"""Comments as Instagram's private API, its web and the gateways return them, each followed by what answers it."""

from collections.abc import Iterable

import msgspec

from beat_actors.errors import Malformed, Missing
from beat_actors.platforms.instagram.entities import InstagramComment
from beat_actors.platforms.instagram.payloads import (
    Author,
    Counted,
    PageInfo,
    an_id,
    concealed,
    next_page,
    own_id,
    reported,
    the_id,
    the_post_asked_for,
)
from beat_actors.platforms.interface import FetchSpec, Parsed, told
from beat_actors.platforms.reading import Count, Id, Time, decoder, instant, text

COMMENT_TELLS = told(InstagramComment, never={"post_id"})


class Commented(msgspec.Struct):
    pk: Id | None = None
    id: Id | None = None
    text: str | None = None
    created_at: Time = None
    # The private API's.
    user: Author | None = None
    comment_like_count: Count = None
    preview_child_comments: "list[Commented] | None" = None
    # The web's.
    owner: Author | None = None
    edge_liked_by: Counted | None = None
    edge_threaded_comments: "Comments | None" = None


class CommentEdge(msgspec.Struct):
    node: Commented


class Comments(msgspec.Struct):
    """Older answers have the plain edge, without what answers a comment."""

    edges: list[CommentEdge]
    page_info: PageInfo | None = None


class Thread(msgspec.Struct):
    shortcode: str | None = None
    edge_media_to_parent_comment: Comments | None = None
    edge_media_to_comment: Comments | None = None


class ThreadData(msgspec.Struct):
    shortcode_media: Thread | msgspec.UnsetType | None = msgspec.UNSET
    xdt_shortcode_media: Thread | msgspec.UnsetType | None = msgspec.UNSET
    xdt_api__v1__media__media_id__comments__connection: Comments | None = None


class Answer(msgspec.Struct):
    """The web's edges, or the private API's list with the cursor of its next page."""

    data: ThreadData | None = None
    comments: list[Commented] | None = None
    next_min_id: Id | None = None
    next_max_id: Id | None = None


class Chunk(msgspec.Struct, array_like=True):
    """A pair: a page of the web's comments, and the next page's cursor or nothing."""

    comments: list[Commented]
    cursor: Id | None = None


decode_comments = decoder(Answer)
decode_chunk = decoder(Chunk)


def the_comments(body: bytes, spec: FetchSpec) -> Parsed:
    """Raises `Missing` where an answer says that there is no such post."""
    answer, of = decode_comments(body), spec.params["shortcode"]
    if answer.comments is not None:
        cursor = answer.next_min_id or answer.next_max_id
        listed = ((f"$.comments[{i}]", each) for i, each in enumerate(answer.comments))
        return Parsed(_records(listed, of), str(cursor) if cursor else None)
    comments, at = _of_the_web(answer.data, spec)
    return Parsed(_records(_nodes(comments, at), of), next_page(comments.page_info))


def a_chunk(body: bytes, spec: FetchSpec) -> Parsed:
    page = decode_chunk(body)
    listed = ((f"$[0][{i}]", each) for i, each in enumerate(page.comments))
    return Parsed(_records(listed, spec.params["shortcode"]), str(page.cursor) if page.cursor else None)


def _of_the_web(data: ThreadData | None, spec: FetchSpec) -> tuple[Comments, str]:
    found = data or ThreadData()
    listed = found.xdt_api__v1__media__media_id__comments__connection
    if listed is not None:
        return listed, "$.data.xdt_api__v1__media__media_id__comments__connection"
    for name in ("xdt_shortcode_media", "shortcode_media"):
        media = getattr(found, name)
        if media is None:
            raise Missing("there is no such post")
        if isinstance(media, Thread) and media.shortcode:
            the_post_asked_for(spec, media.shortcode, f"$.data.{name}.shortcode")
        for edge in ("edge_media_to_parent_comment", "edge_media_to_comment"):
            thread = getattr(media, edge, None)
            if thread is not None:
                return thread, f"$.data.{name}.{edge}"
    raise Malformed("a post without its comments", path="$.data.shortcode_media.edge_media_to_comment")


def _nodes(comments: Comments, at: str) -> Iterable[tuple[str, Commented]]:
    return ((f"{at}.edges[{i}].node", edge.node) for i, edge in enumerate(comments.edges))


def _records(listed: Iterable[tuple[str, Commented]], of: str, parent: str | None = None) -> list[InstagramComment]:
    """The comments on the post with the shortcode `of`. Answers to answers are not returned."""
    found: list[InstagramComment] = []
    for at, node in listed:
        author = node.user or node.owner or Author()
        liked = node.edge_liked_by.count if node.edge_liked_by else None
        comment = InstagramComment(
            comment_id=the_id(own_id(node.pk, node.id), f"{at}.id"),
            shortcode=of,
            parent_id=parent,
            profile_id=an_id(author.who(), f"{at}.owner.id"),
            handle=author.handle(),
            text=text(node.text),
            commented_at=instant(node.created_at),
            likes=reported(
                at,
                comment_like_count=node.comment_like_count,
                edge_liked_by__count=liked,
            ),
            hidden=concealed(likes=(node.comment_like_count, liked)),
        )
        found.append(comment)
        if parent is None:
            answers = node.preview_child_comments or []
            found += _records(
                ((f"{at}.preview_child_comments[{i}]", each) for i, each in enumerate(answers)), of, comment.comment_id
            )
            if node.edge_threaded_comments:
                threaded = _nodes(node.edge_threaded_comments, f"{at}.edge_threaded_comments")
                found += _records(threaded, of, comment.comment_id)
    return found
