"""Users as Instagram's private API, its web and the gateways return them: profiles, and lists of who follows whom.

The private API says `pk` and `follower_count`, the web `id` and `edge_followed_by.count`; which of them a gateway passes on changes
from year to year, and so does what it wraps around it. Each is read wherever it comes.
"""

import msgspec

from beat_actors.errors import Malformed, Missing
from beat_actors.platforms.instagram.entities import InstagramAccount, InstagramFollow
from beat_actors.platforms.instagram.payloads import (
    Author,
    Counted,
    PageInfo,
    Url,
    counted,
    next_page,
    own_id,
    the_id,
    the_one_asked_for,
)
from beat_actors.platforms.instagram.post_lists import Connection, posts_of
from beat_actors.platforms.instagram.posts import POST_TELLS
from beat_actors.platforms.interface import FetchSpec, Parsed, told
from beat_actors.platforms.reading import Count, Flag, Id, decoder, flag, given, silent_on, text, whole

ACCOUNT_TYPES = {1: "personal", 2: "business", 3: "creator"}
PROFILE_TELLS = {
    **told(InstagramAccount, always={"full_name", "biography", "external_url", "category"}, never={"graph_id"}),
    **POST_TELLS,
}
"""A profile tells its latest posts as well."""
FOLLOWER_TELLS = told(InstagramFollow, never={"followed_handle"})
FOLLOWING_TELLS = told(InstagramFollow, never={"follower_handle"})
Said = str | msgspec.UnsetType | None
"""A text. A gateway that leaves its key out does not say that the account has none."""


class User(Author):
    # The private API's, and the same flattened by Lama.
    follower_count: Count = None
    following_count: Count = None
    media_count: Count = None
    full_name: Said = msgspec.UNSET
    biography: Said = msgspec.UNSET
    external_url: Said = msgspec.UNSET
    bio_links: list[Url] | msgspec.UnsetType | None = msgspec.UNSET
    profile_pic_url: str | None = None
    profile_pic_url_hd: str | None = None
    hd_profile_pic_url_info: Url | None = None
    category: Said = msgspec.UNSET
    category_name: Said = msgspec.UNSET
    account_type: Count = None
    is_private: Flag = None
    is_verified: Flag = None
    # The web's.
    edge_followed_by: Counted | None = None
    edge_follow: Counted | None = None
    edge_owner_to_timeline_media: Connection | None = None
    business_category_name: Said = msgspec.UNSET
    is_business_account: Flag = None


class Holder(msgspec.Struct):
    user: User | msgspec.UnsetType | None = msgspec.UNSET


class UserAnswer(User):
    """The user at the root, in `user`, in `data.user` or in `graphql.user`."""

    user: User | msgspec.UnsetType | None = msgspec.UNSET
    data: Holder | None = None
    graphql: Holder | None = None


class Follower(Author):
    """A user in a list of users."""


class FollowEdge(msgspec.Struct):
    node: Follower


class Follows(msgspec.Struct):
    edges: list[FollowEdge]
    page_info: PageInfo | None = None


class Followed(msgspec.Struct):
    edge_followed_by: Follows | None = None
    edge_follow: Follows | None = None


class FollowData(msgspec.Struct):
    user: Followed | msgspec.UnsetType | None = msgspec.UNSET


class Users(msgspec.Struct):
    users: list[Follower] | None = None
    next_max_id: Id | None = None


class FollowAnswer(Users):
    """The web's edges, or the private API's list with the cursor of its next page. Version 2 of Lama wraps it in `response`."""

    data: FollowData | None = None
    response: Users | None = None
    next_page_id: Id | None = None


decode_user = decoder(UserAnswer)
decode_follows = decoder(FollowAnswer)


def the_profile(body: bytes, spec: FetchSpec, at: str) -> Parsed:
    """The account, and its latest posts where the answer has them. `at`: the path where this source has the user, for the error without one."""
    answer = decode_user(body)
    for name, holder in (("data", answer.data), ("graphql", answer.graphql)):
        if holder is not None and holder.user is not msgspec.UNSET:
            return _profile(holder.user, spec, f"$.{name}.user")
    if answer.user is not msgspec.UNSET:
        return _profile(answer.user, spec, "$.user")
    if answer.who() is None and answer.username is None:
        raise Malformed("an answer without its user", path=at)
    return _profile(answer, spec, "$")


def _profile(user: User | None, spec: FetchSpec, at: str) -> Parsed:
    if user is None:  # recorded: HTTP 200 with a null user where there is none of that id
        raise Missing("there is no such user")
    account, timeline = account_record(user, spec, at), user.edge_owner_to_timeline_media
    if timeline is None or timeline.edges is None:
        return Parsed([account])
    here = f"{at}.edge_owner_to_timeline_media"
    return Parsed([account, *posts_of(timeline, here, profile_id=account.profile_id, handle=account.handle)])


def account_record(user: User, spec: FetchSpec, at: str) -> InstagramAccount:
    """Raises `Malformed` for another user than was asked for, and for one without an id, a name or a follower count."""
    web = user.edge_followed_by or user.edge_follow or user.edge_owner_to_timeline_media
    profile_id = the_id(user.who(), f"{at}.{'id' if web else 'pk'}")
    # Some gateways leave the name out of the web's answer: the caller knows it.
    handle = user.handle() or (str(spec.params["handle"]).lower() if web and "handle" in spec.params else None)
    if not handle:
        raise Malformed("a user without a name", path=f"{at}.username")
    the_one_asked_for(
        spec, handle=handle, profile_id=profile_id, path=f"{at}.{'id' if web else 'pk'}", name=f"{at}.username"
    )
    followers = counted(
        at,
        follower_count=user.follower_count,
        edge_followed_by__count=user.edge_followed_by.count if user.edge_followed_by else None,
    )
    if followers is None:
        missing = "edge_followed_by.count" if web else "follower_count"
        raise Malformed("an account without its follower count", path=f"{at}.{missing}")
    timeline, links = user.edge_owner_to_timeline_media, given(user.bio_links) or ()
    link = next((each.url for each in links if each.url), None)
    picture = user.hd_profile_pic_url_info.url if user.hd_profile_pic_url_info else None
    return InstagramAccount(
        profile_id=profile_id,
        handle=handle,
        full_name=text(given(user.full_name)),
        biography=text(given(user.biography)),
        # Since a profile may have several links, the newer answers name them in the list alone.
        external_url=text(given(user.external_url) or link),
        profile_pic_url=text(picture or user.profile_pic_url_hd or user.profile_pic_url),
        category=text(given(user.category_name) or given(user.category) or given(user.business_category_name)) or None,
        account_type=ACCOUNT_TYPES.get(whole(user.account_type) or 0)
        or ("business" if user.is_business_account else None),
        is_private=flag(user.is_private),
        is_verified=flag(user.is_verified),
        followers=followers,
        following=counted(
            at,
            following_count=user.following_count,
            edge_follow__count=user.edge_follow.count if user.edge_follow else None,
        ),
        media_count=counted(
            at,
            media_count=user.media_count,
            edge_owner_to_timeline_media__count=timeline.count if timeline else None,
        ),
        untold=silent_on(
            full_name=(user.full_name,),
            biography=(user.biography,),
            external_url=(user.external_url, msgspec.UNSET if links and not link else user.bio_links),
            category=(user.category_name, user.category, user.business_category_name),
        ),
    )


def the_follows(body: bytes, spec: FetchSpec) -> Parsed:
    """Raises `Missing` where the owner of the list does not exist."""
    answer = decode_follows(body)
    edge = "edge_followed_by" if spec.operation == "followers_by_id" else "edge_follow"
    at = f"$.data.user.{edge}"
    for page, where in ((answer, "$"), (answer.response, "$.response")):
        if page is not None and page.users is not None:
            found = [follow(user, spec, f"{where}.users[{i}]") for i, user in enumerate(page.users)]
            cursor = answer.next_page_id or page.next_max_id
            return Parsed(found, str(cursor) if cursor else None)
    user = answer.data.user if answer.data else msgspec.UNSET
    if user is None:
        raise Missing("there is no such user")
    follows = getattr(user, edge, None)
    if follows is None:
        raise Malformed("an answer without its list of users", path=at)
    found = [follow(each.node, spec, f"{at}.edges[{i}].node") for i, each in enumerate(follows.edges)]
    return Parsed(found, next_page(follows.page_info))


def follow(user: Follower, spec: FetchSpec, at: str) -> InstagramFollow:
    """One entry of a list. The operation says whether it follows the account or is followed by it."""
    other = the_id(own_id(user.pk, user.pk_id, user.id), f"{at}.id")
    profile_id, handle = str(spec.params["profile_id"]), user.handle()
    if not handle:
        raise Malformed("a user without a name", path=f"{at}.username")
    if spec.operation == "followers_by_id":
        return InstagramFollow(
            follow_id=f"{other}:{profile_id}", follower_id=other, follower_handle=handle, followed_id=profile_id
        )
    return InstagramFollow(
        follow_id=f"{profile_id}:{other}", follower_id=profile_id, followed_id=other, followed_handle=handle
    )
