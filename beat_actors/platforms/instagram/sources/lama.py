"""Lama (lamadava, today HikerAPI): web-shaped profiles by name, flat private shapes by id.

source: its response-codes page. 403 says that the account is private, not that the key is bad; 402 that the balance is spent;
500, 503 and 504 are the upstream's and not charged. 15 calls a second is the paid plan.
"""

import msgspec

from beat_actors.errors import Malformed, Missing
from beat_actors.platforms.instagram.payloads import PASSED_THROUGH, the_post_asked_for
from beat_actors.platforms.instagram.private import (
    Follower,
    PrivateMedia,
    PrivateStory,
    PrivateUser,
    account_from_private,
    follow,
    post_from_private,
    story_from_private,
)
from beat_actors.platforms.instagram.web import WebUser, account_from_web, posts_from_web
from beat_actors.platforms.interface import (
    Answer,
    Call,
    CallBuilder,
    Check,
    Endpoint,
    ErrorRule,
    FetchSpec,
    Health,
    Limit,
    Outcome,
    Parsed,
    Secret,
    Source,
    Verdict,
)
from beat_actors.platforms.reading import Count, Id, count, decoder


class Graphql(msgspec.Struct):
    user: WebUser | None


class Profile(msgspec.Struct):
    graphql: Graphql


class Post(PrivateMedia):
    """A post at the root, in `items`, or in `media_or_ad`: which, depends on the version of the path."""

    code: str = ""
    items: list[PrivateMedia] | None = None
    media_or_ad: PrivateMedia | None = None


class TaggedPage(msgspec.Struct):
    items: list[PrivateMedia]


class Tagged(msgspec.Struct):
    response: TaggedPage
    next_page_id: Id | None = None


class Balance(msgspec.Struct):
    requests: Count


decode_profile = decoder(Profile)
decode_user = decoder(PrivateUser)
# A pair: the page's media, and the next page's cursor or nothing.
decode_chunk = decoder(tuple[list[PrivateMedia], Id | None])
decode_follows = decoder(tuple[list[Follower], Id | None])
decode_post = decoder(Post)
decode_stories = decoder(list[PrivateStory])
decode_tagged = decoder(Tagged)
decode_balance = decoder(Balance)


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


def post(spec: FetchSpec, secret: Secret) -> Call:
    return _call("/a1/media", {"code": spec.params["shortcode"]}, secret)


def of_user(path: str, cursor: str) -> CallBuilder:
    """A user's list; `cursor` is what the path calls the next page's."""

    def build(spec: FetchSpec, secret: Secret) -> Call:
        page = {cursor: spec.cursor} if spec.cursor else {}
        return _call(path, {"user_id": spec.params["profile_id"], **page}, secret)

    return build


def stories(spec: FetchSpec, secret: Secret) -> Call:
    return _call("/v1/user/stories", {"user_id": spec.params["profile_id"]}, secret)


def hashtag(spec: FetchSpec, secret: Secret) -> Call:
    page = {"max_id": spec.cursor} if spec.cursor else {}
    return _call(
        "/v1/hashtag/medias/recent/chunk", {"name": spec.params["hashtag"], "max_amount": "50", **page}, secret
    )


def balance(secret: Secret) -> Call:
    return _call("/sys/balance", {}, secret)


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


def parse_post(body: bytes, spec: FetchSpec) -> Parsed:
    payload = decode_post(body)
    if payload.items is not None and not payload.items:
        raise Missing("there is no such post")
    media: PrivateMedia = payload
    at = "$"
    if payload.items:
        media, at = payload.items[0], "$.items[0]"
    elif payload.media_or_ad:
        media, at = payload.media_or_ad, "$.media_or_ad"
    found = post_from_private(media, at)
    the_post_asked_for(spec, found.shortcode, f"{at}.code")
    return Parsed([found])


def parse_stories(body: bytes, spec: FetchSpec) -> Parsed:
    return Parsed([story_from_private(item, spec, f"$[{i}]") for i, item in enumerate(decode_stories(body))])


def parse_follows(body: bytes, spec: FetchSpec) -> Parsed:
    users, cursor = decode_follows(body)
    return Parsed([follow(user, spec, f"$[0][{i}]") for i, user in enumerate(users)], str(cursor) if cursor else None)


def parse_tagged(body: bytes, _spec: FetchSpec) -> Parsed:
    payload = decode_tagged(body)
    found = [post_from_private(item, f"$.response.items[{i}]") for i, item in enumerate(payload.response.items)]
    return Parsed(found, str(payload.next_page_id) if payload.next_page_id else None)


def balance_health(answer: Answer) -> Health:
    """A key without requests left is spent, though it lives."""
    verdict = Lama().classify(answer)
    if verdict.outcome is not Outcome.OK:
        return Health(verdict)
    try:
        left = count(decode_balance(answer.body).requests, "$.requests")
    except Malformed as error:
        return Health(Verdict(Outcome.MALFORMED, error.path, str(error)[:300]))
    return Health(Verdict(Outcome.QUOTA_EXHAUSTED, detail="no requests are left") if left == 0 else verdict)


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
        "post_by_shortcode": Endpoint(post, parse_post),
        "reels_by_id": Endpoint(of_user("/v1/user/clips/chunk", "end_cursor"), parse_chunk),
        "tagged_by_id": Endpoint(of_user("/v2/user/tag/medias", "page_id"), parse_tagged),
        "stories_by_id": Endpoint(stories, parse_stories),
        "followers_by_id": Endpoint(of_user("/gql/user/followers/chunk", "end_cursor"), parse_follows),
        "following_by_id": Endpoint(of_user("/gql/user/following/chunk", "end_cursor"), parse_follows),
        "hashtag_posts": Endpoint(hashtag, parse_chunk),
    }
    check = Check(balance, balance_health)
