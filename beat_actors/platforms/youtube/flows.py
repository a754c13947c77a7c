"""What a consumer may ask of YouTube."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import MAXYEAR, datetime
from typing import Annotated, Any, Literal

import msgspec

from beat_actors.platforms.interface import FetchSpec, Flow, Parsed
from beat_actors.platforms.reading import WORD, composed, in_seconds, name
from beat_actors.platforms.youtube.crawler import YouTubeCrawler
from beat_actors.platforms.youtube.entities import YouTubeAccount

FIRST_YEAR = 2005  # there was no YouTube yet

ChannelId = Annotated[
    str,
    msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{24}$(?!\n)", description="a channel's id: 24 characters that begin with UC"),
]
Handle = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"^@?[{WORD}.·-]{{1,100}}$(?!\n)", description="1 to 100 letters, digits, underscores, hyphens or dots"
    ),
]
Username = Annotated[
    str, msgspec.Meta(pattern=rf"^[{WORD}.-]{{1,100}}$(?!\n)", description="1 to 100 letters, digits, dots or hyphens")
]
VideoId = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9_-]{11}$(?!\n)", description="a video's id: 11 letters, digits, hyphens or underscores"
    ),
]
CommentId = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{5,100}$(?!\n)", description="the id of a comment that begins a thread")
]
Query = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Region = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Z]{2}$(?!\n)", description="a country's code of two capital letters, such as US")
]
Language = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z]{2,3}(-[A-Za-z]{2,4})?$(?!\n)", description="a language's code, such as en or zh-Hant"
    ),
]
Limit = Annotated[int, msgspec.Meta(ge=1, le=20_000)]
Posts = Annotated[int, msgspec.Meta(ge=0, le=20_000)]
# YouTube shows about as many results of a search, and each fifty of them cost a call of the hundred a day.
Found = Annotated[int, msgspec.Meta(ge=1, le=500)]
Time = Annotated[datetime, msgspec.Meta(tz=True)]


class ById(msgspec.Struct, forbid_unknown_fields=True):
    """`posts`: how many recent posts are wanted beside the profile."""

    profile_id: ChannelId
    posts: Posts = 0


class ByHandle(msgspec.Struct, forbid_unknown_fields=True):
    handle: Handle
    posts: Posts = 0

    def __post_init__(self) -> None:
        self.handle = name(self.handle.removeprefix("@"))


class ByUsername(msgspec.Struct, forbid_unknown_fields=True):
    username: Username
    posts: Posts = 0

    def __post_init__(self) -> None:
        self.username = composed(self.username)


class PostsOf(msgspec.Struct, forbid_unknown_fields=True):
    profile_id: ChannelId
    limit: Limit = 50


class OfPost(msgspec.Struct, forbid_unknown_fields=True):
    post_id: VideoId


class CommentsOf(msgspec.Struct, forbid_unknown_fields=True):
    """`limit`: how many are wanted, answers included; pages are whole, so somewhat more may come."""

    post_id: VideoId
    limit: Limit = 100
    order: Literal["time", "relevance"] = "time"


class RepliesTo(msgspec.Struct, forbid_unknown_fields=True):
    """`post_id`: the video that the comment is on, which an answer to it need not contain."""

    comment_id: CommentId
    post_id: VideoId
    limit: Limit = 100


class Search(msgspec.Struct, forbid_unknown_fields=True):
    """`profile_id` keeps the search to a channel, `published_after` and `published_before` to a time."""

    q: Query
    profile_id: ChannelId | None = None
    published_after: Time | None = None
    published_before: Time | None = None
    order: Literal["relevance", "date", "rating", "title", "viewCount"] = "relevance"
    region: Region | None = None
    language: Language | None = None
    limit: Found = 50

    def __post_init__(self) -> None:
        _check_bounds(self.published_after, self.published_before)


class SearchOfChannel(msgspec.Struct, forbid_unknown_fields=True):
    profile_id: ChannelId
    published_after: Time | None = None
    published_before: Time | None = None
    limit: Found = 50

    def __post_init__(self) -> None:
        _check_bounds(self.published_after, self.published_before)


def _check_bounds(after: datetime | None, before: datetime | None) -> None:
    for time in (after, before):
        if time is not None and not FIRST_YEAR <= time.year < MAXYEAR:
            raise ValueError(f"{time:%Y-%m-%d} is no day on which a video was published")
    if after and before and after > before:
        raise ValueError("published_after lies after published_before")


def search(params: Search) -> FetchSpec:
    return YouTubeCrawler.fetch_posts_by_search(
        q=params.q,
        profile_id=params.profile_id,
        published_after=in_seconds(params.published_after),
        published_before=in_seconds(params.published_before),
        order=params.order,
        region=params.region,
        language=params.language,
    )


def search_of_channel(params: SearchOfChannel) -> FetchSpec:
    return YouTubeCrawler.fetch_posts_by_search(
        profile_id=params.profile_id,
        published_after=in_seconds(params.published_after),
        published_before=in_seconds(params.published_before),
        order="date",
    )


def posts_of_channel(spec: FetchSpec, params: Mapping[str, Any], parsed: Parsed, items: int) -> Sequence[FetchSpec]:
    """After a profile its uploads, as many as are wanted."""
    profile = next((record for record in parsed.records if isinstance(record, YouTubeAccount)), None)
    if profile is None:
        return listed_posts(spec, params, parsed, items)
    # A channel that has uploaded nothing has no such playlist, although its name is given.
    if not _wanted(params) or not profile.uploads_playlist_id or profile.media_count == 0:
        return ()
    return (YouTubeCrawler.fetch_posts_by_playlist(profile.uploads_playlist_id),)


def listed_posts(spec: FetchSpec, params: Mapping[str, Any], parsed: Parsed, _items: int) -> Sequence[FetchSpec]:
    """What a page lists, in one fetch, and the next page while more are wanted. How many were found so far goes with the page:
    those that were asked for may not have come yet."""
    found = 0 if spec.page == 1 else int(spec.params.get("found", 0))
    ids = parsed.listed[: _wanted(params) - found]
    found += len(ids)
    posts = (YouTubeCrawler.fetch_posts_by_ids(ids),) if ids else ()
    return (*posts, *(_next(spec, parsed, found=found) if found < _wanted(params) else ()))


def more_pages(spec: FetchSpec, params: Mapping[str, Any], parsed: Parsed, items: int) -> Sequence[FetchSpec]:
    """The next page until there is none or `limit` is reached."""
    return _next(spec, parsed) if items < int(params["limit"]) else ()


def no_more(*_: Any) -> Sequence[FetchSpec]:
    return ()


def _wanted(params: Mapping[str, Any]) -> int:
    return int(params["limit"] if "limit" in params else params["posts"])


def _next(spec: FetchSpec, parsed: Parsed, **along: Any) -> Sequence[FetchSpec]:
    """The page behind this one, at the source that gave its cursor. How far that may go is the engine's rule."""
    if parsed.next_cursor is None:
        return ()
    return (replace(spec, params={**spec.params, **along}, cursor=parsed.next_cursor, page=spec.page + 1),)


FLOWS = {
    flow.name: flow
    for flow in (
        Flow(
            "refresh_profile_by_id",
            ById,
            lambda params: YouTubeCrawler.fetch_profile_by_id(params.profile_id),
            posts_of_channel,
        ),
        Flow(
            "refresh_profile_by_handle",
            ByHandle,
            lambda params: YouTubeCrawler.fetch_profile_by_handle(params.handle),
            posts_of_channel,
        ),
        Flow(
            "refresh_profile_by_username",
            ByUsername,
            lambda params: YouTubeCrawler.fetch_profile_by_username(params.username),
            posts_of_channel,
        ),
        Flow(
            "refresh_posts_by_channel",
            PostsOf,
            lambda params: YouTubeCrawler.fetch_profile_by_id(params.profile_id),
            posts_of_channel,
        ),
        Flow("refresh_post_by_id", OfPost, lambda params: YouTubeCrawler.fetch_post_by_id(params.post_id), no_more),
        Flow(
            "refresh_post_comments",
            CommentsOf,
            lambda params: YouTubeCrawler.fetch_comments_by_post(params.post_id, params.order),
            more_pages,
        ),
        Flow(
            "refresh_comment_replies",
            RepliesTo,
            lambda params: YouTubeCrawler.fetch_replies_by_comment(params.post_id, params.comment_id),
            more_pages,
        ),
        Flow("search_posts", Search, search, listed_posts),
        Flow("search_posts_by_channel", SearchOfChannel, search_of_channel, listed_posts),
    )
}
