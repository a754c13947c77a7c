"""What the Graph API tells an account of its own: its media, stories, tags, comments and insights, page by page."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import structs

from beat_actors.simulator.population import Person, Post, shortcode
from beat_actors.simulator.provider import Asked, Reply, World, reply
from beat_actors.simulator.shapes import cursors
from beat_actors.simulator.shapes.graph_fields import BadFields, parse_fields
from beat_actors.simulator.shapes.graph_insights import insights
from beat_actors.simulator.shapes.graph_media import (
    LARGEST,
    PAGE,
    SOURCE,
    account,
    by_media_id,
    getters,
    graph_error,
    no_object,
    timestamp,
    told,
    told_of_user,
)
from beat_actors.simulator.shapes.relations import comments, posts_of_others, stories, tagged


def account_or_medium(asked: Asked, world: World) -> Reply:
    """The caller's own account, or a medium of its own, whichever has that id."""
    node = asked.params["user_id"]
    try:
        names = tuple(field.name for field in parse_fields(asked.query["fields"])) if "fields" in asked.query else ()
        if (person := account(world, node)) is not None:
            return reply(told_of_user(world, person, names))
        if (found := by_media_id(world.people, node)) is not None:
            return reply(told(world, *found, getters(("id", *names))))
    except BadFields as error:
        return graph_error(400, 100, str(error))
    return no_object(node)


def own_media(asked: Asked, world: World) -> Reply:
    def items(person: Person, start: int, count: int) -> Sequence[tuple[Person, Post]]:
        return [(person, post) for post in world.people.posts(person, start, count)]

    return _edge(asked, world, lambda person: person.posts, items)


def own_tags(asked: Asked, world: World) -> Reply:
    return _edge(asked, world, tagged, lambda person, *page: posts_of_others(world.people, person, *page))


def own_stories(asked: Asked, world: World) -> Reply:
    def items(person: Person, start: int, count: int) -> Sequence[tuple[Person, Post]]:
        return [(person, story) for story in stories(world.people, person)[start : start + count]]

    return _edge(asked, world, lambda person: len(stories(world.people, person)), items)


def own_children(asked: Asked, world: World) -> Reply:
    """The children of a carousel: as many as it has, each with an id of its own."""
    found = by_media_id(world.people, asked.params["user_id"])
    if found is None:
        return no_object(asked.params["user_id"])
    person, post = found
    parts = [
        structs.replace(post, kind=1, pk=post.pk + n, shortcode=shortcode(post.pk + n))
        for n in range(1, post.children + 1)
    ]
    try:
        wanted = getters(("id", *(field.name for field in parse_fields(asked.query.get("fields", "id")))))
    except BadFields as error:
        return graph_error(400, 100, str(error))
    return reply({"data": [{**told(world, person, part, wanted), "id": str(part.pk)} for part in parts]})


def own_comments(asked: Asked, world: World) -> Reply:
    found = by_media_id(world.people, asked.params["user_id"])
    if found is None:
        return no_object(asked.params["user_id"])
    person, post = found
    page = _bounds(asked, person)
    if page is None:
        return graph_error(400, 100, "(#100) Invalid parameter: the cursor or the limit is not valid")
    said = [
        {
            "id": str(each.id),
            "text": each.text,
            "timestamp": timestamp(each.at),
            "username": each.author.handle,
            "like_count": each.likes,
        }
        for each in comments(world.people, person, post, *page)
    ]
    return reply({"data": said, **_paging(asked, person, page[0], len(said), post.comments)})


def own_insights(asked: Asked, world: World) -> Reply:
    node = asked.params["user_id"]
    if account(world, node) is None and by_media_id(world.people, node) is None:
        return no_object(node)
    if "metric" not in asked.query:
        return graph_error(400, 100, "(#100) The parameter metric is required")
    return reply({"data": insights(node, asked.query), "paging": {"next": f"{asked.base}/{node}/insights"}})


def _edge(
    asked: Asked,
    world: World,
    how_many: Callable[[Person], int],
    items: Callable[[Person, int, int], Sequence[tuple[Person, Post]]],
) -> Reply:
    """A page of media that belong to an account."""
    person = account(world, asked.params["user_id"])
    if person is None:
        return no_object(asked.params["user_id"])
    page = _bounds(asked, person)
    if page is None:
        return graph_error(400, 100, "(#100) Invalid parameter: the cursor or the limit is not valid")
    try:
        wanted = getters(("id", *(field.name for field in parse_fields(asked.query.get("fields", "id")))))
    except BadFields as error:
        return graph_error(400, 100, str(error))
    total = how_many(person)
    found = items(person, page[0], max(0, min(page[1], total - page[0])))
    data = [told(world, *each, wanted) for each in found]
    return reply({"data": data, **_paging(asked, person, page[0], len(data), total)})


def _bounds(asked: Asked, person: Person) -> tuple[int, int] | None:
    """Where a page begins and how long it may be; `None` where the cursor or the limit cannot be."""
    offset = cursors.decode(SOURCE, person, asked.query.get("after"))
    limit = asked.query.get("limit", str(PAGE))
    return None if offset is None or not limit.isdigit() else (offset, max(1, min(int(limit), LARGEST)))


def _paging(asked: Asked, person: Person, start: int, count: int, total: int) -> dict[str, Any]:
    """A page has cursors at both ends, the last one too; only what has a next page links to it."""
    if not count:
        return {}
    after = cursors.encode(SOURCE, person, start + count)
    paging: dict[str, Any] = {"cursors": {"before": cursors.encode(SOURCE, person, start), "after": after}}
    if start + count < total:
        paging["next"] = f"{asked.base}/{asked.params['user_id']}?after={after}"
    return {"paging": paging}
