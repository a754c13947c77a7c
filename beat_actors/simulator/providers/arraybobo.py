"""ArrayBobo's double."""

from aiohttp import web

from beat_actors.simulator.double import Asked, ProviderDouble, Quota, Reply, reply
from beat_actors.simulator.population import Population
from beat_actors.simulator.providers.shapes import (
    private_user,
    rapidapi_headers,
    rapidapi_key,
    rapidapi_refusal,
    web_node,
)

PAGE = 12


def read(path: str, request: web.Request) -> Asked | None:
    query = request.query
    match path.rstrip("/"):
        case "/ig/info_username":
            return Asked("profile_by_handle", {"handle": query.get("user", "")})
        case "/ig/info":
            return Asked("profile_by_id", {"pk": query.get("id_user", "")})
        case "/ig/posts":
            return Asked("posts_by_id", {"pk": query.get("id_user", ""), "cursor": query.get("end_cursor", "0")})
    return None


def answer(population: Population, asked: Asked, epoch: int) -> Reply:
    if "handle" in asked.params:
        person = population.by_handle(asked.params["handle"], epoch)
    else:
        person = population.by_pk(asked.params["pk"], epoch)
    if asked.operation != "posts_by_id":
        return (
            rapidapi_refusal("missing", None)
            if person is None
            else reply(200, {"user": private_user(person), "status": "ok"})
        )
    if person is None:
        return reply(200, {"data": {"user": None}, "status": "ok"})
    if person.private:
        return rapidapi_refusal("private", None)
    start = int(asked.params["cursor"]) if asked.params["cursor"].isdigit() else 0
    posts, following = population.page(person, epoch, start, PAGE)
    timeline = {
        "count": person.post_count,
        "page_info": {
            "has_next_page": following is not None,
            "end_cursor": None if following is None else str(following),
        },
        "edges": [{"node": web_node(person, post)} for post in posts],
    }
    return reply(200, {"data": {"user": {"edge_owner_to_timeline_media": timeline}}, "status": "ok"})


DOUBLE = ProviderDouble("arraybobo", (Quota(100, 30),), rapidapi_key, read, answer, rapidapi_refusal, rapidapi_headers)
