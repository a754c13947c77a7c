"""Threads of comments and the answers to a comment."""

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import FetchSpec, Parsed, told
from beat_actors.platforms.reading import Count, Id, count, decoder, instant, text
from beat_actors.platforms.youtube.entities import YouTubeComment
from beat_actors.platforms.youtube.payloads import Page, Resource, optional_id, the_id

COMMENT_TELLS = told(YouTubeComment)


class AuthorId(Resource):
    value: str | None = None


class CommentSnippet(Resource):
    author_display_name: str | None = None
    author_channel_id: AuthorId | None = None
    text_original: str | None = None
    text_display: str | None = None
    parent_id: Id | None = None
    video_id: Id | None = None
    like_count: Count = None
    published_at: str | None = None
    updated_at: str | None = None


class Comment(Resource):
    id: Id
    snippet: CommentSnippet


class ThreadSnippet(Resource):
    top_level_comment: Comment
    video_id: Id | None = None
    total_reply_count: Count = None


class Replies(Resource):
    comments: list[Comment] | None = None


class Thread(Resource):
    snippet: ThreadSnippet
    replies: Replies | None = None


decode_threads = decoder(Page[Thread])
decode_replies = decoder(Page[Comment])


def parse_threads(body: bytes, spec: FetchSpec) -> Parsed:
    page = decode_threads(body)
    found = [each for i, thread in enumerate(page.all()) for each in comments(thread, spec, f"$.items[{i}]")]
    return Parsed(found, page.next_page_token or None)


def parse_replies(body: bytes, spec: FetchSpec) -> Parsed:
    page = decode_replies(body)
    found = [reply(each, spec, f"$.items[{i}]") for i, each in enumerate(page.all())]
    return Parsed(found, page.next_page_token or None)


def comments(thread: Thread, spec: FetchSpec, at: str) -> list[YouTubeComment]:
    """The comment that begins a thread, and the answers that the thread has with it."""
    asked, said = spec.params["post_id"], optional_id(thread.snippet.video_id, f"{at}.snippet.videoId")
    if said not in (None, asked):
        raise Malformed(f"asked for {asked!r}, the answer is of {said!r}", path=f"{at}.snippet.videoId")
    replies = count(thread.snippet.total_reply_count, f"{at}.snippet.totalReplyCount")
    first = _comment(thread.snippet.top_level_comment, asked, f"{at}.snippet.topLevelComment", replies=replies)
    answers = (thread.replies.comments if thread.replies else None) or []
    return [
        first,
        *(
            _comment(each, asked, f"{at}.replies.comments[{i}]", parent_id=first.comment_id)
            for i, each in enumerate(answers)
        ),
    ]


def reply(comment: Comment, spec: FetchSpec, at: str) -> YouTubeComment:
    """An answer to the comment that was asked for. Raises `Malformed` where it answers another one, or belongs to another video."""
    of = {"parentId": ("comment_id", comment.snippet.parent_id), "videoId": ("post_id", comment.snippet.video_id)}
    for key, (param, named) in of.items():
        asked, said = spec.params[param], optional_id(named, f"{at}.snippet.{key}")
        if said not in (None, asked):
            raise Malformed(f"asked for {asked!r}, the answer is of {said!r}", path=f"{at}.snippet.{key}")
    return _comment(comment, spec.params["post_id"], at, parent_id=spec.params["comment_id"])


def _comment(
    comment: Comment, post_id: str, at: str, *, parent_id: str | None = None, replies: int | None = None
) -> YouTubeComment:
    snippet = comment.snippet
    return YouTubeComment(
        comment_id=the_id(comment.id, f"{at}.id"),
        post_id=post_id,
        parent_id=optional_id(snippet.parent_id, f"{at}.snippet.parentId") or parent_id,
        profile_id=text(snippet.author_channel_id.value) if snippet.author_channel_id else None,
        author_name=text(snippet.author_display_name),
        text=text(snippet.text_display if snippet.text_original is None else snippet.text_original),
        commented_at=instant(snippet.published_at),
        edited_at=instant(snippet.updated_at),
        likes=count(snippet.like_count, f"{at}.snippet.likeCount"),
        replies=replies,
    )
