"""Lama (lamadava, today HikerAPI): web-shaped profiles by name, flat private shapes by id.

source: its response-codes page. 403 says that the account is private, not that the key is bad; 402 that the balance is spent;
500, 503 and 504 are the upstream's and not charged. A 403 counts as private only where it says so.
Comments come as its documentation of `/gql/comments` shows them; that their chunk is a pair, as that of followers is, is (unverified). 15 calls a second is the paid plan.
"""

import re
from collections.abc import Callable
from dataclasses import replace

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.instagram.comments import COMMENT_TELLS, a_chunk
from beat_actors.platforms.instagram.entities import InstagramPost
from beat_actors.platforms.instagram.payloads import PASSED_THROUGH, WITHOUT_CONTACTS, is_refusal, media_id_of
from beat_actors.platforms.instagram.post_lists import the_posts
from beat_actors.platforms.instagram.posts import POST_TELLS, the_post
from beat_actors.platforms.instagram.stories import STORY_TELLS, the_list, the_stories
from beat_actors.platforms.instagram.users import (
    FOLLOWER_TELLS,
    FOLLOWING_TELLS,
    PROFILE_TELLS,
    Follower,
    follow,
    the_follows,
    the_profile,
)
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
from beat_actors.platforms.reading import NOT_JSON, Count, Id, count, decoder

POSTS, HASHTAG_POSTS = 200, 50


class Users(msgspec.Struct, array_like=True):
    """A pair: a page, and the next page's cursor or nothing."""

    users: list[Follower]
    cursor: Id | None = None


class Balance(msgspec.Struct):
    requests: Count


decode_users = decoder(Users)
decode_balance = decoder(Balance)


def _call(path: str, query: dict[str, str], secret: Secret) -> Call:
    return Call(path, query=query, headers={"x-access-key": secret["key"]})


def by_handle(spec: FetchSpec, secret: Secret) -> Call:
    return _call("/a2/user", {"username": spec.params["handle"]}, secret)


def by_id(spec: FetchSpec, secret: Secret) -> Call:
    return _call("/v1/user/by/id", {"id": spec.params["profile_id"]}, secret)


def posts(spec: FetchSpec, secret: Secret) -> Call:
    cursor = {"end_cursor": spec.cursor} if spec.cursor else {}
    query = {"user_id": spec.params["profile_id"], "max_amount": str(spec.at_most(POSTS)), **cursor}
    return _call("/v1/user/medias/chunk", query, secret)


def post(spec: FetchSpec, secret: Secret) -> Call:
    return _call("/v1/media/by/code", {"code": spec.params["shortcode"]}, secret)


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
        "/v1/hashtag/medias/top/recent/chunk",
        {"name": spec.params["hashtag"], "max_amount": str(spec.at_most(HASHTAG_POSTS)), **page},
        secret,
    )


def comments(spec: FetchSpec, secret: Secret) -> Call:
    page = {"end_cursor": spec.cursor} if spec.cursor else {}
    return _call("/gql/comments/chunk", {"media_id": media_id_of(spec.params["shortcode"]), **page}, secret)


def balance(secret: Secret) -> Call:
    return _call("/sys/balance", {}, secret)


def parse_web_profile(body: bytes, spec: FetchSpec) -> Parsed:
    return the_profile(body, spec, at="$.graphql.user")


def parse_flat_profile(body: bytes, spec: FetchSpec) -> Parsed:
    return the_profile(body, spec, at="$")


def parse_stories(body: bytes, spec: FetchSpec) -> Parsed:
    return the_list(body, spec) if body.lstrip()[:1] == b"[" else the_stories(body, spec)


def parse_follows(body: bytes, spec: FetchSpec) -> Parsed:
    if body.lstrip()[:1] != b"[":
        return the_follows(body, spec)
    page = decode_users(body)
    found = [follow(user, spec, f"$[0][{i}]") for i, user in enumerate(page.users)]
    return Parsed(found, str(page.cursor) if page.cursor else None)


def without_filler(parse: Callable[[bytes, FetchSpec], Parsed]) -> Callable[[bytes, FetchSpec], Parsed]:
    """Lama puts 0 where it has no number of views or plays. source: of 94 recorded media none has views, also those with
    millions of plays; lists of posts have no plays at all."""

    def read(body: bytes, spec: FetchSpec) -> Parsed:
        page = parse(body, spec)
        records = [
            msgspec.structs.replace(one, views=one.views or None, plays=one.plays or None)
            if isinstance(one, InstagramPost) and 0 in (one.views, one.plays)
            else one
            for one in page.records
        ]
        return replace(page, records=records)

    return read


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
    keeps = WITHOUT_CONTACTS
    secret_fields = ("key",)
    guide = "register at hikerapi.com; the key is the access key of your account there"
    limits = (Limit("second", 15, 1),)
    errors = (
        ErrorRule(Outcome.RATE_LIMITED, status=429, wait=2),
        ErrorRule(Outcome.QUOTA_EXHAUSTED, status=402, wait=3600),
        # A firewall's page, or nothing: of the thing, and of our key, it says nothing.
        ErrorRule(Outcome.UPSTREAM_DOWN, message=NOT_JSON),
        ErrorRule(Outcome.CREDENTIAL_DEAD, status=401, message="token|access.?key|unauthorized"),
        # What it reads users by (`web_profile_info`) says so falsely of nine in ten since 2 February 2026.
        ErrorRule(Outcome.UNSEEN, status=404, message='"UserNotFound"'),
        *PASSED_THROUGH,
        ErrorRule(Outcome.CREDENTIAL_DEAD, status=401, ambiguous=True),
        ErrorRule(Outcome.PRIVATE, status=403, message="private"),
        # Its own answer for a path that it does not have: a thing that is not there comes with an `exc_type`.
        ErrorRule(Outcome.UPSTREAM_DOWN, status=404, message=r'^\s*\{\s*"detail"\s*:\s*"not found"\s*\}'),
        ErrorRule(Outcome.MISSING, status=404, message=r'"exc_type"\s*:\s*"[A-Za-z]*NotFound'),
    )
    refusal = re.compile(rb'\s*\{\s*"(detail|exc_type)"\s*:')
    endpoints = {
        "profile_by_handle": Endpoint(by_handle, without_filler(parse_web_profile), tells=PROFILE_TELLS),
        "profile_by_id": Endpoint(by_id, parse_flat_profile, tells=PROFILE_TELLS),
        "posts_by_id": Endpoint(posts, without_filler(the_posts), page=POSTS, tells=POST_TELLS),
        "post_by_shortcode": Endpoint(post, without_filler(the_post), tells=POST_TELLS),
        "reels_by_id": Endpoint(
            of_user("/v1/user/clips/chunk", "end_cursor"), without_filler(the_posts), tells=POST_TELLS
        ),
        "tagged_by_id": Endpoint(
            of_user("/v2/user/tag/medias", "page_id"), without_filler(the_posts), tells=POST_TELLS
        ),
        "stories_by_id": Endpoint(stories, parse_stories, tells=STORY_TELLS),
        "comments_by_shortcode": Endpoint(comments, a_chunk, tells=COMMENT_TELLS),
        "followers_by_id": Endpoint(
            of_user("/gql/user/followers/chunk", "end_cursor"), parse_follows, tells=FOLLOWER_TELLS
        ),
        "following_by_id": Endpoint(
            of_user("/gql/user/following/chunk", "end_cursor"), parse_follows, tells=FOLLOWING_TELLS
        ),
        "hashtag_posts": Endpoint(hashtag, without_filler(the_posts), page=HASHTAG_POSTS, tells=POST_TELLS),
    }
    check = Check(balance, balance_health)

    def is_error(self, answer: Answer) -> bool:
        return super().is_error(answer) or is_refusal(answer.body)
