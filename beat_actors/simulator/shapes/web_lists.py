"""Lists of users, of comments and of posts as the web's GraphQL gives them, key by key as recorded."""

from collections.abc import Sequence
from typing import Any

from beat_actors.simulator.population import ANCHOR, VIDEO, Person, Post
from beat_actors.simulator.provider import World
from beat_actors.simulator.shapes.relations import STORY_SECONDS, Comment
from beat_actors.simulator.shapes.urls import avatar
from beat_actors.simulator.shapes.web_media import node


def page(nodes: Sequence[dict[str, Any]], count: int, cursor: str | None) -> dict[str, Any]:
    """An edge: the nodes of one page. The next page's cursor is `None` on the last."""
    return {
        "count": count,
        "page_info": {"has_next_page": cursor is not None, "end_cursor": cursor},
        "edges": [{"node": node} for node in nodes],
    }


def tagged(world: World, person: Person, post: Post) -> dict[str, Any]:
    """A post in which somebody is tagged."""
    product = {"product_type": "clips"} if post.kind == VIDEO else {}
    return {
        **node(world, person, post),
        **product,
        "edge_liked_by": {"count": post.shown_likes},
        "has_upcoming_event": False,
    }


def user(world: World, person: Person) -> dict[str, Any]:
    picture = avatar(world, person, 150)
    return {
        "id": str(person.pk),
        "username": person.handle,
        "full_name": person.full_name,
        "profile_pic_url": picture,
        "is_private": person.is_private,
        "is_verified": person.is_verified,
        "followed_by_viewer": False,
        "requested_by_viewer": False,
        "reel": {
            "id": str(person.pk),
            "expiring_at": ANCHOR + STORY_SECONDS,
            "has_pride_media": False,
            "latest_reel_media": 0,
            "seen": None,
            "owner": {
                "__typename": "GraphUser",
                "id": str(person.pk),
                "profile_pic_url": picture,
                "username": person.handle,
            },
        },
    }


def comment(world: World, of: Comment) -> dict[str, Any]:
    return {
        "id": str(of.id),
        "text": of.text,
        "created_at": of.at,
        "did_report_as_spam": False,
        "owner": {
            "id": str(of.author.pk),
            "is_verified": of.author.is_verified,
            "profile_pic_url": avatar(world, of.author, 150),
            "username": of.author.handle,
        },
        "viewer_has_liked": False,
        "edge_liked_by": {"count": of.likes},
        "edge_threaded_comments": {
            "count": 0,
            "page_info": {"has_next_page": False, "end_cursor": None},
            "edges": [],
        },
    }
