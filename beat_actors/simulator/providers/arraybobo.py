"""ArrayBobo: private-API profiles, reels and stories, and the web's GraphQL listings, behind the RapidAPI gateway. 12 posts a page."""

from beat_actors.simulator.population import VIDEO, Person
from beat_actors.simulator.provider import Asked, Operation, Reply, SimulatedProvider, Window, World, reply
from beat_actors.simulator.shapes import cursors, rapidapi, web_lists
from beat_actors.simulator.shapes.private_media import full_media
from beat_actors.simulator.shapes.private_user import full_user
from beat_actors.simulator.shapes.relations import posts_of_others
from beat_actors.simulator.shapes.relations import tagged as tags_of
from beat_actors.simulator.shapes.stories import private_reel
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


def reels(asked: Asked, world: World) -> Reply:
    person = world.people.by_pk(asked.query.get("id_user", ""))
    if person is None:
        return rapidapi.invalid_target()
    if person.is_private:
        return rapidapi.not_authorized()
    offset = cursors.decode(NAME, person, asked.query.get("max_id"))
    if offset is None:
        return rapidapi.bad_cursor()
    films = [post for post in world.people.posts(person, 0, person.posts) if post.kind == VIDEO]
    page = films[offset : offset + PAGE]
    end = offset + len(page)
    paging: dict[str, object] = {"more_available": end < len(films)}
    if end < len(films):
        paging["max_id"] = cursors.encode(NAME, person, end)
    items = [{"media": full_media(world, person, post, pk_as_text=True)} for post in page]
    return reply({"items": items, "paging_info": paging, "status": "ok"})


def tagged(asked: Asked, world: World) -> Reply:
    person = world.people.by_pk(asked.query.get("id_user", ""))
    if person is None:
        return reply({"data": {"viewer": {}, "user": None}, "status": "ok"})
    offset = cursors.decode(NAME, person, asked.query.get("end_cursor"))
    if offset is None:
        return rapidapi.bad_cursor()
    total = tags_of(person)
    page = posts_of_others(world.people, person, offset, min(PAGE, total - offset))
    end = offset + len(page)
    cursor = cursors.encode(NAME, person, end) if page and end < total else None
    edge = web_lists.page([web_lists.tagged(world, *each) for each in page], total, cursor)
    return reply({"data": {"user": {"edge_user_to_photos_of_you": edge}}, "status": "ok"})


def stories(asked: Asked, world: World) -> Reply:
    person = world.people.by_pk(asked.query.get("id_user", ""))
    if person is None:
        return rapidapi.invalid_target()
    reel = private_reel(world, person)
    return reply({"reels": {str(person.pk): reel} if reel["items"] else {}, "status": "ok"})


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


provider = SimulatedProvider(
    name=NAME,
    operations=(
        Operation("profile_by_handle", "/ig/info_username/", profile_by_handle),
        Operation("profile_by_id", "/ig/info/", profile_by_id),
        Operation("posts_by_id", "/ig/posts/", posts_by_id),
        Operation("posts_by_handle", "/ig/posts_username/", posts_by_handle),
        Operation("post_by_shortcode", "/ig/post_info/", post),
        Operation("reels_by_id", "/ig/reels_posts/", reels),
        Operation("tagged_by_id", "/ig/tagged/", tagged),
        Operation("stories_by_id", "/ig/stories/", stories),
    ),
    refusals=rapidapi.refusals("instagram-scraper-2022.p.rapidapi.com", "arraybobo"),
    limits=(Window(100, 30), rapidapi.PLAN),
    credential_header=rapidapi.KEY_HEADER,
    usage_headers=rapidapi.usage_headers,
)
