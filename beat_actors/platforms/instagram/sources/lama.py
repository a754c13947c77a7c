"""Lama (lamadava, today HikerAPI): web-shaped profiles by name, flat private shapes by id.

source: its response-codes page. 403 says that the account is private, not that the key is bad; 402 that the balance is spent;
500, 503 and 504 are the upstream's and not charged. 15 calls a second is the paid plan.
"""

import msgspec

from beat_actors.errors import Missing
from beat_actors.platforms.instagram.payloads import (
    PASSED_THROUGH,
    PrivateMedia,
    PrivateUser,
    WebUser,
    account_from_private,
    account_from_web,
    decoder,
    post_from_private,
    posts_from_web,
)
from beat_actors.platforms.interface import Call, Endpoint, ErrorRule, FetchSpec, Limit, Outcome, Parsed, Secret, Source


class Graphql(msgspec.Struct):
    user: WebUser | None


class Profile(msgspec.Struct):
    graphql: Graphql


decode_profile = decoder(Profile)
decode_user = decoder(PrivateUser)
# A pair: the page's media, and the next page's cursor or nothing.
decode_chunk = decoder(tuple[list[PrivateMedia], int | str | None])


def _call(path: str, query: dict[str, str], secret: Secret) -> Call:
    return Call(path, query=query, headers={"x-access-key": secret["key"]})


def by_handle(spec: FetchSpec, secret: Secret) -> Call:
    return _call("/a1/user", {"username": spec.params["handle"]}, secret)


def by_id(spec: FetchSpec, secret: Secret) -> Call:
    return _call("/v1/user/by/id", {"id": spec.params["profile_id"]}, secret)


def posts(spec: FetchSpec, secret: Secret) -> Call:
    cursor = {"end_cursor": spec.cursor} if spec.cursor else {}
    query = {"user_id": spec.params["profile_id"], "max_amount": "200", **cursor}
    return _call("/v1/user/medias/chunk", query, secret)


def parse_web_profile(body: bytes, spec: FetchSpec) -> Parsed:
    user = decode_profile(body).graphql.user
    if user is None:
        raise Missing("there is no such user")
    account = account_from_web(user, spec)
    timeline = user.edge_owner_to_timeline_media
    at = "$.graphql.user.edge_owner_to_timeline_media.edges"
    edges = timeline.edges if timeline else []
    recent = posts_from_web(edges, at, profile_id=account.profile_id, handle=account.handle)
    return Parsed([account, *recent])


def parse_flat_profile(body: bytes, spec: FetchSpec) -> Parsed:
    return Parsed([account_from_private(decode_user(body), spec, at="$")])


def parse_chunk(body: bytes, _spec: FetchSpec) -> Parsed:
    media, cursor = decode_chunk(body)
    found = [post_from_private(item, f"$[0][{i}]") for i, item in enumerate(media)]
    return Parsed(found, str(cursor) if cursor else None)


class Lama(Source):
    name = "lama"
    base_url = "https://api.hikerapi.com"
    secret_fields = ("key",)
    limits = (Limit("second", 15, 1),)
    errors = (
        ErrorRule(Outcome.CREDENTIAL_DEAD, status=401, message="token|access.?key|unauthorized"),
        ErrorRule(Outcome.QUOTA_EXHAUSTED, status=402, wait=3600),
        ErrorRule(Outcome.UPSTREAM_DOWN, status=403, message="login_required|challenge_required|checkpoint_required"),
        ErrorRule(Outcome.PRIVATE, status=403),
        ErrorRule(Outcome.MISSING, status=404),
        ErrorRule(Outcome.RATE_LIMITED, status=429, wait=2),
        *PASSED_THROUGH,
        ErrorRule(Outcome.CREDENTIAL_DEAD, status=401),
        ErrorRule(Outcome.UPSTREAM_DOWN, status=408),
        ErrorRule(Outcome.BAD_REQUEST, status=400),
        ErrorRule(Outcome.BAD_REQUEST, status=422),
    )
    endpoints = {
        "profile_by_handle": Endpoint(by_handle, parse_web_profile),
        "profile_by_id": Endpoint(by_id, parse_flat_profile),
        "posts_by_id": Endpoint(posts, parse_chunk),
    }
