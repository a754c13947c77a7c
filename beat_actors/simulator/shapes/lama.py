"""Lama's own objects: flat users and media, and a thin web node, key by key as recorded."""

from datetime import UTC, datetime
from typing import Any

from beat_actors.simulator.population import ANCHOR, CAROUSEL, VIDEO, Person, Post, shortcode
from beat_actors.simulator.provider import World
from beat_actors.simulator.shapes.urls import avatar, picture, video
from beat_actors.simulator.shapes.web_media import TYPENAMES

PRODUCTS = {1: "feed", VIDEO: "clips", CAROUSEL: "carousel_container"}


def web_user(world: World, person: Person) -> dict[str, Any]:
    latest = [] if person.is_private else world.people.posts(person, 0, 12)
    return {
        "id": str(person.pk),
        "username": person.handle,
        "biography": person.biography,
        "full_name": person.full_name,
        "edge_followed_by": {"count": person.followers},
        "edge_follow": {"count": person.following},
        "is_private": person.is_private,
        "is_verified": person.is_verified,
        "external_url": person.website,
        "category_name": person.category,
        "profile_pic_url": avatar(world, person, 150),
        "profile_pic_url_hd": avatar(world, person, 1080),
        "edge_owner_to_timeline_media": {
            "count": person.posts,
            "edges": [{"node": _web_node(world, each)} for each in latest],
        },
    }


def flat_user(world: World, person: Person) -> dict[str, Any]:
    return {
        "pk": person.pk,
        "username": person.handle,
        "full_name": person.full_name,
        "is_private": person.is_private,
        "profile_pic_url": avatar(world, person, 150),
        "profile_pic_url_hd": None,
        "is_verified": person.is_verified,
        "media_count": person.posts,
        "follower_count": person.followers,
        "following_count": person.following,
        "biography": person.biography,
        "external_url": person.website,
        "account_type": person.account_type,
        "is_business": True,
        "public_email": "",
        "contact_phone_number": "",
        "public_phone_country_code": "",
        "public_phone_number": "",
        "business_contact_method": "UNKNOWN",
        "business_category_name": None,
        "category_name": None,
        "category": person.category,
        "address_street": "",
        "city_id": "0",
        "city_name": "",
        "latitude": None,
        "longitude": None,
        "zip": "",
        "instagram_location_id": "",
        "interop_messaging_user_fbid": person.fbid,
    }


def short_user(world: World, person: Person) -> dict[str, Any]:
    """A user beside something else."""
    return {
        "pk": str(person.pk),
        "id": str(person.pk),
        "username": person.handle,
        "full_name": person.full_name,
        "profile_pic_url": avatar(world, person, 150),
        "is_private": person.is_private,
        "is_verified": person.is_verified,
    }


def listed_user(world: World, person: Person) -> dict[str, Any]:
    """A user in a list of users."""
    owner = {"id": person.pk, "profile_pic_url": avatar(world, person, 150), "username": person.handle}
    reel = {"id": person.pk, "expiring_at": ANCHOR, "has_pride_media": False, "latest_reel_media": 0, "owner": owner}
    return {**short_user(world, person), "reel": reel}


def flat_media(world: World, person: Person, post: Post) -> dict[str, Any]:
    film = video(world, post) if post.kind == VIDEO else None
    return {
        "pk": str(post.pk),
        "id": f"{post.pk}_{person.pk}",
        "code": post.shortcode,
        "taken_at": f"{datetime.fromtimestamp(post.taken_at, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "taken_at_ts": post.taken_at,
        "media_type": post.kind,
        "product_type": PRODUCTS[post.kind],
        "thumbnail_url": picture(world, post, 750),
        "location": None,
        "user": {**short_user(world, person), "profile_pic_url_hd": None},
        "comment_count": post.comments,
        "comments_disabled": False,
        "like_count": post.shown_likes,
        "play_count": post.views or 0,
        "has_liked": False,
        "caption_text": post.caption,
        "accessibility_caption": None,
        "usertags": [],
        "sponsor_tags": [],
        "video_url": film,
        "view_count": post.views or 0,
        "video_duration": post.duration or 0.0,
        "title": "",
        "resources": [_resource(world, person, post, number) for number in range(post.children)],
        "image_versions": [_image(world, post)],
        "video_versions": [] if film is None else [_film(post, film)],
        "like_and_view_counts_disabled": post.likes_hidden,
        "coauthor_producers": [],
        "is_paid_partnership": False,
    }


def _film(post: Post, url: str) -> dict[str, Any]:
    return {
        "bandwidth": 1_568_436,
        "height": 1280,
        "id": f"{post.pk >> 4}v",
        "type": 101,
        "url": url,
        "url_expiration_timestamp_us": None,
        "width": 720,
        "fallback": None,
    }


def _image(world: World, post: Post, child: int = 0) -> dict[str, Any]:
    return {
        "estimated_scans_sizes": [24827, 49655, 74482],
        "height": 1333,
        "scans_profile": "e35",
        "url": picture(world, post, 750, child),
        "width": 750,
        "is_spatial_image": False,
    }


def _resource(world: World, person: Person, post: Post, number: int) -> dict[str, Any]:
    pk = post.pk + number + 1
    return {
        "pk": str(pk),
        "id": f"{pk}_{person.pk}",
        "video_url": None,
        "thumbnail_url": picture(world, post, 750, number),
        "media_type": 1,
        "product_type": "carousel_item",
        "image_versions": [_image(world, post, number)],
        "video_versions": [],
        "preview": None,
        "carousel_parent_id": f"{post.pk}_{person.pk}",
        "commerciality_status": "not_commercial",
        "taken_at": post.taken_at,
    }


def _web_node(world: World, post: Post) -> dict[str, Any]:
    made = {
        "id": str(post.pk),
        "shortcode": post.shortcode,
        "display_url": picture(world, post, 1080),
        "thumbnail_url": picture(world, post, 640),
        "video_url": video(world, post) if post.kind == VIDEO else None,
        "__typename": TYPENAMES[post.kind],
        "product_type": PRODUCTS[post.kind],
        "title": "",
        "video_duration": post.duration or 0.0,
        "video_view_count": post.views or 0,
        "edge_media_to_caption": {"edges": [{"node": {"text": post.caption}}]},
        "edge_media_to_comment": {"count": post.comments},
        "edge_liked_by": {"count": post.shown_likes},
        "edge_media_preview_like": {"count": post.shown_likes},
    }
    if post.kind == CAROUSEL:
        made["edge_sidecar_to_children"] = {"edges": [_sidecar(world, post, n) for n in range(post.children)]}
    return made


def _sidecar(world: World, post: Post, number: int) -> dict[str, Any]:
    node = {
        "__typename": "GraphImage",
        "id": str(post.pk + number + 1),
        "shortcode": shortcode(post.pk + number + 1),
        "display_url": picture(world, post, 1080, number),
        "thumbnail_url": picture(world, post, 640, number),
        "video_url": None,
    }
    return {"node": node}
