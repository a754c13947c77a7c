"""The Graph API's objects, field by field, their ids, and the shape of its errors."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from beat_actors.simulator.population import CAROUSEL, VIDEO, Person, Population, Post
from beat_actors.simulator.provider import Reply, World, reply
from beat_actors.simulator.shapes.graph_fields import BadFields
from beat_actors.simulator.shapes.relations import stories
from beat_actors.simulator.shapes.urls import avatar, picture, video

SOURCE = "graphapi"
PAGE, LARGEST = 25, 100
FIRST_FBID = 17_841_400_000_000_000
FIRST_MEDIA_ID, PLACES = 18_000_000_000_000_000, 1_000
MEDIA_TYPES = {1: "IMAGE", VIDEO: "VIDEO", CAROUSEL: "CAROUSEL_ALBUM"}
USER: Mapping[str, Callable[[World, Person], Any]] = {
    "id": lambda _w, p: str(p.fbid),
    "ig_id": lambda _w, p: p.pk,
    "username": lambda _w, p: p.handle,
    "name": lambda _w, p: p.full_name,
    "biography": lambda _w, p: p.biography,
    "website": lambda _w, p: p.website,
    "followers_count": lambda _w, p: p.followers,
    "follows_count": lambda _w, p: p.following,
    "media_count": lambda _w, p: p.posts,
    "profile_picture_url": lambda w, p: avatar(w, p, 1080),
}
MediaField = Callable[[World, Person, Post], Any]
MEDIA: Mapping[str, MediaField] = {
    "id": lambda _w, p, post: media_id(p, post),
    "caption": lambda _w, _p, post: post.caption,
    "comments_count": lambda _w, _p, post: post.comments,
    "like_count": lambda _w, _p, post: None if post.likes_hidden else post.likes,
    "media_type": lambda _w, _p, post: MEDIA_TYPES[post.kind],
    "media_product_type": lambda _w, _p, post: "REELS" if post.kind == VIDEO else "FEED",
    "media_url": lambda w, _p, post: video(w, post) if post.kind == VIDEO else picture(w, post),
    "thumbnail_url": lambda w, _p, post: picture(w, post, 640) if post.kind == VIDEO else None,
    "view_count": lambda _w, _p, post: post.views,
    "permalink": lambda _w, p, post: permalink(p, post),
    "shortcode": lambda _w, _p, post: post.shortcode,
    "timestamp": lambda _w, _p, post: timestamp(post.taken_at),
    "username": lambda _w, p, _post: p.handle,
    "owner": lambda _w, p, _post: {"id": str(p.fbid)},
}


def media_id(person: Person, post: Post) -> str:
    """A media id of the Graph API's own, which is not Instagram's pk. A story's ordinal is below zero."""
    return str(FIRST_MEDIA_ID + person.index * PLACES + post.ordinal % PLACES)


def by_media_id(people: Population, found: str) -> tuple[Person, Post] | None:
    """The medium or story with that id."""
    if not found.isascii() or not found.isdigit() or len(found) > 18:
        return None
    index, ordinal = divmod(int(found) - FIRST_MEDIA_ID, PLACES)
    person = people.person(index) if index >= 0 else None
    if person is None:
        return None
    if ordinal < person.posts:
        return person, people.post(person, ordinal)
    return next(((person, story) for story in stories(people, person) if story.ordinal % PLACES == ordinal), None)


def told(world: World, person: Person, post: Post, wanted: Sequence[tuple[str, MediaField]]) -> dict[str, Any]:
    """What a medium does not have is left out, not null."""
    return {name: value for name, get in wanted if (value := get(world, person, post)) is not None}


@lru_cache(maxsize=256)
def getters(wanted: tuple[str, ...]) -> tuple[tuple[str, MediaField], ...]:
    for name in wanted:
        if name not in MEDIA:
            raise BadFields(f"(#100) Tried accessing nonexisting field ({name}) on node type (IGMedia)")
    return tuple((name, MEDIA[name]) for name in dict.fromkeys(wanted))


def permalink(person: Person, post: Post) -> str:
    if post.ordinal < 0:
        return f"https://www.instagram.com/stories/{person.handle}/{post.pk}"
    return f"https://www.instagram.com/{'reel' if post.kind == VIDEO else 'p'}/{post.shortcode}/"


def timestamp(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC).isoformat()[:19]}+0000"


def account(world: World, node: str) -> Person | None:
    if not node.isascii() or not node.isdigit() or len(node) > 18:
        return None
    person = world.people.person(int(node) - FIRST_FBID)
    return person if person and str(person.fbid) == node else None


def graph_error(status: int, code: int, message: str, headers: Mapping[str, str] | None = None, **more: Any) -> Reply:
    trace = f"A{code}{len(message):x}simulated"
    return reply(
        {"error": {"message": message, "type": "OAuthException", "code": code, **more, "fbtrace_id": trace}},
        status,
        headers,
    )


def no_object(node: str) -> Reply:
    return graph_error(
        400,
        100,
        f"Unsupported get request. Object with ID '{re.sub('[^0-9]', '', node)}' does not exist, cannot be loaded due to "
        "missing permissions, or does not support this operation.",
        error_subcode=33,
    )


def told_of_user(world: World, person: Person, names: Sequence[str]) -> dict[str, Any]:
    for name in names:
        if name not in USER:
            raise BadFields(f"(#100) Tried accessing nonexisting field ({name}) on node type (IGUser)")
    return {**{name: USER[name](world, person) for name in names}, "id": str(person.fbid)}
