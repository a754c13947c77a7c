"""JoTucker (`rapidapi-jotucker`): private-API shapes. `user_info_by_id` also takes a user name, as its documentation has it.

source: the provider's endpoint list. 5 calls a second is what its operators have found to hold.
"""

import msgspec

from beat_actors.errors import Missing
from beat_actors.platforms.instagram.payloads import (
    PrivateMedia,
    PrivateUser,
    account_from_private,
    decoder,
    post_from_private,
)
from beat_actors.platforms.instagram.rapidapi import RapidApiSource, keyed
from beat_actors.platforms.interface import Call, Endpoint, FetchSpec, Limit, Parsed, Secret

HOST = "instagram-scraper2.p.rapidapi.com"


class Profile(msgspec.Struct):
    user: PrivateUser | None


class Posts(msgspec.Struct):
    items: list[PrivateMedia]
    next_max_id: int | str | None = None
    more_available: bool = False


decode_profile = decoder(Profile)
decode_posts = decoder(Posts)


def by_handle(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/user_info_by_id", {"user_name": spec.params["handle"]}, secret)


def by_id(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/user_info_by_id", {"user_id": spec.params["profile_id"]}, secret)


def posts(spec: FetchSpec, secret: Secret) -> Call:
    cursor = {"max_id": spec.cursor} if spec.cursor else {}
    return keyed(HOST, "/medias_v2", {"user_id": spec.params["profile_id"], "batch_size": "50", **cursor}, secret)


def parse_profile(body: bytes, spec: FetchSpec) -> Parsed:
    payload = decode_profile(body)
    if payload.user is None:
        raise Missing("there is no such user")
    return Parsed([account_from_private(payload.user, spec)])


def parse_posts(body: bytes, _spec: FetchSpec) -> Parsed:
    payload = decode_posts(body)
    found = [post_from_private(media, f"$.items[{i}]") for i, media in enumerate(payload.items)]
    return Parsed(found, str(payload.next_max_id) if payload.more_available and payload.next_max_id else None)


class JoTucker(RapidApiSource):
    name = "jotucker"
    host = HOST
    base_url = f"https://{HOST}"
    limits = (Limit("second", 5, 1),)
    endpoints = {
        "profile_by_handle": Endpoint(by_handle, parse_profile),
        "profile_by_id": Endpoint(by_id, parse_profile),
        "posts_by_id": Endpoint(posts, parse_posts),
    }
