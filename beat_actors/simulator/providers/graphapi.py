"""The Graph API's double: business discovery, with its field syntax, its usage headers and its error bodies."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from beat_actors.simulator.double import Asked, ProviderDouble, Quota, Reply, reply
from beat_actors.simulator.population import Person, Population, Post
from beat_actors.simulator.providers.shapes import photo, picture

MEDIA_TYPE = {"image": "IMAGE", "reels": "VIDEO", "carousel": "CAROUSEL_ALBUM"}
DISCOVERY = re.compile(r"business_discovery\.username\(([^)]*)\)\{(.*)\}$", re.DOTALL)
MEDIA = re.compile(r"media((?:\.\w+\([^)]*\))*)\{[^}]*\}")


def token(request: web.Request) -> str | None:
    return request.query.get("access_token") or None


def headers(calls: int, allowed: int) -> Mapping[str, str]:
    percent = min(100, calls * 100 // allowed) if allowed else 0
    usage = {"call_count": percent, "total_time": percent // 2, "total_cputime": percent // 2}
    return {"X-App-Usage": msgspec.json.encode(usage).decode(), "facebook-api-version": "v24.0"}


def refuse(kind: str, retry_after: float | None) -> Reply:
    """Graph's error bodies. A wait is told in minutes, in the business use case header."""
    minutes = max(1, round((retry_after or 60) / 60))
    usage = [
        {
            "type": "instagram",
            "call_count": 100,
            "total_cputime": 25,
            "total_time": 25,
            "estimated_time_to_regain_access": minutes,
        }
    ]
    throttled = {"X-Business-Use-Case-Usage": msgspec.json.encode({"17841400000000000": usage}).decode()}
    if kind == "unauthorized":
        return _error(400, 190, "Error validating access token: The session has been invalidated.", error_subcode=460)
    if kind == "rate_limited":
        return _error(
            403, 4, "(#4) Application request limit reached", throttled if retry_after else {}, is_transient=True
        )
    if kind == "quota":
        return _error(400, 80002, "(#80002) There have been too many calls to this Instagram account.", throttled)
    if kind in ("missing", "private"):
        return _error(400, 110, "Invalid user id", error_subcode=2207013, is_transient=False)
    return _error(400, 2500, "Unknown path components")


def _error(status: int, code: int, message: str, extra: Mapping[str, str] | None = None, **fields: Any) -> Reply:
    error = {
        "message": message,
        "type": "OAuthException",
        "code": code,
        **fields,
        "fbtrace_id": "ASimulatedTraceIdentifier",
    }
    return reply(status, {"error": error}, extra)


def read(path: str, request: web.Request) -> Asked | None:
    if path.endswith("/debug_token"):
        return Asked("debug_token", {})
    found = DISCOVERY.search(request.query.get("fields", ""))
    if found is None:
        return None
    handle, fields = found.groups()
    media = MEDIA.search(fields)
    edge = dict(re.findall(r"\.(\w+)\(([^)]*)\)", media.group(1))) if media else {}
    plain = {name for name in (MEDIA.sub("", fields)).split(",") if name}
    params = {
        "handle": handle,
        "after": edge.get("after", ""),
        "limit": edge.get("limit", "25"),
        "media": "1" if media else "",
    }
    return Asked(
        "profile_by_handle" if "username" in plain else "posts_by_handle", params | {"fields": ",".join(sorted(plain))}
    )


def answer(population: Population, asked: Asked, epoch: int) -> Reply:
    if asked.operation == "debug_token":
        return reply(200, {"data": {"app_id": "1", "type": "USER", "is_valid": True, "scopes": ["instagram_basic"]}})
    person = population.by_handle(asked.params["handle"].lower(), epoch)
    if person is None or person.private:  # a private account is not discoverable
        return refuse("missing", None)
    graph_id = str(17_841_400_000_000_000 + person.number)
    every: dict[str, Any] = {
        "ig_id": person.pk,
        "name": person.full_name,
        "website": f"https://www.example.com/{person.handle}",
        "followers_count": person.followers,
        "follows_count": person.following,
        "profile_picture_url": picture(person),
        "username": person.handle,
        "biography": person.biography,
        "media_count": person.post_count,
    }
    wanted = set(asked.params["fields"].split(","))
    user = {name: value for name, value in every.items() if name in wanted}
    if asked.params["media"]:
        start = int(asked.params["after"].removeprefix("c")) if asked.params["after"] else 0
        posts, following = population.page(person, epoch, start, int(asked.params["limit"]))
        cursors = {} if following is None else {"paging": {"cursors": {"after": f"c{following}"}}}
        user["media"] = {"data": [media(person, post) for post in posts], **cursors}
    return reply(200, {"business_discovery": {**user, "id": graph_id}, "id": "17841499999999999"})


def media(person: Person, post: Post) -> dict[str, Any]:
    del person
    return {
        "id": str(17_900_000_000_000_000 + post.id % 10**12),
        "caption": post.caption,
        "comments_count": post.comments,
        "like_count": post.likes,
        "media_type": MEDIA_TYPE[post.kind],
        "media_url": photo(post),
        "permalink": f"https://www.instagram.com/p/{post.shortcode}/",
        "timestamp": datetime.fromtimestamp(post.taken_at, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000"),
    }


DOUBLE = ProviderDouble("graphapi", (Quota(200, 3600),), token, read, answer, refuse, headers)
