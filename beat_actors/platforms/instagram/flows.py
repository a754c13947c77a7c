"""What a consumer may ask of Instagram."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from beat_actors.platforms.instagram.crawler import InstagramCrawler
from beat_actors.platforms.instagram.entities import InstagramAccount, InstagramPost
from beat_actors.platforms.interface import FetchSpec, Flow, Parsed

Handle = Annotated[
    str, msgspec.Meta(pattern=r"^@?[A-Za-z0-9._]{1,30}$", description="letters, digits, dots, underscores")
]
ProfileId = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}$")]
Posts = Annotated[int, msgspec.Meta(ge=0, le=2000)]


class ByHandle(msgspec.Struct, forbid_unknown_fields=True):
    """`posts`: how many recent posts are wanted beside the profile."""

    handle: Handle
    posts: Posts = 12

    def __post_init__(self) -> None:
        self.handle = self.handle.removeprefix("@").lower()


class ByProfileId(msgspec.Struct, forbid_unknown_fields=True):
    profile_id: ProfileId
    posts: Posts = 12


class Basic(msgspec.Struct, forbid_unknown_fields=True):
    handle: Handle

    def __post_init__(self) -> None:
        self.handle = self.handle.removeprefix("@").lower()


def more_posts(spec: FetchSpec, params: Mapping[str, Any], parsed: Parsed, items: int) -> Sequence[FetchSpec]:
    """The next page while posts are missing: by the cursor at the source that gave it, else from the start at any source."""
    wanted = int(params.get("posts", 0))
    posts = items - 1  # the profile is one of the items
    page = sum(isinstance(record, InstagramPost) for record in parsed.records)
    if posts >= wanted or (spec.page > 1 and page == 0):
        return ()
    account = next((record for record in parsed.records if isinstance(record, InstagramAccount)), None)
    if account is not None:
        return _first_page(spec, account, parsed, posts)
    if parsed.next_cursor is None:
        return ()
    return (FetchSpec(spec.operation, spec.params, parsed.next_cursor, spec.source, spec.page + 1),)


def _first_page(spec: FetchSpec, account: InstagramAccount, parsed: Parsed, posts: int) -> Sequence[FetchSpec]:
    if account.is_private or (account.media_count is not None and account.media_count <= posts):
        return ()
    if parsed.next_cursor is not None:
        params = {"handle": account.handle, "profile_id": account.profile_id}
        return (FetchSpec("posts_by_handle", params, parsed.next_cursor, spec.source, 2),)
    if not account.profile_id.isdigit():
        return ()
    return (InstagramCrawler.fetch_posts_by_id(account.profile_id),)


def no_more(*_: Any) -> Sequence[FetchSpec]:
    return ()


FLOWS = {
    flow.name: flow
    for flow in (
        Flow(
            "refresh_profile_by_handle",
            ByHandle,
            lambda params: InstagramCrawler.fetch_profile_by_handle(params.handle),
            more_posts,
        ),
        Flow(
            "refresh_profile_by_profile_id",
            ByProfileId,
            lambda params: InstagramCrawler.fetch_profile_by_id(params.profile_id),
            more_posts,
        ),
        Flow(
            "refresh_profile_basic",
            Basic,
            lambda params: InstagramCrawler.fetch_profile_by_handle(params.handle),
            no_more,
        ),
    )
}
