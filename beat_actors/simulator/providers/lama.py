"""Lama (lamadava, today HikerAPI): web-shaped profiles by name, flat private shapes by id, chunks with a cursor beside them.

A 403 says that the account is private, not that the key is bad; 402 that the balance is spent.
"""

from collections.abc import Mapping

from beat_actors.simulator.double import Asked, Operation, ProviderDouble, Refusals, Reply, Usage, Window, World, reply
from beat_actors.simulator.population import Person
from beat_actors.simulator.shapes.lama import flat_media, flat_user, web_user

PAGE, LARGEST = 33, 200
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
        return _error(403, "Account is private", "PrivateAccount")
    offset = _after(world, person, asked.query.get("end_cursor"))
    if offset is None:
        return _error(400, "Invalid end_cursor", "ClientBadRequestError")
    # However much is asked for, a chunk holds what one upstream call gives.
    page = world.people.posts(person, offset, max(1, min(int(amount), LARGEST, PAGE)))
    more = offset + len(page) < person.posts
    cursor = f"{page[-1].pk}_{person.pk}" if more else None
    return reply([[flat_media(world, person, each) for each in page], cursor])


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


def _unprocessable(name: str) -> Reply:
    return reply({"detail": [{"loc": ["query", name], "msg": "field required", "type": "value_error.missing"}]}, 422)


def _usage_headers(usage: Usage) -> Mapping[str, str]:
    return {"x-hiker-info": f"reqs={usage.used}"}


double = ProviderDouble(
    name="lama",
    operations=(
        Operation("profile_by_handle", "/a1/user", profile_by_handle),
        Operation("profile_by_id", "/v1/user/by/id", profile_by_id),
        Operation("posts_by_id", "/v1/user/medias/chunk", posts),
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
