"""Lama's double: the web shape by name, flat private shapes by id."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from beat_actors.simulator.double import Asked, ProviderDouble, Quota, Reply, reply
from beat_actors.simulator.population import Person, Population, Post
from beat_actors.simulator.providers.shapes import MEDIA_TYPE, author, photo, picture, web_node

PAGE = 33
RECENT = 12


def key(request: web.Request) -> str | None:
    return request.headers.get("x-access-key") or request.query.get("access_key") or None


def headers(calls: int, allowed: int) -> Mapping[str, str]:
    del calls, allowed
    return {"x-hiker-info": "reqs=1"}


def refuse(kind: str, retry_after: float | None) -> Reply:
    del retry_after
    words = {
        "unauthorized": (401, "Access token is invalid", "Unauthorized"),
        "rate_limited": (429, "Too many requests per second", "TooManyRequests"),
        "quota": (402, "Payment required: top up your balance", "InsufficientFunds"),
        "private": (403, "Not authorized to view user", "PrivateAccount"),
        "missing": (404, "User not found", "UserNotFound"),
        "unknown_path": (404, "Not Found", "NotFound"),
    }
    status, detail, exc_type = words[kind]
    return reply(status, {"detail": detail, "exc_type": exc_type})


def read(path: str, request: web.Request) -> Asked | None:
    query = request.query
    match path:
        case "/a1/user" | "/a2/user":
            return Asked("profile_by_handle", {"handle": query.get("username", "")})
        case "/v1/user/by/id":
            return Asked("profile_by_id", {"pk": query.get("id", "")})
        case "/v1/user/medias/chunk":
            return Asked("posts_by_id", {"pk": query.get("user_id", ""), "cursor": query.get("end_cursor", "0")})
        case "/sys/balance":
            return Asked("balance", {})
    return None


def answer(population: Population, asked: Asked, epoch: int) -> Reply:
    if asked.operation == "balance":
        return reply(200, {"requests": 100_000, "rate": 15, "currency": "USD", "amount": 60.0})
    if "handle" in asked.params:
        person = population.by_handle(asked.params["handle"], epoch)
    else:
        person = population.by_pk(asked.params["pk"], epoch)
    if person is None:
        return refuse("missing", None)
    if asked.operation == "profile_by_handle":
        recent = () if person.private else population.page(person, epoch, 0, RECENT)[0]
        return reply(200, {"graphql": {"user": web_user(person, recent)}})
    if asked.operation == "profile_by_id":
        return reply(200, flat_user(person))
    if person.private:
        return refuse("private", None)
    start = int(asked.params["cursor"]) if asked.params["cursor"].isdigit() else 0
    posts, following = population.page(person, epoch, start, PAGE)
    return reply(200, [[flat_media(person, post) for post in posts], None if following is None else str(following)])


def web_user(person: Person, posts: tuple[Post, ...]) -> dict[str, Any]:
    edges = [{"node": web_node(person, post)} for post in posts]
    return {
        "id": str(person.pk),
        "username": person.handle,
        "biography": person.biography,
        "full_name": person.full_name,
        "external_url": f"https://www.example.com/{person.handle}",
        "edge_followed_by": {"count": person.followers},
        "edge_follow": {"count": person.following},
        "is_private": person.private,
        "is_verified": person.verified,
        "is_business_account": True,
        "category_name": "Digital creator",
        "profile_pic_url": picture(person),
        "profile_pic_url_hd": picture(person),
        "edge_owner_to_timeline_media": {"count": person.post_count, "edges": edges},
    }


def flat_user(person: Person) -> dict[str, Any]:
    return {
        "pk": person.pk,
        "username": person.handle,
        "full_name": person.full_name,
        "is_private": person.private,
        "profile_pic_url": picture(person),
        "profile_pic_url_hd": None,
        "is_verified": person.verified,
        "media_count": person.post_count,
        "follower_count": person.followers,
        "following_count": person.following,
        "biography": person.biography,
        "external_url": f"https://www.example.com/{person.handle}",
        "account_type": 2,
        "is_business": True,
        "public_email": "",
        "category_name": "Digital creator",
        "category": "Digital creator",
    }


def flat_media(person: Person, post: Post) -> dict[str, Any]:
    video = post.kind == "reels"
    return {
        "pk": str(post.id),
        "id": f"{post.id}_{person.pk}",
        "code": post.shortcode,
        "taken_at": datetime.fromtimestamp(post.taken_at, UTC).isoformat().replace("+00:00", "Z"),
        "taken_at_ts": post.taken_at,
        "media_type": MEDIA_TYPE[post.kind],
        "product_type": "clips" if video else "feed",
        "thumbnail_url": photo(post),
        "location": None,
        "user": author(person) | {"pk": str(person.pk), "id": str(person.pk)},
        "comment_count": post.comments,
        "like_count": post.likes,
        "play_count": post.views * 2 if video else 0,
        "caption_text": post.caption,
        "usertags": [],
        "video_url": photo(post, 720) if video else None,
        "view_count": post.views if video else 0,
        "video_duration": 20.4 if video else 0.0,
        "title": "",
        "resources": [],
    }


DOUBLE = ProviderDouble("lama", (Quota(15, 1),), key, read, answer, refuse, headers)
