"""Lama (lamadava, today HikerAPI): web-shaped profiles by name, flat private shapes by id, chunks with a cursor beside them.

A 403 says that the account is private, not that the key is bad; 402 that the balance is spent.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from beat_actors.simulator.population import VIDEO, Person, shortcode
from beat_actors.simulator.provider import (
    Asked,
    Operation,
    Refusals,
    Reply,
    SimulatedProvider,
    Usage,
    Window,
    World,
    reply,
)
from beat_actors.simulator.shapes import cursors, relations, web_lists
from beat_actors.simulator.shapes.lama import flat_media, flat_user, listed_user, web_user
from beat_actors.simulator.shapes.private_media import full_media
from beat_actors.simulator.shapes.stories import flat_story

NAME = "lama"
PAGE, LARGEST = 33, 200
TAGGED_WITH = 60  # posts with any hashtag
NOT_CHARGED = 1_000_000


def profile_by_handle(asked: Asked, world: World) -> Reply:
    handle = asked.query.get("username")
    if not handle:
        return _unprocessable("username")
    person = world.people.by_handle(handle)
    return _not_found() if person is None else reply({"graphql": {"user": web_user(world, person)}})


def profile_by_id(asked: Asked, world: World) -> Reply:
    pk = asked.query.get("id")
    if not pk:
        return _unprocessable("id")
    person = world.people.by_pk(pk)
    return _not_found() if person is None else reply(flat_user(world, person))


def posts(asked: Asked, world: World) -> Reply:
    pk, amount = asked.query.get("user_id"), asked.query.get("max_amount", str(PAGE))
    if not pk:
        return _unprocessable("user_id")
    if not amount.isdigit():
        return _unprocessable("max_amount")
    person = world.people.by_pk(pk)
    if person is None:
        return _not_found()
    if person.is_private:
        return _private()
    offset = _after(world, person, asked.query.get("end_cursor"))
    if offset is None:
        return _bad_cursor("end_cursor")
    # However much is asked for, a chunk holds what one upstream call gives.
    page = world.people.posts(person, offset, max(1, min(int(amount), LARGEST, PAGE)))
    more = offset + len(page) < person.posts
    cursor = f"{page[-1].pk}_{person.pk}" if more else None
    return reply([[flat_media(world, person, each) for each in page], cursor])


def post(asked: Asked, world: World) -> Reply:
    found = world.people.by_shortcode(asked.query.get("code", ""))
    if found is None:
        return _error(404, "Media not found", "MediaNotFound")
    if found[0].is_private:
        return _private()
    return reply({"items": [full_media(world, *found)], "num_results": 1, "more_available": False, "status": "ok"})


def stories(asked: Asked, world: World) -> Reply:
    def answer(person: Person) -> Reply:
        return reply([flat_story(world, person, each) for each in relations.stories(world.people, person)])

    return _of_user(asked, world, answer)


def reels(asked: Asked, world: World) -> Reply:
    def answer(person: Person) -> Reply:
        films = [each for each in world.people.posts(person, 0, person.posts) if each.kind == VIDEO]
        return _chunk(
            asked,
            "end_cursor",
            person,
            len(films),
            lambda start, count: [flat_media(world, person, each) for each in films[start : start + count]],
        )

    return _of_user(asked, world, answer)


def followers(asked: Asked, world: World) -> Reply:
    return _follows(asked, world, relations.followers, step=1)


def following(asked: Asked, world: World) -> Reply:
    return _follows(asked, world, relations.following, step=-1)


def _follows(asked: Asked, world: World, how_many: Callable[[Any, Person], int], *, step: int) -> Reply:
    people = world.people

    def answer(person: Person) -> Reply:
        return _chunk(
            asked,
            "end_cursor",
            person,
            how_many(people, person),
            lambda start, count: [
                listed_user(world, each) for each in relations.neighbours(people, person, start, count, step)
            ],
        )

    return _of_user(asked, world, answer)


def tagged(asked: Asked, world: World) -> Reply:
    def answer(person: Person) -> Reply:
        found = _page(
            asked,
            "page_id",
            person,
            relations.tagged(person),
            lambda start, count: [
                full_media(world, *each) for each in relations.posts_of_others(world.people, person, start, count)
            ],
        )
        if found is None:
            return _bad_cursor("page_id")
        items, cursor = found
        response = {
            "num_results": len(items),
            "more_available": cursor is not None,
            "items": items,
            "auto_load_more_enabled": True,
            "total_count": relations.tagged(person),
            "status": "ok",
        }
        return reply({"response": response, "next_page_id": cursor})

    return _of_user(asked, world, answer)


def hashtag(asked: Asked, world: World) -> Reply:
    tag = asked.query.get("name")
    if not tag:
        return _unprocessable("name")
    person = relations.behind_hashtag(world.people, tag)
    return _chunk(
        asked,
        "max_id",
        person,
        TAGGED_WITH,
        lambda start, count: [
            flat_media(world, *each) for each in relations.posts_of_others(world.people, person, start, count)
        ],
    )


def comments(asked: Asked, world: World) -> Reply:
    pk = asked.query.get("media_id", "")
    found = world.people.by_shortcode(shortcode(int(pk))) if pk.isascii() and pk.isdigit() and len(pk) < 20 else None
    if found is None:
        return _error(404, "Media not found", "MediaNotFound")
    person, commented = found
    if person.is_private:
        return _private()
    return _chunk(
        asked,
        "end_cursor",
        person,
        min(commented.comments, world.people.size // 2),
        lambda start, count: [
            web_lists.comment(world, each) for each in relations.comments(world.people, person, commented, start, count)
        ],
    )


def _of_user(asked: Asked, world: World, answer: Callable[[Person], Reply]) -> Reply:
    pk = asked.query.get("user_id")
    if not pk:
        return _unprocessable("user_id")
    person = world.people.by_pk(pk)
    if person is None:
        return _not_found()
    return _private() if person.is_private else answer(person)


Items = Callable[[int, int], Sequence[dict[str, Any]]]
"""(start, count) -> the items of a page."""


def _page(
    asked: Asked, name: str, person: Person, total: int, items: Items
) -> tuple[Sequence[dict[str, Any]], str | None] | None:
    """The items of a page and the next one's cursor; `None` where the cursor, a parameter of that name, cannot be."""
    offset = cursors.decode(NAME, person, asked.query.get(name))
    if offset is None:
        return None
    page = items(offset, max(0, min(PAGE, total - offset)))
    end = offset + len(page)
    return page, cursors.encode(NAME, person, end) if page and end < total else None


def _chunk(asked: Asked, name: str, person: Person, total: int, items: Items) -> Reply:
    found = _page(asked, name, person, total, items)
    return _bad_cursor(name) if found is None else reply(list(found))


def balance(asked: Asked, _world: World) -> Reply:
    left = asked.usage.quota_left if asked.usage.quota_calls else NOT_CHARGED
    return reply({"requests": left, "rate": 15, "currency": "USD", "amount": round(left * 0.0006, 2)})


def _after(world: World, person: Person, cursor: str | None) -> int | None:
    """The cursor is the last item's id, as recorded. `None` where it is not one of this person's."""
    if not cursor:
        return 0
    pk, _, owner = cursor.partition("_")
    if owner != str(person.pk) or not pk.isdigit() or len(pk) > 19:
        return None
    ordinal = world.people.ordinal_of(person, int(pk))
    return None if ordinal is None else ordinal + 1


def _error(status: int, detail: str, kind: str) -> Reply:
    return reply({"detail": detail, "exc_type": kind}, status)


def _not_found() -> Reply:
    return _error(404, "User not found", "UserNotFound")


def _private() -> Reply:
    return _error(403, "Account is private", "PrivateAccount")


def _bad_cursor(name: str) -> Reply:
    return _error(400, f"Invalid {name}", "ClientBadRequestError")


def _unprocessable(name: str) -> Reply:
    return reply({"detail": [{"loc": ["query", name], "msg": "field required", "type": "value_error.missing"}]}, 422)


def _usage_headers(usage: Usage) -> Mapping[str, str]:
    return {"x-hiker-info": f"reqs={usage.used}"}


provider = SimulatedProvider(
    name=NAME,
    operations=(
        Operation("profile_by_handle", "/a2/user", profile_by_handle),
        Operation("profile_by_id", "/v1/user/by/id", profile_by_id),
        Operation("posts_by_id", "/v1/user/medias/chunk", posts),
        Operation("post_by_shortcode", "/v1/media/by/code", post),
        Operation("reels_by_id", "/v1/user/clips/chunk", reels),
        Operation("tagged_by_id", "/v2/user/tag/medias", tagged),
        Operation("stories_by_id", "/v1/user/stories", stories),
        Operation("followers_by_id", "/gql/user/followers/chunk", followers),
        Operation("following_by_id", "/gql/user/following/chunk", following),
        Operation("comments_by_shortcode", "/gql/comments/chunk", comments),
        Operation("hashtag_posts", "/v1/hashtag/medias/top/recent/chunk", hashtag),
        Operation("balance", "/sys/balance", balance, cached=False, free=True),
    ),
    refusals=Refusals(
        no_credential=_error(401, "Access token is missing", "Unauthorized"),
        revoked=_error(401, "Invalid access token", "Unauthorized"),
        over_limit=lambda _wait: _error(429, "Too many requests per second", "TooManyRequests"),
        over_quota=lambda _wait: _error(402, "Top up your balance to go on", "InsufficientFunds"),
        unknown_path=lambda _path: reply({"detail": "Not Found"}, 404),
        outage=_error(503, "Service is temporarily unavailable", "ServiceUnavailable"),
    ),
    limits=(Window(15, 1),),
    credential_header="x-access-key",
    credential_query="access_key",
    usage_headers=_usage_headers,
)
