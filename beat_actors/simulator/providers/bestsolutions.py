"""BestSolutions' double: the user object at the root."""

from aiohttp import web

from beat_actors.simulator.double import Asked, ProviderDouble, Quota, Reply, reply
from beat_actors.simulator.population import Population
from beat_actors.simulator.providers.shapes import (
    private_media,
    private_user,
    rapidapi_headers,
    rapidapi_key,
    rapidapi_refusal,
)

PAGE = 12


def read(path: str, request: web.Request) -> Asked | None:
    query = request.query
    match path:
        case "/profile" if "username" in query:
            return Asked("profile_by_handle", {"handle": query["username"]})
        case "/profile":
            return Asked("profile_by_id", {"pk": query.get("user_id", "")})
        case "/feed":
            return Asked("posts_by_id", {"pk": query.get("user_id", ""), "cursor": query.get("next_max_id", "0")})
    return None


def answer(population: Population, asked: Asked, epoch: int) -> Reply:
    if "handle" in asked.params:
        person = population.by_handle(asked.params["handle"], epoch)
    else:
        person = population.by_pk(asked.params["pk"], epoch)
    if person is None:
        return rapidapi_refusal("missing", None)
    if asked.operation != "posts_by_id":
        return reply(200, private_user(person))
    if person.private:
        return rapidapi_refusal("private", None)
    start = int(asked.params["cursor"]) if asked.params["cursor"].isdigit() else 0
    posts, following = population.page(person, epoch, start, PAGE)
    items = [private_media(person, post) for post in posts]
    cursor = None if following is None else str(following)
    return reply(200, {"items": items, "more_available": following is not None, "next_max_id": cursor, "status": "ok"})


DOUBLE = ProviderDouble("bestsolutions", (Quota(2, 1),), rapidapi_key, read, answer, rapidapi_refusal, rapidapi_headers)
