"""Stories as Instagram's private API gives them, and as Lama's v1 flattens them, key by key as recorded."""

from datetime import UTC, datetime
from typing import Any

from beat_actors.simulator.population import VIDEO, Person, Post
from beat_actors.simulator.provider import World
from beat_actors.simulator.shapes import lama
from beat_actors.simulator.shapes.private_user import short_user
from beat_actors.simulator.shapes.relations import STORY_SECONDS, stories
from beat_actors.simulator.shapes.urls import picture, video


def private_reel(world: World, person: Person) -> dict[str, Any]:
    """One user's stories."""
    items = [_private(world, person, each) for each in stories(world.people, person)]
    latest = items[0]["taken_at"] if items else 0
    return {
        "id": person.pk,
        "strong_id__": str(person.pk),
        "latest_reel_media": latest,
        "expiring_at": latest + STORY_SECONDS,
        "seen": 0,
        "can_reply": False,
        "can_reshare": True,
        "reel_type": "user_reel",
        "user": short_user(world, person),
        "items": items,
        "media_count": len(items),
        "media_ids": [item["pk"] for item in items],
    }


def flat_story(world: World, person: Person, story: Post) -> dict[str, Any]:
    film = story.kind == VIDEO
    return {
        "pk": str(story.pk),
        "id": f"{story.pk}_{person.pk}",
        "code": story.shortcode,
        "taken_at": f"{datetime.fromtimestamp(story.taken_at, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "media_type": VIDEO if film else 1,
        "product_type": "story",
        "thumbnail_url": picture(world, story, 640),
        "user": {**lama.short_user(world, person), "profile_pic_url_hd": None},
        "video_url": video(world, story) if film else None,
        "video_duration": story.duration or 0.0,
        "sponsor_tags": [],
        "mentions": [],
        "links": [],
        "hashtags": [],
        "locations": [],
        "stickers": [],
        "medias": [],
    }


def _private(world: World, person: Person, story: Post) -> dict[str, Any]:
    film = story.kind == VIDEO
    made: dict[str, Any] = {
        "strong_id__": f"{story.pk}_{person.pk}",
        "id": f"{story.pk}_{person.pk}",
        "pk": story.pk,
        "code": story.shortcode,
        "taken_at": story.taken_at,
        "expiring_at": story.taken_at + STORY_SECONDS,
        "device_timestamp": story.taken_at * 1_000_000,
        "media_type": VIDEO if film else 1,
        "product_type": "story",
        "is_reel_media": True,
        "user": short_user(world, person),
        "caption": None,
        "image_versions2": {
            "candidates": [{"width": 640, "height": 1136, "url": picture(world, story, 640)}],
        },
        "original_width": 720,
        "original_height": 1280,
    }
    if film:
        made["video_versions"] = [
            {"type": 101, "width": 720, "height": 1280, "url": video(world, story), "id": f"{story.pk >> 4}v"}
        ]
        made["video_duration"] = story.duration
        made["has_audio"] = True
    return made
