"""JoTucker: private-API profiles and media, and the web's lists, behind the RapidAPI gateway. `user_info_by_id` also takes a name (sic)."""

from collections.abc import Callable, Sequence
from typing import Any

from beat_actors.simulator.population import Person
from beat_actors.simulator.provider import Asked, Operation, Reply, SimulatedProvider, Window, World, reply
from beat_actors.simulator.shapes import cursors, rapidapi, relations, web_lists
from beat_actors.simulator.shapes.private_media import full_media
from beat_actors.simulator.shapes.private_user import full_user
from beat_actors.simulator.shapes.web_media import node

NAME = "jotucker"
PAGE, LARGEST = 12, 50
TAGGED_WITH = 60  # posts with any hashtag

Nodes = Callable[[int, int], Sequence[dict[str, Any]]]
"""(start, count) -> the nodes of a page."""


def profile(asked: Asked, world: World) -> Reply:
    pk, handle = asked.query.get("user_id"), asked.query.get("user_name")
    if not pk and not handle:
        return rapidapi.missing_parameter("user_id")
    person = world.people.by_pk(pk) if pk else world.people.by_handle(handle or "")
    if person is None:
        return rapidapi.invalid_target()
    return reply({"user": full_user(world, person), "status": "ok"})


def posts(asked: Asked, world: World) -> Reply:
    person = world.people.by_pk(asked.query.get("user_id", ""))
    if person is None:
        return rapidapi.invalid_target()
    if person.is_private:
        return rapidapi.not_authorized()
    size = asked.query.get("batch_size", str(PAGE))
    offset = cursors.decode(NAME, person, asked.query.get("max_id"))
    if offset is None or not size.isdigit():
        return rapidapi.bad_cursor()
    page = world.people.posts(person, offset, max(1, min(int(size), LARGEST)))
    end = offset + len(page)
    more = end < person.posts
    listing = {
        "items": [full_media(world, person, each) for each in page],
        "num_results": len(page),
        "more_available": more,
        "auto_load_more_enabled": True,
        "status": "ok",
    }
    if more:
        listing["next_max_id"] = cursors.encode(NAME, person, end)
    return reply(listing)


def post(asked: Asked, world: World) -> Reply:
    found = world.people.by_shortcode(asked.query.get("short_code", ""))
    if found is None or found[0].is_private:
        return reply({"message": "Media not found or unavailable", "status": "fail"}, 400)
    item = full_media(world, *found)
    return reply({"items": [item], "num_results": 1, "more_available": False, "auto_load_more_enabled": False})


def followers(asked: Asked, world: World) -> Reply:
    return _follows(asked, world, "edge_followed_by", relations.followers, step=1)


def following(asked: Asked, world: World) -> Reply:
    return _follows(asked, world, "edge_follow", relations.following, step=-1)


def _follows(asked: Asked, world: World, edge: str, how_many: Callable[[Any, Person], int], *, step: int) -> Reply:
    people = world.people
    person = people.by_pk(asked.query.get("user_id", ""))
    if person is None:
        return reply({"data": {"user": None}, "status": "ok"})
    if person.is_private:
        return rapidapi.not_authorized()

    def nodes(start: int, count: int) -> Sequence[dict[str, Any]]:
        return [web_lists.user(world, each) for each in relations.neighbours(people, person, start, count, step)]

    listing = _list(asked, person, how_many(people, person), nodes)
    if listing is None:
        return rapidapi.bad_cursor()
    mutual = {"edge_mutual_followed_by": {"count": 0, "edges": []}}
    return reply({"data": {"user": {edge: listing, **mutual}}, "status": "ok"})


def comments(asked: Asked, world: World) -> Reply:
    found = world.people.by_shortcode(asked.query.get("short_code", ""))
    if found is None or found[0].is_private:
        return reply({"data": {"shortcode_media": None}, "status": "ok"})
    person, commented = found

    def nodes(start: int, count: int) -> Sequence[dict[str, Any]]:
        return [
            web_lists.comment(world, each) for each in relations.comments(world.people, person, commented, start, count)
        ]

    listing = _list(asked, person, min(commented.comments, world.people.size // 2), nodes)
    if listing is None:
        return rapidapi.bad_cursor()
    return reply({"data": {"shortcode_media": {"edge_media_to_parent_comment": listing}}, "status": "ok"})


def hashtag(asked: Asked, world: World) -> Reply:
    tag = asked.query.get("hash_tag", "")
    if not tag:
        return rapidapi.missing_parameter("hash_tag")
    person = relations.behind_hashtag(world.people, tag)

    def nodes(start: int, count: int) -> Sequence[dict[str, Any]]:
        return [node(world, *each) for each in relations.posts_of_others(world.people, person, start, count)]

    listing = _list(asked, person, TAGGED_WITH, nodes)
    if listing is None:
        return rapidapi.bad_cursor()
    return reply({"data": {"hashtag": {"name": tag, "edge_hashtag_to_ranked_media": listing}}, "status": "ok"})


def _list(asked: Asked, person: Person, total: int, nodes: Nodes) -> dict[str, Any] | None:
    """A page of a web list; `None` where its cursor or size cannot be."""
    size = asked.query.get("batch_size", str(PAGE))
    offset = cursors.decode(NAME, person, asked.query.get("next_cursor"))
    if offset is None or not size.isdigit():
        return None
    page = nodes(offset, max(0, min(int(size), LARGEST, total - offset)))
    end = offset + len(page)
    return web_lists.page(page, total, cursors.encode(NAME, person, end) if page and end < total else None)


provider = SimulatedProvider(
    name=NAME,
    operations=(
        Operation("profile_by_id", "/user_info_by_id", profile, when=lambda query: "user_id" in query),
        Operation("profile_by_handle", "/user_info_by_id", profile),
        Operation("posts_by_id", "/medias_v2", posts),
        Operation("post_by_shortcode", "/media_info_v2", post),
        Operation("followers_by_id", "/followers", followers),
        Operation("following_by_id", "/following", following),
        Operation("comments_by_shortcode", "/media_comments", comments),
        Operation("hashtag_posts", "/hash_tag_medias_v2", hashtag),
    ),
    refusals=rapidapi.refusals("instagram-scraper2.p.rapidapi.com", "JoTucker"),
    limits=(Window(5, 1), rapidapi.PLAN),
    credential_header=rapidapi.KEY_HEADER,
    usage_headers=rapidapi.usage_headers,
)
