"""YouTube's own Data API, version 3, with an API key or with a grant of OAuth.

source: Google's reference of the API, its list of errors and its quota calculator. Each call here costs one unit of the project's 10,000 a
day, however many parts it asks for. A search costs none of them and has a quota of its own, 100 a day. Both quotas begin anew at midnight,
Pacific time. The body of a page has the cursor of the next one. The items of an answer leave out what does not exist.

A grant's refresh token gets access tokens from Google's token endpoint. They are valid for about an hour (source: Google's guide to OAuth for
web servers).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import msgspec

from beat_actors.errors import BadInput, BeatError, Malformed
from beat_actors.platforms.interface import (
    CHECK,
    Answer,
    Call,
    Check,
    Endpoint,
    ErrorRule,
    FetchSpec,
    Health,
    Limit,
    Many,
    Outcome,
    Refresh,
    Renewed,
    Secret,
    Source,
    Verdict,
)
from beat_actors.platforms.reading import Id, decoder
from beat_actors.platforms.youtube.channels import PROFILE_TELLS, parse_profile
from beat_actors.platforms.youtube.comments import COMMENT_TELLS, parse_replies, parse_threads
from beat_actors.platforms.youtube.listings import PLAYLIST_TELLS, SEARCH_TELLS, parse_playlist, parse_search
from beat_actors.platforms.youtube.login import LOGIN
from beat_actors.platforms.youtube.payloads import Page
from beat_actors.platforms.youtube.videos import POST_TELLS, parse_post, parse_posts

BATCH, COMMENTS = 50, 100
CHANNEL_PARTS = "snippet,statistics,contentDetails,status"
VIDEO_PARTS = "snippet,contentDetails,statistics,status,liveStreamingDetails"

UNITS, SEARCHES, DAY = 10_000, 100, 86_400
RESETS = "America/Los_Angeles"
# A tenth of each quota is kept for customers until late in the day.
RESERVE = 0.1

TOKENS = "https://oauth2.googleapis.com"
GRANT = ("client_id", "client_secret", "refresh_token")
KEY = re.compile(r"[\x21-\x7e]+")
SEARCH = {
    "q": "q",
    "profile_id": "channelId",
    "published_after": "publishedAfter",
    "published_before": "publishedBefore",
    "order": "order",
    "region": "regionCode",
    "language": "relevanceLanguage",
}


def call(path: str, query: Mapping[str, str], secret: Secret) -> Call:
    if "access_token" in secret:
        return Call(path, query=query, headers={"Authorization": f"Bearer {secret['access_token']}"})
    return Call(path, query=query, secret_query={"key": secret["key"]})


def token(secret: Secret) -> Call:
    form = {"grant_type": "refresh_token", **{name: secret[name] for name in GRANT}}
    return Call("/token", method="POST", form=form, base=TOKENS)


def channels(selector: str, param: str) -> Callable[[FetchSpec, Secret], Call]:
    def build(spec: FetchSpec, secret: Secret) -> Call:
        query = {"part": CHANNEL_PARTS, selector: spec.params[param], "maxResults": str(BATCH)}
        return call("/channels", query, secret)

    return build


def video(spec: FetchSpec, secret: Secret) -> Call:
    return call("/videos", {"part": VIDEO_PARTS, "id": spec.params["post_id"]}, secret)


def videos(spec: FetchSpec, secret: Secret) -> Call:
    return call("/videos", {"part": VIDEO_PARTS, "id": ",".join(spec.params["post_ids"])}, secret)


def playlist(spec: FetchSpec, secret: Secret) -> Call:
    query = {
        "part": "contentDetails,status",
        "playlistId": spec.params["playlist_id"],
        "maxResults": str(spec.at_most(BATCH)),
    }
    return call("/playlistItems", query | _page(spec), secret)


def search(spec: FetchSpec, secret: Secret) -> Call:
    said = {name: str(spec.params[param]) for param, name in SEARCH.items() if param in spec.params}
    return call(
        "/search", {"part": "id", "type": "video", "maxResults": str(spec.at_most(BATCH))} | said | _page(spec), secret
    )


def threads(spec: FetchSpec, secret: Secret) -> Call:
    query = {
        "part": "snippet,replies",
        "videoId": spec.params["post_id"],
        "order": spec.params["order"],
        "textFormat": "plainText",
        "maxResults": str(spec.at_most(COMMENTS)),
    }
    return call("/commentThreads", query | _page(spec), secret)


def replies(spec: FetchSpec, secret: Secret) -> Call:
    query = {
        "part": "snippet",
        "parentId": spec.params["comment_id"],
        "textFormat": "plainText",
        "maxResults": str(spec.at_most(COMMENTS)),
    }
    return call("/comments", query | _page(spec), secret)


def _page(spec: FetchSpec) -> dict[str, str]:
    return {"pageToken": spec.cursor} if spec.cursor else {}


class Named(msgspec.Struct):
    id: Id | None = None


decode_raw = decoder(Page[msgspec.Raw])
decode_id = decoder(Named)


def joined(param: str) -> Callable[[Sequence[FetchSpec]], FetchSpec]:
    def join(specs: Sequence[FetchSpec]) -> FetchSpec:
        ids = dict.fromkeys(spec.params[param] for spec in specs)
        return FetchSpec(specs[0].operation, {param: ",".join(ids)})

    return join


def divided(param: str) -> Callable[[bytes, Sequence[FetchSpec]], list[bytes]]:
    """The `split` of a call for many: the payload of each spec has its own item.

    A spec without an item gets the items that no spec asked for. One of them may be its item with an id that cannot be read. Its fetch then
    ends as malformed and not as missing.
    """

    def split(body: bytes, specs: Sequence[FetchSpec]) -> list[bytes]:
        wanted = {spec.params[param] for spec in specs}
        own: dict[str, bytes] = {}
        others: list[bytes] = []
        for item in decode_raw(body).all():
            raw = bytes(item)
            name = _id_of(raw)
            if name in wanted:
                own[name] = raw
            else:
                others.append(raw)
        rest = b",".join(others)
        return [b'{"items":[%b]}' % own.get(spec.params[param], rest) for spec in specs]

    return split


def _id_of(item: bytes) -> str:
    try:
        return str(decode_id(item).id)
    except Malformed:
        return ""


class Languages(msgspec.Struct):
    items: list[msgspec.Raw]


decode_languages = decoder(Languages)


def read_check(answer: Answer) -> Health:
    verdict = YtApi().classify(answer)
    if verdict.outcome is Outcome.OK:
        try:
            decode_languages(answer.body)
        except BeatError as error:
            verdict = Verdict(Outcome.MALFORMED, detail=str(error))
    return Health(verdict)


class Token(msgspec.Struct):
    access_token: Annotated[str, msgspec.Meta(pattern=rf"^{KEY.pattern}\Z")]
    expires_in: float


decode_token = decoder(Token)


def read_token(answer: Answer) -> Renewed:
    verdict = YtApi().classify(answer)
    if verdict.outcome is not Outcome.OK:
        return Renewed(verdict)
    try:
        said = decode_token(answer.body)
    except BeatError as error:
        return Renewed(Verdict(Outcome.MALFORMED, detail=str(error)))
    return Renewed(verdict, {"access_token": said.access_token}, said.expires_in)


class Detail(msgspec.Struct):
    reason: str | None = None


class Fault(msgspec.Struct):
    errors: list[Detail] | None = None
    details: list[Detail] | None = None


class Refusal(msgspec.Struct):
    """The body of an error. For the token endpoint, `error` is the reason."""

    error: Fault | str


decode_refusal = decoder(Refusal)


def first_reason(details: Sequence[Detail] | None) -> str | None:
    return next((detail.reason for detail in details or () if detail.reason), None)


# A person must change something at Google: the API is not enabled, or the key is restricted to other APIs, hosts, sites or apps.
MISCONFIGURED = (
    "accessNotConfigured",
    "ipRefererBlocked",
    "SERVICE_DISABLED",
    "API_KEY_SERVICE_BLOCKED",
    "API_KEY_IP_ADDRESS_BLOCKED",
    "API_KEY_HTTP_REFERRER_BLOCKED",
    "API_KEY_ANDROID_APP_BLOCKED",
    "API_KEY_IOS_APP_BLOCKED",
    "insufficientPermissions",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
)
# A person must grant access again, or repair the OAuth client. Waiting does not help.
UNGRANTED = (
    "invalid_grant",
    "invalid_client",
    "unauthorized_client",
    "deleted_client",
    "disabled_client",
    "admin_policy_enforced",
    "org_internal",
)
DEAD = ("keyInvalid", "keyExpired", "API_KEY_INVALID", "API_KEY_EXPIRED", "CONSUMER_SUSPENDED", "CONSUMER_INVALID")
QUOTA = ("quotaExceeded", "dailyLimitExceeded")
# The thing exists and is not public. source: the errors that the reference lists for each method, also for the next two.
CLOSED = (
    "commentsDisabled",
    "channelClosed",
    "channelForbidden",
    "channelSuspended",
    "playlistForbidden",
    "playlistItemsNotAccessible",
    "subscriptionForbidden",
)
NOT_FOUND = (
    "channelNotFound",
    "commentNotFound",
    "commentThreadNotFound",
    "parentCommentNotFound",
    "playlistItemNotFound",
    "playlistNotFound",
    "videoNotFound",
)
NEVER = (
    "incompatibleParameters",
    "invalidChannelId",
    "invalidFilters",
    "invalidParameter",
    "invalidSearchFilter",
    "invalidVideoId",
    "missingRequiredParameter",
)
YOUTUBES = r'"domain":\s*"youtube\.'
"""Matches an error of YouTube itself. The servers before it answer with the domain `global`."""
PACED = ("rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED")


def for_reasons(outcome: Outcome, *reasons: str, wait: float | None = None) -> tuple[ErrorRule, ...]:
    """One rule for each reason. The details have Google's own reasons, in capitals; the errors have those of YouTube."""
    return tuple(
        ErrorRule(outcome, subcode=reason, wait=wait)
        if reason.isupper()
        else ErrorRule(outcome, code=reason, wait=wait)
        for reason in reasons
    )


class YtApi(Source):
    name = "ytapi"
    base_url = "https://youtube.googleapis.com/youtube/v3"
    secret_fields = ("key",)
    guide = "console.cloud.google.com, APIs & Services, Credentials: an API key, or an OAuth client of type Desktop app; switch on YouTube Data API v3 first"
    login = LOGIN
    public_words = (".apps.googleusercontent.com",)
    refusal = re.compile(rb'\s*\{\s*"error"\s*:')
    # A 403 has one of five meanings, and only its reason says which. The rules about the key come first. An exhausted daily quota may also
    # be answered with 429 and the reason of a short limit. Every other 403 of the API itself is about the thing that was asked for.
    errors = (
        *for_reasons(Outcome.CREDENTIAL_DEAD, *DEAD, *UNGRANTED),
        *for_reasons(Outcome.PERMISSION_MISSING, *MISCONFIGURED),
        ErrorRule(Outcome.QUOTA_EXHAUSTED, message=r"quota exceeded for quota metric\b.{1,200}\bper day\b"),
        *for_reasons(Outcome.QUOTA_EXHAUSTED, *QUOTA),
        *for_reasons(Outcome.RATE_LIMITED, *PACED, wait=30),
        ErrorRule(Outcome.RATE_LIMITED, status=429, wait=30),
        ErrorRule(Outcome.CREDENTIAL_DEAD, status=401, code="authError"),
        ErrorRule(Outcome.CREDENTIAL_DEAD, status=401, ambiguous=True),
        # About the key or its project too, for a reason that is not listed here: the credential cools down and is tried again.
        ErrorRule(Outcome.RATE_LIMITED, status=403, message=r'"domain":\s*"(usageLimits|googleapis\.com)"'),
        *for_reasons(Outcome.PRIVATE, *CLOSED),
        ErrorRule(Outcome.PRIVATE, status=403, code="forbidden", message=YOUTUBES),
        ErrorRule(Outcome.REFUSED, status=403, message=r'"reason"'),
        ErrorRule(Outcome.RATE_LIMITED, status=403),  # from a server before the API
        *for_reasons(Outcome.MISSING, *NOT_FOUND),
        ErrorRule(Outcome.MISSING, status=404, code="notFound", message=YOUTUBES),
        ErrorRule(Outcome.UPSTREAM_DOWN, code="processingFailure"),
        ErrorRule(Outcome.REFUSED, code="invalidPageToken"),  # the cursor has expired: the listing begins again
        *for_reasons(Outcome.BAD_REQUEST, *NEVER),
        ErrorRule(Outcome.UPSTREAM_DOWN, status=range(500, 600)),
    )
    endpoints = {
        "profile_by_id": Endpoint(
            channels("id", "profile_id"),
            parse_profile,
            many=Many(BATCH, joined("profile_id"), divided("profile_id")),
            tells=PROFILE_TELLS,
        ),
        "profile_by_handle": Endpoint(channels("forHandle", "handle"), parse_profile, tells=PROFILE_TELLS),
        "profile_by_username": Endpoint(channels("forUsername", "username"), parse_profile, tells=PROFILE_TELLS),
        "posts_by_playlist": Endpoint(playlist, parse_playlist, page=BATCH, tells=PLAYLIST_TELLS),
        "posts_by_search": Endpoint(search, parse_search, page=BATCH, tells=SEARCH_TELLS),
        "post_by_id": Endpoint(
            video, parse_post, many=Many(BATCH, joined("post_id"), divided("post_id")), tells=POST_TELLS
        ),
        "posts_by_ids": Endpoint(videos, parse_posts, tells=POST_TELLS),
        "comments_by_post": Endpoint(threads, parse_threads, page=COMMENTS, tells=COMMENT_TELLS),
        "replies_by_comment": Endpoint(replies, parse_replies, page=COMMENTS, tells=COMMENT_TELLS),
    }
    limits = (
        Limit("units", UNITS, DAY, operations=frozenset(endpoints) - {"posts_by_search"} | {CHECK}, calendar=RESETS, reserve=RESERVE),
        Limit("searches", SEARCHES, DAY, operations=frozenset({"posts_by_search"}), calendar=RESETS, reserve=RESERVE),
    )  # fmt: skip
    check = Check(lambda secret: call("/i18nLanguages", {"part": "snippet"}, secret), read_check)
    refresh = Refresh(GRANT, token, read_token)

    def check_secret(self, secret: Secret) -> None:
        for name, value in secret.items():
            if not KEY.fullmatch(value):
                raise BadInput(f"a {name} is made of letters, digits and signs, without spaces", field=name)

    def error_key(self, answer: Answer) -> tuple[str | None, str | None]:
        """The reason of YouTube and that of Google, or the reason of the token endpoint."""
        try:
            fault = decode_refusal(answer.body).error
        except Malformed:
            return None, None
        if isinstance(fault, str):
            return fault, None
        return first_reason(fault.errors), first_reason(fault.details)
