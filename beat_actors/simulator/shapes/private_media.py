"""A post as Instagram's private API gives it, key by key as recorded (6 to 12 kB)."""

from typing import Any

from beat_actors.simulator.population import CAROUSEL, VIDEO, Person, Post
from beat_actors.simulator.provider import World
from beat_actors.simulator.shapes.private_user import short_user
from beat_actors.simulator.shapes.urls import picture, video

SIZES = ((1440, 1440), (1080, 1080), (750, 750), (640, 640), (480, 480), (320, 320), (240, 240), (150, 150))

SAME_FOR_ALL: dict[str, Any] = {
    "filter_type": 0,
    "is_unified_video": False,
    "can_viewer_reshare": True,
    "caption_is_edited": False,
    "like_and_view_counts_disabled": False,
    "featured_products_cta": None,
    "commerciality_status": "not_commercial",
    "is_paid_partnership": False,
    "is_visual_reply_commenter_notice_enabled": True,
    "original_media_has_visual_reply_media": False,
    "comment_likes_enabled": True,
    "comment_threading_enabled": True,
    "has_more_comments": True,
    "max_num_visible_preview_comments": 2,
    "can_view_more_preview_comments": True,
    "hide_view_all_comment_entrypoint": False,
    "inline_composer_display_condition": "impression_trigger",
    "has_liked": False,
    "top_likers": [],
    "facepile_top_likers": [],
    "photo_of_you": False,
    "is_organic_product_tagging_eligible": False,
    "can_see_insights_as_brand": False,
    "can_viewer_save": True,
    "sharing_friction_info": {"should_have_sharing_friction": False, "bloks_app_url": None},
    "comment_inform_treatment": {"should_have_inform_treatment": False, "text": ""},
    "is_in_profile_grid": False,
    "profile_grid_control_enabled": False,
    "deleted_reason": 0,
    "integrity_review_decision": "pending",
}
FROM_A_COMMENT: dict[str, Any] = {
    "type": 0,
    "content_type": "comment",
    "status": "Active",
    "bit_flags": 0,
    "did_report_as_spam": False,
    "share_enabled": False,
    "is_covered": False,
    "private_reply_status": 0,
}


def full_media(world: World, person: Person, post: Post, *, pk_as_text: bool = False) -> dict[str, Any]:
    """An item of `media/{id}/info/` or a feed."""
    author = short_user(world, person, pk_as_text=pk_as_text)
    comments = [_comment(author, person, post, number) for number in range(2)]
    media: dict[str, Any] = {
        "taken_at": post.taken_at,
        "pk": str(post.pk) if pk_as_text else post.pk,
        "id": f"{post.pk}_{person.pk}",
        "device_timestamp": post.taken_at * 1_000_000,
        "media_type": post.kind,
        "code": post.shortcode,
        "client_cache_key": f"{post.digest[:24]}.2",
        "user": author,
        "next_max_id": post.pk >> 8,
        "preview_comments": comments,
        "comments": comments,
        "comment_count": post.comments,
        "like_count": post.shown_likes,
        "caption": {
            "pk": post.pk >> 6,
            "user_id": person.pk,
            "text": post.caption,
            "created_at": post.taken_at,
            "created_at_utc": post.taken_at,
            "user": author,
            "media_id": post.pk,
            **FROM_A_COMMENT,
            "type": 1,
        },
        "organic_tracking_token": f"eyJ2ZXJzaW9uIjo1{post.digest}{post.digest}",
        **SAME_FOR_ALL,
        "like_and_view_counts_disabled": post.likes_hidden,
    }
    if post.kind == CAROUSEL:
        media["product_type"] = "carousel_container"
        media["music_metadata"] = None
        media["carousel_media_count"] = post.children
        media["carousel_media"] = [_child(world, person, post, number) for number in range(post.children)]
        return media
    media["product_type"] = "feed"
    media["image_versions2"] = _pictures(world, post)
    media["original_width"], media["original_height"] = SIZES[0]
    media["usertags"] = {"in": []}
    media["music_metadata"] = {
        "music_canonical_id": "0", "audio_type": None, "music_info": None, "original_sound_info": None,
    }  # fmt: skip
    if post.kind == VIDEO:
        media["product_type"] = "clips"
        media["is_dash_eligible"] = 1
        media["video_dash_manifest"] = f'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" id="{post.digest}"></MPD>'
        media["video_codec"] = "avc1.64001F"
        media["number_of_qualities"] = 2
        media["video_versions"] = [
            {"type": kind, "width": 720, "height": 1280, "url": video(world, post), "id": f"{post.pk >> 4}v"}
            for kind in (101, 102, 103)
        ]
        media["has_audio"] = True
        media["video_duration"] = post.duration
        media["view_count"] = post.views
    return media


def _pictures(world: World, post: Post, child: int = 0) -> dict[str, Any]:
    return {
        "candidates": [
            {"width": width, "height": height, "url": picture(world, post, width, child)} for width, height in SIZES
        ]
    }


def _child(world: World, person: Person, post: Post, number: int) -> dict[str, Any]:
    pk = post.pk + number + 1
    return {
        "id": f"{pk}_{person.pk}",
        "media_type": 1,
        "image_versions2": _pictures(world, post, number),
        "original_width": SIZES[0][0],
        "original_height": SIZES[0][1],
        "pk": pk,
        "carousel_parent_id": f"{post.pk}_{person.pk}",
        "commerciality_status": "not_commercial",
    }


def _comment(author: dict[str, Any], person: Person, post: Post, number: int) -> dict[str, Any]:
    return {
        "pk": (post.pk >> 7) + number,
        "user_id": person.pk,
        "text": "❤️ thank you all!",
        "created_at": post.taken_at + 60 * (number + 1),
        "created_at_utc": post.taken_at + 60 * (number + 1),
        "user": author,
        "media_id": post.pk,
        "has_liked_comment": False,
        "comment_like_count": number,
        **FROM_A_COMMENT,
    }
