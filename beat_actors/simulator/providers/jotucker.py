"""JoTucker: private-API profiles and media behind the RapidAPI gateway. `user_info_by_id` also takes a user name (sic)."""

from beat_actors.simulator.double import Asked, Operation, ProviderDouble, Reply, Window, World, reply
from beat_actors.simulator.shapes import cursors, rapidapi
from beat_actors.simulator.shapes.private_media import full_media
from beat_actors.simulator.shapes.private_user import full_user

NAME = "jotucker"
PAGE, LARGEST = 12, 50


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


double = ProviderDouble(
    name=NAME,
    operations=(
        Operation("profile_by_id", "/user_info_by_id", profile, when=lambda query: "user_id" in query),
        Operation("profile_by_handle", "/user_info_by_id", profile),
        Operation("posts_by_id", "/medias_v2", posts),
        Operation("post", "/media_info_v2", post),
    ),
    refusals=rapidapi.refusals("instagram-scraper2.p.rapidapi.com", "JoTucker"),
    limits=(Window(5, 1), rapidapi.PLAN),
    credential_header=rapidapi.KEY_HEADER,
    usage_headers=rapidapi.usage_headers,
)
