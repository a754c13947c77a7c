"""BestSolutions (`rapidapi-bestsolutions`): the user object at the root of the answer, and a feed.

source: the provider's endpoint list. 2 calls a second is what its operators have found to hold.
"""

from beat_actors.platforms.instagram.post_lists import the_posts
from beat_actors.platforms.instagram.posts import POST_TELLS
from beat_actors.platforms.instagram.rapidapi import InstagramBehindRapidApi
from beat_actors.platforms.instagram.users import PROFILE_TELLS, the_profile
from beat_actors.platforms.interface import Call, Endpoint, FetchSpec, Limit, Parsed, Secret
from beat_actors.platforms.rapidapi import keyed

HOST = "instagram-api-cheap-best-performance.p.rapidapi.com"


def by_handle(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/profile", {"username": spec.params["handle"]}, secret)


def by_id(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/profile", {"user_id": spec.params["profile_id"]}, secret)


def feed(spec: FetchSpec, secret: Secret) -> Call:
    cursor = {"next_max_id": spec.cursor} if spec.cursor else {}
    return keyed(HOST, "/feed", {"user_id": spec.params["profile_id"], **cursor}, secret)


def parse_profile(body: bytes, spec: FetchSpec) -> Parsed:
    return the_profile(body, spec, at="$")


class BestSolutions(InstagramBehindRapidApi):
    name = "bestsolutions"
    host = HOST
    base_url = f"https://{HOST}"
    limits = (Limit("second", 2, 1),)
    endpoints = {
        "profile_by_handle": Endpoint(by_handle, parse_profile, tells=PROFILE_TELLS),
        "profile_by_id": Endpoint(by_id, parse_profile, tells=PROFILE_TELLS),
        "posts_by_id": Endpoint(feed, the_posts, tells=POST_TELLS),
    }
