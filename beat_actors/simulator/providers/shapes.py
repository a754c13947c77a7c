"""Recorded shapes that several doubles share: the private API's user and media, the web GraphQL's node, the gateway's refusals."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from beat_actors.simulator.double import Reply, reply
from beat_actors.simulator.population import Person, Post

CDN = "https://scontent-sim1-1.cdninstagram.com/v/t51.2885-15"
SIGNED = "stp=dst-jpg_e35_p1080x1080&_nc_ht=scontent-sim1-1.cdninstagram.com&_nc_cat=104&ccb=7-5&oh=00_AfBeatSimulated&oe=68F0A1B2"
MEDIA_TYPE = {"image": 1, "reels": 2, "carousel": 8}
TYPENAME = {"image": "GraphImage", "reels": "GraphVideo", "carousel": "GraphSidecar"}


def picture(person: Person) -> str:
    return f"{CDN}/{person.pk}_n.jpg?{SIGNED}"


def photo(post: Post, size: int = 1080) -> str:
    return f"{CDN}/{post.id}_{size}_n.jpg?{SIGNED}"


def private_user(person: Person) -> dict[str, Any]:
    return {
        "pk": person.pk,
        "username": person.handle,
        "full_name": person.full_name,
        "is_private": person.private,
        "profile_pic_url": picture(person),
        "profile_pic_id": f"{person.pk}_1",
        "is_verified": person.verified,
        "has_anonymous_profile_picture": False,
        "media_count": person.post_count,
        "follower_count": person.followers,
        "following_count": person.following,
        "following_tag_count": 0,
        "biography": person.biography,
        "external_url": f"https://www.example.com/{person.handle}",
        "total_igtv_videos": 0,
        "has_videos": True,
        "hd_profile_pic_versions": [{"width": 320, "height": 320, "url": picture(person)}],
        "hd_profile_pic_url_info": {"url": picture(person), "width": 1080, "height": 1080},
        "is_business": True,
        "account_type": 2,
        "category": "Digital creator",
        "public_email": "",
        "interop_messaging_user_fbid": person.pk + 7,
    }


def author(person: Person) -> dict[str, Any]:
    return {
        "pk": person.pk,
        "username": person.handle,
        "full_name": person.full_name,
        "is_private": person.private,
        "profile_pic_url": picture(person),
        "is_verified": person.verified,
    }


def private_media(person: Person, post: Post) -> dict[str, Any]:
    video = post.kind == "reels"
    return {
        "taken_at": post.taken_at,
        "pk": str(post.id),
        "id": f"{post.id}_{person.pk}",
        "device_timestamp": post.taken_at * 1000,
        "media_type": MEDIA_TYPE[post.kind],
        "code": post.shortcode,
        "user": author(person),
        "caption_is_edited": False,
        "like_and_view_counts_disabled": False,
        "comment_count": post.comments,
        "like_count": post.likes,
        "image_versions2": {
            "candidates": [{"width": w, "height": w, "url": photo(post, w)} for w in (1080, 750, 640, 480, 320)]
        },
        "original_width": 1080,
        "original_height": 1080,
        "caption": {
            "pk": str(post.id + 1),
            "user_id": person.pk,
            "text": post.caption,
            "created_at": post.taken_at,
            "user": author(person),
        },
        **(
            {
                "video_versions": [{"type": 101, "width": 720, "height": 1280, "url": photo(post, 720)}],
                "video_duration": 20.4,
                "view_count": post.views,
                "play_count": post.views * 2,
            }
            if video
            else {}
        ),
        "product_type": "clips" if video else "feed",
    }


def web_node(person: Person, post: Post) -> dict[str, Any]:
    return {
        "__typename": TYPENAME[post.kind],
        "id": str(post.id),
        "gating_info": None,
        "dimensions": {"height": 1080, "width": 1080},
        "display_url": photo(post),
        "display_resources": [{"src": photo(post, w), "config_width": w, "config_height": w} for w in (640, 750, 1080)],
        "is_video": post.kind == "reels",
        **({"video_url": photo(post, 720), "video_view_count": post.views} if post.kind == "reels" else {}),
        "edge_media_to_caption": {"edges": [{"node": {"text": post.caption}}]},
        "shortcode": post.shortcode,
        "edge_media_to_comment": {"count": post.comments, "page_info": {"has_next_page": False, "end_cursor": None}},
        "comments_disabled": False,
        "taken_at_timestamp": post.taken_at,
        "edge_media_preview_like": {"count": post.likes, "edges": []},
        "owner": {"id": str(person.pk), "username": person.handle},
        "location": None,
        "thumbnail_src": photo(post, 640),
        "thumbnail_resources": [
            {"src": photo(post, w), "config_width": w, "config_height": w} for w in (150, 240, 320, 480, 640)
        ],
    }


def rapidapi_key(request: web.Request) -> str | None:
    return request.headers.get("X-RapidAPI-Key") or None


def rapidapi_headers(calls: int, allowed: int) -> Mapping[str, str]:
    del allowed
    return {
        "x-ratelimit-requests-limit": "240000",
        "x-ratelimit-requests-remaining": str(max(0, 240_000 - calls)),
        "x-ratelimit-requests-reset": "2163603",
        "server": "RapidAPI-0.0.45",
        "x-rapidapi-version": "0.0.45",
    }


def rapidapi_refusal(kind: str, retry_after: float | None) -> Reply:
    """The gateway's own words, as recorded; `-requests-reset` counts seconds."""
    proxied = {"X-RapidAPI-Proxy-Response": "true"}
    wait = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    if kind == "unauthorized":
        return reply(403, {"message": "You are not subscribed to this API."}, proxied)
    if kind == "rate_limited":
        said = "You have exceeded the rate limit per second for your plan, BASIC, by the API provider"
        return reply(429, {"message": said}, proxied | wait)
    if kind == "quota":
        said = "You have exceeded the MONTHLY quota for Requests on your current plan, BASIC."
        reset = f"{retry_after or 3600:g}"
        return reply(
            429,
            {"message": said},
            proxied | {"x-ratelimit-requests-remaining": "0", "x-ratelimit-requests-reset": reset},
        )
    if kind == "private":
        return reply(400, {"message": "Not authorized to view user", "status": "fail"})
    if kind == "missing":
        return reply(404, {"message": "User not found", "status": "fail"})
    return reply(404, {"message": "Endpoint does not exist"}, proxied)
