"""A post as the web's GraphQL gives it, key by key as recorded (4 to 9 kB)."""

from typing import Any

from beat_actors.simulator.population import CAROUSEL, VIDEO, Person, Post
from beat_actors.simulator.provider import World
from beat_actors.simulator.shapes.urls import avatar, picture, video

TYPENAMES = {1: "GraphImage", VIDEO: "GraphVideo", CAROUSEL: "GraphSidecar"}

SAME_FOR_ALL: dict[str, Any] = {
    "gating_info": None,
    "fact_check_overall_rating": None,
    "fact_check_information": None,
    "media_overlay_info": None,
}
VIEWER: dict[str, Any] = {
    "edge_media_to_sponsor_user": {"edges": []},
    "comments_disabled": False,
    "viewer_has_liked": False,
    "viewer_has_saved": False,
    "viewer_has_saved_to_collection": False,
    "viewer_in_photo_of_you": False,
    "viewer_can_reshare": True,
}


def node(world: World, person: Person, post: Post) -> dict[str, Any]:
    """A node of `edge_owner_to_timeline_media`, or the object of `shortcode_media`."""
    made: dict[str, Any] = {
        **_own(world, post, str(post.pk), TYPENAMES[post.kind], 0),
        "edge_media_to_caption": {"edges": [{"node": {"text": post.caption}}]},
        "shortcode": post.shortcode,
        "edge_media_to_comment": {
            "count": post.comments,
            "page_info": {"has_next_page": post.comments > 1, "end_cursor": f"QVFB{post.digest}"},
            "edges": [_comment(world, person, post)],
        },
        "taken_at_timestamp": post.taken_at,
        "edge_media_preview_like": {"count": post.shown_likes, "edges": []},
        "owner": {"id": str(person.pk), "username": person.handle},
        "location": {"id": str(post.pk >> 32), "has_public_page": True, "name": "Old Harbour", "slug": "old-harbour"},
        "thumbnail_src": picture(world, post, 640),
        "thumbnail_resources": [
            {"src": picture(world, post, size), "config_width": size, "config_height": size}
            for size in (150, 240, 320, 480, 640)
        ],
        **VIEWER,
    }
    if post.kind == VIDEO:
        made["dash_info"] = {
            "is_dash_eligible": True,
            "video_dash_manifest": f'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" id="{post.digest}"></MPD>',
            "number_of_qualities": 4,
        }
        made["video_url"] = video(world, post)
        made["video_view_count"] = post.views
    else:
        made["accessibility_caption"] = None
    if post.kind == CAROUSEL:
        made["edge_sidecar_to_children"] = {
            "edges": [
                {"node": _own(world, post, str(post.pk + number + 1), "GraphImage", number)}
                for number in range(post.children)
            ]
        }
    return made


def _own(world: World, post: Post, pk: str, typename: str, child: int) -> dict[str, Any]:
    return {
        "__typename": typename,
        "id": pk,
        "dimensions": {"height": 1080, "width": 1080},
        "display_url": picture(world, post, 1080, child),
        "display_resources": [
            {"src": picture(world, post, size, child), "config_width": size, "config_height": size}
            for size in (640, 750, 1080)
        ],
        "is_video": typename == "GraphVideo",
        "media_preview": None if typename == "GraphSidecar" else post.digest,
        "tracking_token": f"eyJ2ZXJzaW9uIjo1{post.digest}{post.digest}",
        "edge_media_to_tagged_user": {"edges": []},
        **SAME_FOR_ALL,
    }


def _comment(world: World, person: Person, post: Post) -> dict[str, Any]:
    return {
        "node": {
            "id": str(post.pk >> 7),
            "text": "❤️ thank you all!",
            "created_at": post.taken_at + 60,
            "did_report_as_spam": False,
            "owner": {
                "id": str(person.pk),
                "is_verified": person.is_verified,
                "profile_pic_url": avatar(world, person, 150),
                "username": person.handle,
            },
            "viewer_has_liked": False,
        }
    }
