"""ArrayBobo (`rapidapi-arraybobo` on the marketplace): private-API profiles, reels and stories, web GraphQL listings.

source: the provider's endpoint list. 100 calls in 30 seconds is what its operators have found to hold.
Stories come in the private API's shape or in the web's.
"""

import msgspec

from beat_actors.errors import Malformed, Missing
from beat_actors.platforms.instagram.payloads import the_post_asked_for
from beat_actors.platforms.instagram.private import (
    PrivateMedia,
    PrivateReel,
    PrivateUser,
    account_from_private,
    post_from_private,
    story_from_private,
)
from beat_actors.platforms.instagram.rapidapi import InstagramBehindRapidApi
from beat_actors.platforms.instagram.web import (
    Timeline,
    WebNode,
    WebReel,
    next_page,
    post_from_web,
    posts_from_web,
    story_from_web,
)
from beat_actors.platforms.interface import Call, Endpoint, FetchSpec, Limit, Parsed, Secret
from beat_actors.platforms.rapidapi import keyed
from beat_actors.platforms.reading import Id, decoder

HOST = "instagram-scraper-2022.p.rapidapi.com"


class Profile(msgspec.Struct):
    user: PrivateUser | None


class Listing(msgspec.Struct):
    edge_owner_to_timeline_media: Timeline


class Data(msgspec.Struct):
    user: Listing | None


class Posts(msgspec.Struct):
    data: Data


class TaggedListing(msgspec.Struct):
    edge_user_to_photos_of_you: Timeline


class TaggedData(msgspec.Struct):
    user: TaggedListing | None


class Tagged(msgspec.Struct):
    data: TaggedData


class Clip(msgspec.Struct):
    media: PrivateMedia


class Paging(msgspec.Struct):
    max_id: Id | None = None
    more_available: bool | None = None


class Reels(msgspec.Struct):
    items: list[Clip]
    paging_info: Paging | None = None


class WebReels(msgspec.Struct):
    reels_media: list[WebReel]


class Stories(msgspec.Struct):
    """`reels` by the user's id; `data` where the web was asked."""

    reels: dict[str, PrivateReel | None] | None = None
    data: WebReels | None = None


decode_profile = decoder(Profile)
decode_posts = decoder(Posts)
decode_post = decoder(WebNode)
decode_reels = decoder(Reels)
decode_tagged = decoder(Tagged)
decode_stories = decoder(Stories)


def by_handle(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/ig/info_username/", {"user": spec.params["handle"]}, secret)


def by_id(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/ig/info/", {"id_user": spec.params["profile_id"]}, secret)


def posts(spec: FetchSpec, secret: Secret) -> Call:
    cursor = {"end_cursor": spec.cursor} if spec.cursor else {}
    return keyed(HOST, "/ig/posts/", {"id_user": spec.params["profile_id"], **cursor}, secret)


def post(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/ig/post_info/", {"shortcode": spec.params["shortcode"]}, secret)


def reels(spec: FetchSpec, secret: Secret) -> Call:
    cursor = {"max_id": spec.cursor} if spec.cursor else {}
    return keyed(HOST, "/ig/reels_posts/", {"id_user": spec.params["profile_id"], **cursor}, secret)


def tagged(spec: FetchSpec, secret: Secret) -> Call:
    cursor = {"end_cursor": spec.cursor} if spec.cursor else {}
    return keyed(HOST, "/ig/tagged/", {"id_user": spec.params["profile_id"], **cursor}, secret)


def stories(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/ig/stories/", {"id_user": spec.params["profile_id"]}, secret)


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
    return Parsed(found, next_page(timeline.page_info))


def parse_post(body: bytes, spec: FetchSpec) -> Parsed:
    found = post_from_web(decode_post(body), "$")
    the_post_asked_for(spec, found.shortcode, "$.shortcode")
    return Parsed([found])


def parse_reels(body: bytes, _spec: FetchSpec) -> Parsed:
    payload = decode_reels(body)
    found = [post_from_private(clip.media, f"$.items[{i}].media") for i, clip in enumerate(payload.items)]
    page = payload.paging_info
    return Parsed(found, str(page.max_id) if page and page.more_available and page.max_id else None)


def parse_tagged(body: bytes, _spec: FetchSpec) -> Parsed:
    user = decode_tagged(body).data.user
    if user is None:
        raise Missing("there is no such user")
    timeline = user.edge_user_to_photos_of_you
    at = "$.data.user.edge_user_to_photos_of_you.edges"
    found = posts_from_web(timeline.edges, at, profile_id=None, handle=None)
    return Parsed(found, next_page(timeline.page_info))


def parse_stories(body: bytes, spec: FetchSpec) -> Parsed:
    """Who has none has no reel, or one without items."""
    payload = decode_stories(body)
    if payload.reels is not None:
        return Parsed(
            [
                story_from_private(item, spec, f"$.reels.{user}.items[{i}]", reel.user)
                for user, reel in payload.reels.items()
                if reel is not None
                for i, item in enumerate(reel.items or [])
            ]
        )
    if payload.data is None:
        raise Malformed("neither `reels` nor `data`", path="$.reels")
    return Parsed(
        [
            story_from_web(item, reel, spec, f"$.data.reels_media[{n}].items[{i}]")
            for n, reel in enumerate(payload.data.reels_media)
            for i, item in enumerate(reel.items or [])
        ]
    )


class ArrayBobo(InstagramBehindRapidApi):
    name = "arraybobo"
    host = HOST
    base_url = f"https://{HOST}"
    limits = (Limit("30 seconds", 100, 30),)
    endpoints = {
        "profile_by_handle": Endpoint(by_handle, parse_profile),
        "profile_by_id": Endpoint(by_id, parse_profile),
        "posts_by_id": Endpoint(posts, parse_posts),
        "post_by_shortcode": Endpoint(post, parse_post),
        "reels_by_id": Endpoint(reels, parse_reels),
        "tagged_by_id": Endpoint(tagged, parse_tagged),
        "stories_by_id": Endpoint(stories, parse_stories),
    }
