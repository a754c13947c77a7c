"""JoTucker (`rapidapi-jotucker`): private-API users and posts, web lists. `user_info_by_id` also takes a user name, as documented.

source: the provider's endpoint list. 5 calls a second is what its operators have found to hold.
"""

import msgspec

from beat_actors.errors import Malformed, Missing
from beat_actors.platforms.instagram.payloads import the_post_asked_for
from beat_actors.platforms.instagram.private import (
    PrivateMedia,
    PrivateUser,
    account_from_private,
    follow,
    post_from_private,
)
from beat_actors.platforms.instagram.rapidapi import InstagramBehindRapidApi
from beat_actors.platforms.instagram.web import (
    Comments,
    Follows,
    Timeline,
    comments_from_web,
    next_page,
    posts_from_web,
)
from beat_actors.platforms.interface import Call, Endpoint, FetchSpec, Limit, Parsed, Secret
from beat_actors.platforms.rapidapi import keyed
from beat_actors.platforms.reading import decoder

HOST = "instagram-scraper2.p.rapidapi.com"


class Profile(msgspec.Struct):
    user: PrivateUser | None


class Posts(msgspec.Struct):
    items: list[PrivateMedia]
    next_max_id: int | str | None = None
    more_available: bool | None = None


class Followed(msgspec.Struct):
    edge_followed_by: Follows


class FollowedData(msgspec.Struct):
    user: Followed | None


class Followers(msgspec.Struct):
    data: FollowedData


class Follower(msgspec.Struct):
    edge_follow: Follows


class FollowerData(msgspec.Struct):
    user: Follower | None


class Following(msgspec.Struct):
    data: FollowerData


class Thread(msgspec.Struct):
    """Older answers have the plain edge, without what answers a comment."""

    edge_media_to_parent_comment: Comments | None = None
    edge_media_to_comment: Comments | None = None


class ThreadData(msgspec.Struct):
    shortcode_media: Thread | None


class Threads(msgspec.Struct):
    data: ThreadData


class Hashtag(msgspec.Struct):
    edge_hashtag_to_ranked_media: Timeline


class HashtagData(msgspec.Struct):
    hashtag: Hashtag | None


class HashtagPosts(msgspec.Struct):
    data: HashtagData


decode_profile = decoder(Profile)
decode_posts = decoder(Posts)
decode_followers = decoder(Followers)
decode_following = decoder(Following)
decode_comments = decoder(Threads)
decode_hashtag = decoder(HashtagPosts)


def by_handle(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/user_info_by_id", {"user_name": spec.params["handle"]}, secret)


def by_id(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/user_info_by_id", {"user_id": spec.params["profile_id"]}, secret)


def posts(spec: FetchSpec, secret: Secret) -> Call:
    cursor = {"max_id": spec.cursor} if spec.cursor else {}
    return keyed(HOST, "/medias_v2", {"user_id": spec.params["profile_id"], "batch_size": "50", **cursor}, secret)


def post(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/media_info_v2", {"short_code": spec.params["shortcode"]}, secret)


def followers(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/followers", {"user_id": spec.params["profile_id"], **_page(spec)}, secret)


def following(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/following", {"user_id": spec.params["profile_id"], **_page(spec)}, secret)


def comments(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/media_comments", {"short_code": spec.params["shortcode"], **_page(spec)}, secret)


def hashtag(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/hash_tag_medias_v2", {"hash_tag": spec.params["hashtag"], **_page(spec)}, secret)


def _page(spec: FetchSpec) -> dict[str, str]:
    return {"batch_size": "50", **({"next_cursor": spec.cursor} if spec.cursor else {})}


def parse_profile(body: bytes, spec: FetchSpec) -> Parsed:
    payload = decode_profile(body)
    if payload.user is None:
        raise Missing("there is no such user")
    return Parsed([account_from_private(payload.user, spec)])


def parse_posts(body: bytes, _spec: FetchSpec) -> Parsed:
    payload = decode_posts(body)
    found = [post_from_private(media, f"$.items[{i}]") for i, media in enumerate(payload.items)]
    return Parsed(found, str(payload.next_max_id) if payload.more_available and payload.next_max_id else None)


def parse_post(body: bytes, spec: FetchSpec) -> Parsed:
    items = decode_posts(body).items
    if not items:
        raise Missing("there is no such post")
    found = post_from_private(items[0], "$.items[0]")
    the_post_asked_for(spec, found.shortcode, "$.items[0].code")
    return Parsed([found])


def parse_followers(body: bytes, spec: FetchSpec) -> Parsed:
    user = decode_followers(body).data.user
    if user is None:
        raise Missing("there is no such user")
    return _follows(user.edge_followed_by, spec, "$.data.user.edge_followed_by")


def parse_following(body: bytes, spec: FetchSpec) -> Parsed:
    user = decode_following(body).data.user
    if user is None:
        raise Missing("there is no such user")
    return _follows(user.edge_follow, spec, "$.data.user.edge_follow")


def _follows(follows: Follows, spec: FetchSpec, at: str) -> Parsed:
    found = [follow(edge.node, spec, f"{at}.edges[{i}].node") for i, edge in enumerate(follows.edges)]
    return Parsed(found, next_page(follows.page_info))


def parse_comments(body: bytes, spec: FetchSpec) -> Parsed:
    media = decode_comments(body).data.shortcode_media
    if media is None:
        raise Missing("there is no such post")
    thread, name = media.edge_media_to_parent_comment, "edge_media_to_parent_comment"
    if thread is None:
        thread, name = media.edge_media_to_comment, "edge_media_to_comment"
    at = f"$.data.shortcode_media.{name}"
    if thread is None:
        raise Malformed("a post without its comments", path=at)
    return Parsed(comments_from_web(thread.edges, f"{at}.edges", spec.params["shortcode"]), next_page(thread.page_info))


def parse_hashtag(body: bytes, _spec: FetchSpec) -> Parsed:
    tag = decode_hashtag(body).data.hashtag
    if tag is None:
        raise Missing("there is no such hashtag")
    ranked = tag.edge_hashtag_to_ranked_media
    at = "$.data.hashtag.edge_hashtag_to_ranked_media.edges"
    return Parsed(posts_from_web(ranked.edges, at, profile_id=None, handle=None), next_page(ranked.page_info))


class JoTucker(InstagramBehindRapidApi):
    name = "jotucker"
    host = HOST
    base_url = f"https://{HOST}"
    limits = (Limit("second", 5, 1),)
    endpoints = {
        "profile_by_handle": Endpoint(by_handle, parse_profile),
        "profile_by_id": Endpoint(by_id, parse_profile),
        "posts_by_id": Endpoint(posts, parse_posts),
        "post_by_shortcode": Endpoint(post, parse_post),
        "comments_by_shortcode": Endpoint(comments, parse_comments),
        "followers_by_id": Endpoint(followers, parse_followers),
        "following_by_id": Endpoint(following, parse_following),
        "hashtag_posts": Endpoint(hashtag, parse_hashtag),
    }
