"""What a consumer may ask of Instagram."""

from collections.abc import Mapping, Sequence
from datetime import MAXYEAR, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec

from beat_actors.platforms.instagram.crawler import InstagramCrawler
from beat_actors.platforms.instagram.entities import InstagramAccount, InstagramPost
from beat_actors.platforms.interface import FetchSpec, Flow, FollowUps, OnDemand, Parsed, RequestLimit
from beat_actors.platforms.reading import WORD, name

Handle = Annotated[
    str,
    msgspec.Meta(pattern=r"^@?[A-Za-z0-9._]{1,30}$(?!\n)", description="1 to 30 letters, digits, dots or underscores"),
]
ProfileId = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}$(?!\n)", description="a profile's id: 1 to 20 digits")]
Posts = Annotated[int, msgspec.Meta(ge=0, le=2000)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Shortcode = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9_-]{5,64}$(?!\n)",
        description="a post's shortcode: 5 to 64 letters, digits, hyphens or underscores",
    ),
]
UserId = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}$(?!\n)", description="the Graph API's id of the account")]
MediaId = Annotated[
    str,
    msgspec.Meta(pattern=r"^[0-9]{1,25}(_[0-9]{1,25})?$(?!\n)", description="the Graph API's id of a post or story"),
]
HashtagName = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"^#?[{WORD}]{{1,100}}$(?!\n)",
        description="1 to 100 letters, digits or underscores, with or without #",
    ),
]
LISTED = "listed"
"""The parameter of a further page that says how many the listing has brought before it."""
Time = Annotated[datetime, msgspec.Meta(tz=True)]
FIRST_YEAR = 2010  # there was no Instagram yet
MOST_DAYS = timedelta(days=30)
"""source: the reference of insights; a longer time takes several requests."""
MediaType = Literal["image", "carousel", "reels", "story"]


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


class OfProfile(msgspec.Struct, forbid_unknown_fields=True):
    profile_id: ProfileId


class Listed(msgspec.Struct, forbid_unknown_fields=True):
    """`limit`: how many are wanted; pages are whole, so somewhat more may come."""

    profile_id: ProfileId
    limit: Limit = 50


class OfPost(msgspec.Struct, forbid_unknown_fields=True):
    shortcode: Shortcode


class CommentsOf(msgspec.Struct, forbid_unknown_fields=True):
    shortcode: Shortcode
    limit: Limit = 50


class Hashtag(msgspec.Struct, forbid_unknown_fields=True):
    hashtag: HashtagName
    limit: Limit = 50

    def __post_init__(self) -> None:
        self.hashtag = name(self.hashtag.removeprefix("#"))


class Own(msgspec.Struct, forbid_unknown_fields=True):
    user_id: UserId


class OwnInsightsDaily(msgspec.Struct, forbid_unknown_fields=True):
    """A metric of the account for each day. `since` and `until` are named together or not at all, and lie 30 days apart at most."""

    user_id: UserId
    metric: Literal["reach", "follower_count"] = "reach"
    since: Time | None = None
    until: Time | None = None

    def __post_init__(self) -> None:
        if (self.since is None) != (self.until is None):
            raise ValueError("since and until are named together, or neither is")
        if self.since is None or self.until is None:
            return
        if not FIRST_YEAR <= self.since.year < MAXYEAR or not FIRST_YEAR <= self.until.year < MAXYEAR:
            raise ValueError("there were no numbers then")
        if not timedelta(0) < self.until - self.since <= MOST_DAYS:
            raise ValueError("until lies after since, and 30 days after it at most")


class OwnProfile(msgspec.Struct, forbid_unknown_fields=True):
    user_id: UserId
    posts: Posts = 12


class OwnListed(msgspec.Struct, forbid_unknown_fields=True):
    user_id: UserId
    limit: Limit = 50


class OwnMedium(msgspec.Struct, forbid_unknown_fields=True):
    media_id: MediaId
    user_id: UserId


class OwnComments(msgspec.Struct, forbid_unknown_fields=True):
    media_id: MediaId
    user_id: UserId
    limit: Limit = 50


class OwnPostInsights(msgspec.Struct, forbid_unknown_fields=True):
    media_id: MediaId
    user_id: UserId
    media_type: MediaType


def more_posts(spec: FetchSpec, params: Mapping[str, Any], parsed: Parsed, items: int) -> Sequence[FetchSpec]:
    """The next page while posts are missing: by the cursor at the source that gave it, else from the start at any source."""
    wanted = int(params.get("posts", 0))
    page = sum(isinstance(record, InstagramPost) for record in parsed.records)
    account = next((record for record in parsed.records if isinstance(record, InstagramAccount)), None)
    if account is not None:
        return _first_page(spec, account, parsed, page) if page < wanted else ()
    posts = _listed(spec, page, items - 1)  # the profile is one of the items
    if posts >= wanted or parsed.next_cursor is None:
        return ()
    return (_page_behind(spec, parsed, posts),)


def _first_page(spec: FetchSpec, account: InstagramAccount, parsed: Parsed, posts: int) -> Sequence[FetchSpec]:
    if account.is_private or (account.media_count is not None and account.media_count <= posts):
        return ()
    if parsed.next_cursor is not None:
        params = {"handle": account.handle, "profile_id": account.profile_id, LISTED: posts}
        # By the id, where it is known, more sources can list the posts anew when this one fails.
        operation = "posts_by_id" if account.profile_id.isdigit() else "posts_by_handle"
        return (FetchSpec(operation, params, parsed.next_cursor, spec.source, 2),)
    if not account.profile_id.isdigit():
        return ()
    return (InstagramCrawler.fetch_posts_by_id(account.profile_id),)


def more_pages(spec: FetchSpec, params: Mapping[str, Any], parsed: Parsed, items: int) -> Sequence[FetchSpec]:
    """The next page until there is none or `limit` is reached."""
    listed = _listed(spec, len(parsed.records), items)
    return _next(spec, parsed, listed) if listed < int(params["limit"]) else ()


def all_pages(spec: FetchSpec, _params: Mapping[str, Any], parsed: Parsed, _items: int) -> Sequence[FetchSpec]:
    """All there is: an account has few stories at a time."""
    return _next(spec, parsed, len(parsed.records))


def more_own_posts(spec: FetchSpec, params: Mapping[str, Any], parsed: Parsed, items: int) -> Sequence[FetchSpec]:
    """The caller's own media after its own profile, until there are enough."""
    if items - 1 >= int(params["posts"]):  # the profile is one of the items
        return ()
    if spec.operation == "own_profile":
        return (InstagramCrawler.fetch_own("own_posts", params["user_id"]),)
    return _next(spec, parsed, items - 1)


def children_of_carousel(
    spec: FetchSpec, params: Mapping[str, Any], parsed: Parsed, _items: int
) -> Sequence[FetchSpec]:
    is_carousel = any(isinstance(each, InstagramPost) and each.post_type == "carousel" for each in parsed.records)
    if spec.operation != "own_post" or not is_carousel:
        return ()
    return (InstagramCrawler.fetch_own("own_children", params["user_id"], media_id=params["media_id"]),)


def other_insights(spec: FetchSpec, params: Mapping[str, Any], _parsed: Parsed, _items: int) -> Sequence[FetchSpec]:
    """After the first of an account's nine calls, the others."""
    first, *others = InstagramCrawler.fetch_profile_insights(params["user_id"])
    return others if spec.params == first.params else ()


def navigation(spec: FetchSpec, params: Mapping[str, Any], _parsed: Parsed, _items: int) -> Sequence[FetchSpec]:
    """How people left a story is broken down, so it takes a call of its own."""
    if spec.operation != "story_insights":
        return ()
    return (InstagramCrawler.fetch_own("story_navigation", params["user_id"], media_id=params["media_id"]),)


def insights_of_post(params: OwnPostInsights) -> FetchSpec:
    if params.media_type == "story":
        return InstagramCrawler.fetch_own("story_insights", params.user_id, media_id=params.media_id)
    return InstagramCrawler.fetch_own(
        "post_insights", params.user_id, media_id=params.media_id, media_type=params.media_type
    )


def insights_daily(params: OwnInsightsDaily) -> FetchSpec:
    since, until = (None if at is None else int(at.timestamp()) for at in (params.since, params.until))
    return InstagramCrawler.fetch_profile_insights_daily(params.user_id, params.metric, since, until)


def _listed(spec: FetchSpec, page: int, items: int) -> int:
    """How many the listing has brought. Where it was restarted at another source, what the request has had before is none of it."""
    return page if spec.page == 1 else int(spec.params.get(LISTED, items - page)) + page


def _next(spec: FetchSpec, parsed: Parsed, listed: int) -> Sequence[FetchSpec]:
    """The page behind this one, at the source that gave its cursor. How far that may go is the engine's rule."""
    if parsed.next_cursor is None:
        return ()
    return (_page_behind(spec, parsed, listed),)


def _page_behind(spec: FetchSpec, parsed: Parsed, listed: int) -> FetchSpec:
    params = spec.params if spec.owner else {**spec.params, LISTED: listed}  # one source alone lists what is an owner's
    return FetchSpec(spec.operation, params, parsed.next_cursor, spec.source, spec.page + 1, spec.owner)


def _listing(name: str, operation: str) -> Flow:
    """A list that belongs to an account, page by page."""
    return Flow(
        name, Listed, lambda params: InstagramCrawler.fetch_of_profile(operation, params.profile_id), more_pages
    )


def _own_listing(name: str, operation: str) -> Flow:
    return Flow(name, OwnListed, lambda params: InstagramCrawler.fetch_own(operation, params.user_id), more_pages)


def _own_medium(name: str, operation: str, params: type[msgspec.Struct], follow_ups: FollowUps) -> Flow:
    return Flow(
        name,
        params,
        lambda params: InstagramCrawler.fetch_own(operation, params.user_id, media_id=params.media_id),
        follow_ups,
    )


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
        Flow(
            "refresh_post_by_shortcode",
            OfPost,
            lambda params: InstagramCrawler.fetch_post_by_shortcode(params.shortcode),
            no_more,
        ),
        Flow(
            "refresh_stories_posts",
            OfProfile,
            lambda params: InstagramCrawler.fetch_of_profile("stories_by_id", params.profile_id),
            no_more,
        ),
        _listing("refresh_reels", "reels_by_id"),
        _listing("refresh_tagged_posts", "tagged_by_id"),
        _listing("refresh_followers", "followers_by_id"),
        _listing("refresh_following", "following_by_id"),
        Flow(
            "refresh_comments",
            CommentsOf,
            lambda params: InstagramCrawler.fetch_comments_by_shortcode(params.shortcode),
            more_pages,
        ),
        Flow(
            "refresh_hashtag_posts",
            Hashtag,
            lambda params: InstagramCrawler.fetch_hashtag_posts(params.hashtag),
            more_pages,
        ),
        Flow(
            "refresh_own_profile",
            OwnProfile,
            lambda params: InstagramCrawler.fetch_own("own_profile", params.user_id),
            more_own_posts,
        ),
        _own_listing("refresh_own_posts", "own_posts"),
        _own_listing("refresh_own_tagged_posts", "own_tagged"),
        Flow(
            "refresh_own_stories",
            Own,
            lambda params: InstagramCrawler.fetch_own("own_stories", params.user_id),
            all_pages,
        ),
        _own_medium("refresh_own_post", "own_post", OwnMedium, children_of_carousel),
        _own_medium("refresh_own_story", "own_story", OwnMedium, no_more),
        _own_medium("refresh_own_comments", "own_comments", OwnComments, more_pages),
        Flow(
            "refresh_profile_insights",
            Own,
            lambda params: InstagramCrawler.fetch_profile_insights(params.user_id)[0],
            other_insights,
            apart=True,
        ),
        Flow("refresh_profile_insights_daily", OwnInsightsDaily, insights_daily, no_more),
        Flow("refresh_post_insights", OwnPostInsights, insights_of_post, navigation),
    )
}

ON_DEMAND = OnDemand(
    flow="refresh_profile_by_handle",
    param="handle",
    limits=(
        RequestLimit("refresh_profile_insta_daily", 20_000, 86_400, reserve=0.1, pace=3600),
        RequestLimit("refresh_profile_insta_minute", 60, 60, reserve=0.1),
        RequestLimit("refresh_profile_insta_handle", 1, 1, per_subject=True),
    ),
)
