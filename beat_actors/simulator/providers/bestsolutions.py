"""BestSolutions: the user object at the root of the answer, and a feed, behind the RapidAPI gateway. Ids are strings here."""

from beat_actors.simulator.provider import Asked, Operation, Reply, SimulatedProvider, Window, World, reply
from beat_actors.simulator.shapes import cursors, rapidapi
from beat_actors.simulator.shapes.private_media import full_media
from beat_actors.simulator.shapes.private_user import full_user

NAME = "bestsolutions"
PAGE = 12


def profile(asked: Asked, world: World) -> Reply:
    pk, handle = asked.query.get("user_id"), asked.query.get("username")
    if not pk and not handle:
        return rapidapi.missing_parameter("username")
    person = world.people.by_pk(pk) if pk else world.people.by_handle(handle or "")
    if person is None:
        return rapidapi.user_not_found()
    return reply(full_user(world, person, pk_as_text=True))


def feed(asked: Asked, world: World) -> Reply:
    person = world.people.by_pk(asked.query.get("user_id", ""))
    if person is None:
        return rapidapi.user_not_found()
    if person.is_private:
        return rapidapi.not_authorized()
    offset = cursors.decode(NAME, person, asked.query.get("next_max_id"))
    if offset is None:
        return rapidapi.bad_cursor()
    page = world.people.posts(person, offset, PAGE)
    end = offset + len(page)
    more = end < person.posts
    return reply(
        {
            "items": [full_media(world, person, each, pk_as_text=True) for each in page],
            "more_available": more,
            "next_max_id": cursors.encode(NAME, person, end) if more else None,
        }
    )


provider = SimulatedProvider(
    name=NAME,
    operations=(
        Operation("profile_by_id", "/profile", profile, when=lambda query: "user_id" in query),
        Operation("profile_by_handle", "/profile", profile),
        Operation("posts_by_id", "/feed", feed),
    ),
    refusals=rapidapi.refusals("instagram-api-cheap-best-performance.p.rapidapi.com", "bestsolutions"),
    limits=(Window(2, 1), rapidapi.PLAN),
    credential_header=rapidapi.KEY_HEADER,
    usage_headers=rapidapi.usage_headers,
)
