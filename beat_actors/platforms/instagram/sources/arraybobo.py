"""ArrayBobo (`rapidapi-arraybobo` on the marketplace): private-API profiles, web GraphQL listings.

source: the provider's endpoint list. 100 calls in 30 seconds is what its operators have found to hold.
"""

import msgspec

from beat_actors.errors import Missing
from beat_actors.platforms.instagram.payloads import (
    PrivateUser,
    Timeline,
    account_from_private,
    decoder,
    posts_from_web,
)
from beat_actors.platforms.instagram.rapidapi import RapidApiSource, keyed
from beat_actors.platforms.interface import Call, Endpoint, FetchSpec, Limit, Parsed, Secret

HOST = "instagram-scraper-2022.p.rapidapi.com"


class Profile(msgspec.Struct):
    user: PrivateUser | None


class Listing(msgspec.Struct):
    edge_owner_to_timeline_media: Timeline


class Data(msgspec.Struct):
    user: Listing | None


class Posts(msgspec.Struct):
    data: Data


decode_profile = decoder(Profile)
decode_posts = decoder(Posts)


def by_handle(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/ig/info_username/", {"user": spec.params["handle"]}, secret)


def by_id(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/ig/info/", {"id_user": spec.params["profile_id"]}, secret)


def posts(spec: FetchSpec, secret: Secret) -> Call:
    cursor = {"end_cursor": spec.cursor} if spec.cursor else {}
    return keyed(HOST, "/ig/posts/", {"id_user": spec.params["profile_id"], **cursor}, secret)


def parse_profile(body: bytes, spec: FetchSpec) -> Parsed:
    payload = decode_profile(body)
    if payload.user is None:
        raise Missing("there is no such user")
    return Parsed([account_from_private(payload.user, spec)])


def parse_posts(body: bytes, spec: FetchSpec) -> Parsed:
    user = decode_posts(body).data.user
    if user is None:  # recorded: HTTP 200 with a null user where the id is unknown
        raise Missing("there is no such user")
    timeline = user.edge_owner_to_timeline_media
    at = "$.data.user.edge_owner_to_timeline_media.edges"
    found = posts_from_web(timeline.edges, at, profile_id=spec.params["profile_id"], handle=None)
    page = timeline.page_info
    return Parsed(found, page.end_cursor if page and page.has_next_page else None)


class ArrayBobo(RapidApiSource):
    name = "arraybobo"
    host = HOST
    base_url = f"https://{HOST}"
    limits = (Limit("30 seconds", 100, 30),)
    endpoints = {
        "profile_by_handle": Endpoint(by_handle, parse_profile),
        "profile_by_id": Endpoint(by_id, parse_profile),
        "posts_by_id": Endpoint(posts, parse_posts),
    }
