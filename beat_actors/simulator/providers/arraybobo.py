"""ArrayBobo: private-API profiles and the web's GraphQL listings, behind the RapidAPI gateway. 12 posts a page."""

from beat_actors.simulator.double import Asked, Operation, ProviderDouble, Reply, Window, World, reply
from beat_actors.simulator.population import Person
from beat_actors.simulator.shapes import cursors, rapidapi
from beat_actors.simulator.shapes.private_user import full_user
from beat_actors.simulator.shapes.web_media import node

NAME = "arraybobo"
PAGE = 12


def profile_by_handle(asked: Asked, world: World) -> Reply:
    return _profile(world.people.by_handle(asked.query.get("user", "")), world)


def profile_by_id(asked: Asked, world: World) -> Reply:
    return _profile(world.people.by_pk(asked.query.get("id_user", "")), world)


def posts_by_handle(asked: Asked, world: World) -> Reply:
    return _posts(world.people.by_handle(asked.query.get("user", "")), asked, world)


def posts_by_id(asked: Asked, world: World) -> Reply:
    return _posts(world.people.by_pk(asked.query.get("id_user", "")), asked, world)


def post(asked: Asked, world: World) -> Reply:
    found = world.people.by_shortcode(asked.query.get("shortcode", ""))
    if found is None or found[0].is_private:
        return reply({"message": "Media not found or unavailable", "status": "fail"}, 400)
    return reply(node(world, *found))


def _profile(person: Person | None, world: World) -> Reply:
    if person is None:
        return rapidapi.user_not_found()
    return reply({"user": full_user(world, person), "status": "ok"})


def _posts(person: Person | None, asked: Asked, world: World) -> Reply:
    if person is None:
        return reply({"data": {"viewer": {}, "user": None}, "status": "ok"})
    offset = cursors.decode(NAME, person, asked.query.get("end_cursor"))
    if offset is None:
        return rapidapi.bad_cursor()
    page = [] if person.is_private else world.people.posts(person, offset, PAGE)
    end = offset + len(page)
    more = bool(page) and end < person.posts
    timeline = {
        "count": person.posts,
        "page_info": {"has_next_page": more, "end_cursor": cursors.encode(NAME, person, end) if more else None},
        "edges": [{"node": node(world, person, each)} for each in page],
    }
    return reply({"data": {"user": {"edge_owner_to_timeline_media": timeline}}, "status": "ok"})


double = ProviderDouble(
    name=NAME,
    operations=(
        Operation("profile_by_handle", "/ig/info_username/", profile_by_handle),
        Operation("profile_by_id", "/ig/info/", profile_by_id),
        Operation("posts_by_id", "/ig/posts/", posts_by_id),
        Operation("posts_by_handle", "/ig/posts_username/", posts_by_handle),
        Operation("post", "/ig/post_info/", post),
    ),
    refusals=rapidapi.refusals("instagram-scraper-2022.p.rapidapi.com", "arraybobo"),
    limits=(Window(100, 30), rapidapi.PLAN),
    credential_header=rapidapi.KEY_HEADER,
    usage_headers=rapidapi.usage_headers,
)
