"""What a consumer may ask of TikTok. The first flow is the one that `beat scrape` runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import msgspec

from beat_actors.platforms.interface import FetchSpec, Flow, Parsed
from beat_actors.platforms.tiktok.crawler import TikTokCrawler
from beat_actors.platforms.tiktok.entities import TikTokAccount

Handle = Annotated[
    str,
    msgspec.Meta(pattern=r"^@?[A-Za-z0-9._]{1,24}$(?!\n)", description="1 to 24 letters, digits, dots or underscores"),
]
PostId = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}$(?!\n)", description="the number in a post's link")]
Posts = Annotated[int, msgspec.Meta(ge=0, le=2000)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class Profile(msgspec.Struct, forbid_unknown_fields=True):
    """`posts`: how many recent posts are wanted beside the profile; pages are whole, so somewhat more may come."""

    handle: Handle
    posts: Posts = 12

    def __post_init__(self) -> None:
        self.handle = self.handle.removeprefix("@").lower()


class OfPost(msgspec.Struct, forbid_unknown_fields=True):
    post_id: PostId


class CommentsOf(msgspec.Struct, forbid_unknown_fields=True):
    """`limit`: how many are wanted; pages are whole, so somewhat more may come."""

    post_id: PostId
    limit: Limit = 50


def more_posts(spec: FetchSpec, params: Mapping[str, Any], parsed: Parsed, items: int) -> Sequence[FetchSpec]:
    """The first page of posts after the profile, at any source; then the next, at the source that gave its cursor."""
    if items - 1 >= int(params["posts"]):  # the profile is one of the items
        return ()
    account = next((record for record in parsed.records if isinstance(record, TikTokAccount)), None)
    if account is None:
        return _next(spec, parsed)
    if account.is_private or account.media_count == 0:
        return ()
    return (TikTokCrawler.fetch_posts_by_id(account.profile_id, account.handle, account.sec_uid),)


def more_comments(spec: FetchSpec, params: Mapping[str, Any], parsed: Parsed, items: int) -> Sequence[FetchSpec]:
    return _next(spec, parsed) if items < int(params["limit"]) else ()


def no_more(*_: Any) -> Sequence[FetchSpec]:
    return ()


def _next(spec: FetchSpec, parsed: Parsed) -> Sequence[FetchSpec]:
    """The page behind this one. How far that may go is the engine's rule."""
    if parsed.next_cursor is None:
        return ()
    return (replace(spec, cursor=parsed.next_cursor, page=spec.page + 1),)


FLOWS = {
    flow.name: flow
    for flow in (
        Flow(
            "refresh_tiktok_profiles",
            Profile,
            lambda params: TikTokCrawler.fetch_profile_by_handle(params.handle),
            more_posts,
            workers=5,
            concurrency=5,
        ),
        Flow(
            "refresh_tiktok_post",
            OfPost,
            lambda params: TikTokCrawler.fetch_post_by_id(params.post_id),
            no_more,
        ),
        Flow(
            "refresh_tiktok_comments",
            CommentsOf,
            lambda params: TikTokCrawler.fetch_comments_by_post(params.post_id),
            more_comments,
        ),
    )
}
