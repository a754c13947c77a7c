"""JoTucker's double."""

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


def read(path: str, request: web.Request) -> Asked | None:
    query = request.query
    match path:
        case "/user_info_by_id" if "user_name" in query:
            return Asked("profile_by_handle", {"handle": query["user_name"]})
        case "/user_info_by_id":
            return Asked("profile_by_id", {"pk": query.get("user_id", "")})
        case "/medias_v2":
            size = query.get("batch_size", "12")
            return Asked(
                "posts_by_id", {"pk": query.get("user_id", ""), "cursor": query.get("max_id", "0"), "size": size}
            )
    return None


def answer(population: Population, asked: Asked, epoch: int) -> Reply:
    if "handle" in asked.params:
        person = population.by_handle(asked.params["handle"], epoch)
    else:
        person = population.by_pk(asked.params["pk"], epoch)
    if person is None:
        return rapidapi_refusal("missing", None)
    if asked.operation != "posts_by_id":
        return reply(200, {"user": private_user(person), "status": "ok"})
    if person.private:
        return rapidapi_refusal("private", None)
    start = int(asked.params["cursor"]) if asked.params["cursor"].isdigit() else 0
    size = min(50, int(asked.params["size"]) if asked.params["size"].isdigit() else 12)
    posts, following = population.page(person, epoch, start, size)
    page = {
        "items": [private_media(person, post) for post in posts],
        "num_results": len(posts),
        "more_available": following is not None,
        "status": "ok",
    }
    return reply(200, page if following is None else page | {"next_max_id": str(following)})


DOUBLE = ProviderDouble("jotucker", (Quota(5, 1),), rapidapi_key, read, answer, rapidapi_refusal, rapidapi_headers)
