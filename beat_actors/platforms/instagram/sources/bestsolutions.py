"""BestSolutions (`rapidapi-bestsolutions`): the user object at the root of the answer, and a feed.

source: the provider's endpoint list. 2 calls a second is what its operators have found to hold.
"""

import msgspec

from beat_actors.platforms.instagram.private import PrivateMedia, PrivateUser, account_from_private, post_from_private
from beat_actors.platforms.instagram.rapidapi import InstagramBehindRapidApi
from beat_actors.platforms.interface import Call, Endpoint, FetchSpec, Limit, Parsed, Secret
from beat_actors.platforms.rapidapi import keyed
from beat_actors.platforms.reading import decoder

HOST = "instagram-api-cheap-best-performance.p.rapidapi.com"


class Feed(msgspec.Struct):
    items: list[PrivateMedia]
    more_available: bool | None = None
    next_max_id: int | str | None = None


decode_profile = decoder(PrivateUser)
decode_feed = decoder(Feed)


def by_handle(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/profile", {"username": spec.params["handle"]}, secret)


def by_id(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/profile", {"user_id": spec.params["profile_id"]}, secret)


def feed(spec: FetchSpec, secret: Secret) -> Call:
    cursor = {"next_max_id": spec.cursor} if spec.cursor else {}
    return keyed(HOST, "/feed", {"user_id": spec.params["profile_id"], **cursor}, secret)


def parse_profile(body: bytes, spec: FetchSpec) -> Parsed:
    return Parsed([account_from_private(decode_profile(body), spec, at="$")])


def parse_feed(body: bytes, _spec: FetchSpec) -> Parsed:
    payload = decode_feed(body)
    found = [post_from_private(media, f"$.items[{i}]") for i, media in enumerate(payload.items)]
    return Parsed(found, str(payload.next_max_id) if payload.more_available and payload.next_max_id else None)


class BestSolutions(InstagramBehindRapidApi):
    name = "bestsolutions"
    host = HOST
    base_url = f"https://{HOST}"
    limits = (Limit("second", 2, 1),)
    endpoints = {
        "profile_by_handle": Endpoint(by_handle, parse_profile),
        "profile_by_id": Endpoint(by_id, parse_profile),
        "posts_by_id": Endpoint(feed, parse_feed),
    }
