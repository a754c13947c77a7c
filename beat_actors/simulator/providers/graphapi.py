"""The Graph API: business discovery in its field syntax, the caller's own account, usage headers, errors by code and subcode.

Only professional accounts are there to be discovered: a private one answers as a missing one. Any token owns every account.
"""

import re
from collections.abc import Mapping
from math import ceil
from typing import Any

from beat_actors.simulator.population import Person
from beat_actors.simulator.provider import (
    Asked,
    Operation,
    Refusals,
    Reply,
    SimulatedProvider,
    Usage,
    Window,
    World,
    encode,
    reply,
)
from beat_actors.simulator.shapes import cursors, graph_own
from beat_actors.simulator.shapes.graph_fields import BadFields, Field, parse_fields
from beat_actors.simulator.shapes.graph_media import (
    LARGEST,
    PAGE,
    SOURCE,
    getters,
    graph_error,
    no_object,
    told,
    told_of_user,
)

BASIC = "instagram_basic"
SCOPES = (BASIC, "instagram_manage_insights", "pages_show_list", "public_profile")


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
    grant = asked.grant(token)
    valid = not grant.revoked
    data = {
        "app_id": "138483919580948",
        "type": "USER",
        "application": "Beat",
        "data_access_expires_at": grant.data_access_expires_at or (4_102_444_800 if valid else 1_585_040_349),
        "expires_at": grant.expires_at or (0 if valid else 1_577_347_200),
        "is_valid": valid,
        "scopes": SCOPES if grant.scopes is None else grant.scopes,
        "granular_scopes": [{"scope": "instagram_basic"}],
        "user_id": "10158402915",
    }
    return reply({"data": data})


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
    made = told_of_user(world, person, [field.name for field in wanted if field.name != "media"])
    for field in wanted:
        if field.name == "media":
            made["media"] = _media(world, person, field)
    return made


def _media(world: World, person: Person, field: Field) -> dict[str, Any]:
    offset = cursors.decode(SOURCE, person, field.modifiers.get("after"))
    limit = field.modifiers.get("limit", str(PAGE))
    if offset is None or not limit.isdigit():
        raise BadFields("(#100) Invalid parameter: the cursor or the limit is not valid")
    page = world.people.posts(person, offset, max(1, min(int(limit), LARGEST)))
    end = offset + len(page)
    pointers = {}
    if offset:
        pointers["before"] = cursors.encode(SOURCE, person, offset)
    if end < person.posts:
        pointers["after"] = cursors.encode(SOURCE, person, end)
    shown = getters(("id", *(child.name for child in field.children)))
    made: dict[str, Any] = {"data": [told(world, person, post, shown) for post in page]}
    if pointers:
        made["paging"] = {"cursors": pointers}
    return made


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


provider = SimulatedProvider(
    name=SOURCE,
    operations=(
        Operation("debug_token", "/debug_token", debug_token, cached=False),
        Operation(
            "profile_by_handle",
            "/{user_id}",
            discovery,
            when=lambda q: "business_discovery" in q.get("fields", "") and "followers_count" in q["fields"],
        ),
        Operation(
            "posts_by_handle", "/{user_id}", discovery, when=lambda q: "business_discovery" in q.get("fields", "")
        ),
        Operation(
            "own_profile",
            "/{user_id}",
            graph_own.account_or_medium,
            scope=BASIC,
            when=lambda q: "followers_count" in q.get("fields", ""),
        ),
        Operation(
            "own_story",
            "/{user_id}",
            graph_own.account_or_medium,
            scope=BASIC,
            when=lambda q: "shortcode" in q.get("fields", ""),
        ),
        Operation("own_post", "/{user_id}", graph_own.account_or_medium, scope=BASIC),
        Operation("own_posts", "/{user_id}/media", graph_own.own_media, scope=BASIC),
        Operation("own_tagged", "/{user_id}/tags", graph_own.own_tags, scope=BASIC),
        Operation("own_stories", "/{user_id}/stories", graph_own.own_stories, scope=BASIC),
        Operation("own_children", "/{user_id}/children", graph_own.own_children, scope=BASIC),
        Operation("own_comments", "/{user_id}/comments", graph_own.own_comments, scope=BASIC),
        Operation(
            "story_navigation",
            "/{user_id}/insights",
            graph_own.own_insights,
            when=lambda q: q.get("metric") == "navigation",
        ),
        Operation(
            "profile_insights_daily",
            "/{user_id}/insights",
            graph_own.own_insights,
            when=lambda q: q.get("metric_type") == "time_series",
        ),
        Operation("profile_insights", "/{user_id}/insights", graph_own.own_insights, when=lambda q: "breakdown" in q),
        Operation(
            "story_insights",
            "/{user_id}/insights",
            graph_own.own_insights,
            when=lambda q: "replies" in q.get("metric", ""),
        ),
        Operation("post_insights", "/{user_id}/insights", graph_own.own_insights),
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
        # Of what is out of a token's reach nobody says that it is there.
        out_of_scope=lambda parts: no_object(parts["user_id"]),
        outage=graph_error(
            503, 2, "An unexpected error has occurred. Please retry your request later.", is_transient=True
        ),
    ),
    limits=(Window(200, 3600),),
    credential_query="access_token",
    usage_headers=_usage_headers,
    version=r"v\d+(?:\.\d+)?",
)
