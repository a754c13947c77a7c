"""The Graph API: business discovery in its field syntax, usage headers, and errors by code and subcode.

Only professional accounts are there to be discovered: a private one answers as a missing one.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from math import ceil
from typing import Any

from beat_actors.simulator.double import (
    Asked,
    Operation,
    ProviderDouble,
    Refusals,
    Reply,
    Usage,
    Window,
    World,
    encode,
    reply,
)
from beat_actors.simulator.population import CAROUSEL, VIDEO, Person, Post
from beat_actors.simulator.shapes import cursors
from beat_actors.simulator.shapes.graph_fields import BadFields, Field, parse_fields
from beat_actors.simulator.shapes.urls import avatar, picture, video

NAME = "graphapi"
PAGE, LARGEST = 25, 100
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
    "id": lambda _w, _p, post: media_id(post),
    "caption": lambda _w, _p, post: post.caption,
    "comments_count": lambda _w, _p, post: post.comments,
    "like_count": lambda _w, _p, post: post.likes,
    "media_type": lambda _w, _p, post: MEDIA_TYPES[post.kind],
    "media_product_type": lambda _w, _p, post: "REELS" if post.kind == VIDEO else "FEED",
    "media_url": lambda w, _p, post: video(w, post) if post.kind == VIDEO else picture(w, post),
    "thumbnail_url": lambda w, _p, post: picture(w, post, 640) if post.kind == VIDEO else None,
    "view_count": lambda _w, _p, post: post.views,
    "permalink": lambda _w, _p, post: (
        f"https://www.instagram.com/{'reel' if post.kind == VIDEO else 'p'}/{post.shortcode}/"
    ),
    "shortcode": lambda _w, _p, post: post.shortcode,
    "timestamp": lambda _w, _p, post: f"{datetime.fromtimestamp(post.taken_at, UTC).isoformat()[:19]}+0000",
    "username": lambda _w, p, _post: p.handle,
    "owner": lambda _w, p, _post: {"id": str(p.fbid)},
}


def discovery(asked: Asked, world: World) -> Reply:
    own = {"id": asked.params["user_id"]}
    try:
        wanted = parse_fields(asked.query["fields"]) if "fields" in asked.query else ()
        made: dict[str, Any] = {}
        for field in wanted:
            if field.name == "business_discovery":
                person = world.people.by_handle(field.modifiers.get("username", ""))
                if person is None or person.is_private:
                    return _user_not_found(field.modifiers.get("username", ""))
                made["business_discovery"] = _user(world, person, field.children)
            elif field.name != "id":
                raise BadFields(f"(#100) Tried accessing nonexisting field ({field.name}) on node type (IGUser)")
    except BadFields as error:
        return graph_error(400, 100, str(error))
    return reply({**made, **own})


def debug_token(asked: Asked, _world: World) -> Reply:
    token = asked.query.get("input_token", "")
    if not token:
        return graph_error(400, 100, "(#100) The parameter input_token is required")
    valid = not asked.is_dead(token)
    data = {
        "app_id": "138483919580948",
        "type": "USER",
        "application": "Beat",
        "data_access_expires_at": 4_102_444_800 if valid else 1_585_040_349,
        "expires_at": 0 if valid else 1_577_347_200,
        "is_valid": valid,
        "scopes": ["instagram_basic", "instagram_manage_insights", "pages_show_list", "public_profile"],
        "granular_scopes": [{"scope": "instagram_basic"}],
        "user_id": "10158402915",
    }
    return reply({"data": data})


def media_id(post: Post) -> str:
    """A media id of the Graph API's own, which is not Instagram's pk."""
    return str(18_000_000_000_000_000 + post.pk % 999_999_999_999_989)


def graph_error(status: int, code: int, message: str, headers: Mapping[str, str] | None = None, **more: Any) -> Reply:
    trace = f"A{code}{len(message):x}simulated"
    return reply(
        {"error": {"message": message, "type": "OAuthException", "code": code, **more, "fbtrace_id": trace}},
        status,
        headers,
    )


def _user_not_found(handle: str) -> Reply:
    return graph_error(
        400,
        110,
        "Invalid user id",
        error_subcode=2207013,
        is_transient=False,
        error_user_title="Cannot find User",
        error_user_msg=f"Cannot find the user with username {handle}.",
    )


def _user(world: World, person: Person, wanted: tuple[Field, ...]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for field in wanted:
        if field.name == "media":
            made["media"] = _media(world, person, field)
        elif (value := USER.get(field.name)) is not None:
            made[field.name] = value(world, person)
        else:
            raise BadFields(f"(#100) Tried accessing nonexisting field ({field.name}) on node type (IGUser)")
    made["id"] = str(person.fbid)
    return made


def _media(world: World, person: Person, field: Field) -> dict[str, Any]:
    offset = cursors.decode(NAME, person, field.modifiers.get("after"))
    limit = field.modifiers.get("limit", str(PAGE))
    if offset is None or not limit.isdigit():
        raise BadFields("(#100) Invalid parameter: the cursor or the limit is not valid")
    page = world.people.posts(person, offset, max(1, min(int(limit), LARGEST)))
    end = offset + len(page)
    pointers = {}
    if offset:
        pointers["before"] = cursors.encode(NAME, person, offset)
    if end < person.posts:
        pointers["after"] = cursors.encode(NAME, person, end)
    getters = _getters(("id", *(child.name for child in field.children)))
    # What a medium does not have is left out, not null.
    made: dict[str, Any] = {
        "data": [
            {name: told for name, get in getters if (told := get(world, person, post)) is not None} for post in page
        ]
    }
    if pointers:
        made["paging"] = {"cursors": pointers}
    return made


@lru_cache(maxsize=256)
def _getters(wanted: tuple[str, ...]) -> tuple[tuple[str, MediaField], ...]:
    for name in wanted:
        if name not in MEDIA:
            raise BadFields(f"(#100) Tried accessing nonexisting field ({name}) on node type (IGMedia)")
    return tuple((name, MEDIA[name]) for name in dict.fromkeys(wanted))


def _usage_headers(usage: Usage) -> Mapping[str, str]:
    percent = 100 if usage.refused_by else usage.used * 100 // usage.calls if usage.calls else 0
    return usage_report(percent, ceil(usage.wait / 60))


def usage_report(percent: int, minutes: int) -> Mapping[str, str]:
    """Both headers hold JSON; the time to regain access is in MINUTES."""
    told = {"call_count": percent, "total_cputime": percent // 4, "total_time": percent // 4}
    business = [{"type": "instagram", **told, "estimated_time_to_regain_access": minutes}]
    return {
        "x-app-usage": encode(told).decode(),
        "x-business-use-case-usage": encode({"17841400008460056": business}).decode(),
        "facebook-api-version": "v24.0",
    }


double = ProviderDouble(
    name=NAME,
    operations=(
        Operation("debug_token", "/debug_token", debug_token, cached=False),
        Operation(
            "profile_by_handle", "/{user_id}", discovery, when=lambda q: "followers_count" in q.get("fields", "")
        ),
        Operation("posts_by_handle", "/{user_id}", discovery),
    ),
    refusals=Refusals(
        no_credential=graph_error(400, 104, "An access token is required to request this resource."),
        revoked=graph_error(
            400,
            190,
            "Error validating access token: The session has been invalidated because the user changed their password or "
            "Facebook has changed the session for security reasons.",
            error_subcode=460,
        ),
        over_limit=lambda wait: graph_error(
            403, 4, "(#4) Application request limit reached", usage_report(100, ceil(wait / 60)), is_transient=True
        ),
        over_quota=lambda wait: graph_error(
            400,
            80002,
            "(#80002) There have been too many calls to this Instagram account.",
            usage_report(100, ceil(wait / 60)),
        ),
        unknown_path=lambda path: graph_error(
            400, 2500, f"Unknown path components: {re.sub('[^/A-Za-z0-9_.-]', '', path)}"
        ),
        outage=graph_error(
            503, 2, "An unexpected error has occurred. Please retry your request later.", is_transient=True
        ),
    ),
    limits=(Window(200, 3600),),
    credential_query="access_token",
    usage_headers=_usage_headers,
    version=r"v\d+(?:\.\d+)?",
)
