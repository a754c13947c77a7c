"""JoTucker (`rapidapi-jotucker`): private-API users and posts, web lists. `user_info_by_id` also takes a user name, as documented.

source: the provider's endpoint list. 5 calls a second is what its operators have found to hold.
"""

from beat_actors.platforms.instagram.comments import COMMENT_TELLS, the_comments
from beat_actors.platforms.instagram.post_lists import the_posts
from beat_actors.platforms.instagram.posts import POST_TELLS, the_post
from beat_actors.platforms.instagram.rapidapi import InstagramBehindRapidApi
from beat_actors.platforms.instagram.users import (
    FOLLOWER_TELLS,
    FOLLOWING_TELLS,
    PROFILE_TELLS,
    the_follows,
    the_profile,
)
from beat_actors.platforms.interface import Call, Endpoint, FetchSpec, Limit, Parsed, Secret
from beat_actors.platforms.rapidapi import keyed

HOST = "instagram-scraper2.p.rapidapi.com"
PAGE = 50


def by_handle(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/user_info_by_id", {"user_name": spec.params["handle"]}, secret)


def by_id(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/user_info_by_id", {"user_id": spec.params["profile_id"]}, secret)


def posts(spec: FetchSpec, secret: Secret) -> Call:
    cursor = {"max_id": spec.cursor} if spec.cursor else {}
    return keyed(
        HOST,
        "/medias_v2",
        {"user_id": spec.params["profile_id"], "batch_size": str(spec.at_most(PAGE)), **cursor},
        secret,
    )


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
    return {"batch_size": str(spec.at_most(PAGE)), **({"next_cursor": spec.cursor} if spec.cursor else {})}


def parse_profile(body: bytes, spec: FetchSpec) -> Parsed:
    return the_profile(body, spec, at="$.user")


class JoTucker(InstagramBehindRapidApi):
    name = "jotucker"
    host = HOST
    base_url = f"https://{HOST}"
    limits = (Limit("second", 5, 1),)
    endpoints = {
        "profile_by_handle": Endpoint(by_handle, parse_profile, tells=PROFILE_TELLS),
        "profile_by_id": Endpoint(by_id, parse_profile, tells=PROFILE_TELLS),
        "posts_by_id": Endpoint(posts, the_posts, page=PAGE, tells=POST_TELLS),
        "post_by_shortcode": Endpoint(post, the_post, tells=POST_TELLS),
        "comments_by_shortcode": Endpoint(comments, the_comments, page=PAGE, tells=COMMENT_TELLS),
        "followers_by_id": Endpoint(followers, the_follows, page=PAGE, tells=FOLLOWER_TELLS),
        "following_by_id": Endpoint(following, the_follows, page=PAGE, tells=FOLLOWING_TELLS),
        "hashtag_posts": Endpoint(hashtag, the_posts, page=PAGE, tells=POST_TELLS),
    }
