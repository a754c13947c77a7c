"""YouTube's own Data API, version 3, with an API key or with a grant of OAuth.

source: Google's reference of the API, its list of errors and its quota calculator. Each call here costs one unit of the project's
10,000 a day, whatever its parts; a search costs none of them and has a quota of its own, 100 a day. Both are given out at midnight,
Pacific time. A page's cursor stands in its body. What does not exist is left out of an answer's items.

A grant's refresh token brings access tokens, of about an hour, from Google's token endpoint (source: its guide to OAuth for web servers).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import msgspec

from beat_actors.errors import BadInput, BeatError, Malformed, Missing
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
    Parsed,
    Refresh,
    Renewed,
    Secret,
    Source,
    Verdict,
)
from beat_actors.platforms.reading import Id, decoder
from beat_actors.platforms.youtube.entities import YouTubeAccount, YouTubePost
from beat_actors.platforms.youtube.payloads import (
    Page,
    account,
    comments,
    decode_channels,
    decode_found,
    decode_playlist,
    decode_replies,
    decode_threads,
    decode_videos,
    handle,
    listed,
    post,
    reply,
    the_id,
)

BATCH, COMMENTS = 50, 100
CHANNEL_PARTS = "snippet,statistics,contentDetails,status"
VIDEO_PARTS = "snippet,contentDetails,statistics,status,liveStreamingDetails"

UNITS, SEARCHES, DAY = 10_000, 100, 86_400
RESETS = "America/Los_Angeles"
# A tenth of each is kept for customers until late in the day.
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


def parse_profile(body: bytes, spec: FetchSpec) -> Parsed:
    items = decode_channels(body).all()
    if not items:
        raise Missing("there is no such channel")
    found, named = account(items[0], "$.items[0]"), items[0].snippet.custom_url if items[0].snippet else None
    if spec.operation == "profile_by_handle" and named and not named.startswith("@"):
        # A name that it had before there were handles, and that says nothing of whose handle was asked for.
        found = msgspec.structs.replace(found, handle=handle(spec.params["handle"]))
    the_channel_asked_for(spec, found)
    return Parsed([found])


def the_channel_asked_for(spec: FetchSpec, found: YouTubeAccount) -> None:
    """Raises `Malformed` where the answer is of another one. An old user name is told nowhere, so it cannot be compared."""
    if spec.operation == "profile_by_id" and found.profile_id != spec.params["profile_id"]:
        said = f"asked for {spec.params['profile_id']!r}, the answer is of {found.profile_id!r}"
        raise Malformed(said, path="$.items[0].id")
    if spec.operation == "profile_by_handle" and found.handle not in (None, handle(spec.params["handle"])):
        said = f"asked for {spec.params['handle']!r}, the answer is of {found.handle!r}"
        raise Malformed(said, path="$.items[0].snippet.customUrl")


def parse_post(body: bytes, spec: FetchSpec) -> Parsed:
    found = _posts(body, [spec.params["post_id"]])
    if not found:
        raise Missing("there is no such video, or it is private")
    return Parsed(found)


def parse_posts(body: bytes, spec: FetchSpec) -> Parsed:
    return Parsed(_posts(body, spec.params["post_ids"]))


def _posts(body: bytes, asked: Sequence[str]) -> list[YouTubePost]:
    found = [post(item, f"$.items[{i}]") for i, item in enumerate(decode_videos(body).all())]
    for i, each in enumerate(found):
        if each.post_id not in asked:
            raise Malformed(f"nobody asked for {each.post_id!r}", path=f"$.items[{i}].id")
    return found


def parse_playlist(body: bytes, _spec: FetchSpec) -> Parsed:
    """The ids of the videos that are there; a record for each that is there no more, because nothing else will tell of it."""
    page = decode_playlist(body)
    items = [listed(item, f"$.items[{i}]") for i, item in enumerate(page.all())]
    gone = [YouTubePost(post_id=post_id, privacy_status=how) for post_id, how in items if how is not None]
    return Parsed(gone, page.next_page_token or None, [post_id for post_id, how in items if how is None])


def parse_search(body: bytes, _spec: FetchSpec) -> Parsed:
    page = decode_found(body)
    ids = [
        the_id(item.id.video_id, f"$.items[{i}].id.videoId")
        for i, item in enumerate(page.all())
        if item.id.kind in (None, "youtube#video")
    ]
    return Parsed((), page.next_page_token or None, ids)


def parse_threads(body: bytes, spec: FetchSpec) -> Parsed:
    page = decode_threads(body)
    found = [each for i, thread in enumerate(page.all()) for each in comments(thread, spec, f"$.items[{i}]")]
    return Parsed(found, page.next_page_token or None)


def parse_replies(body: bytes, spec: FetchSpec) -> Parsed:
    page = decode_replies(body)
    found = [reply(each, spec, f"$.items[{i}]") for i, each in enumerate(page.all())]
    return Parsed(found, page.next_page_token or None)


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
    """Each spec gets its own item. One that has none gets those that nobody asked for, if there are any: an item whose id cannot be read
    may be its own, and is then malformed; it must not pass for missing."""

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
    """The token endpoint's `error` is its reason."""

    error: Fault | str


decode_refusal = decoder(Refusal)


def first_reason(details: Sequence[Detail] | None) -> str | None:
    return next((detail.reason for detail in details or () if detail.reason), None)


# What a person has to mend at Google: the API is not enabled, or the key is kept to other APIs, hosts, sites or apps.
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
# What a person has to grant again, or to mend in the client: no waiting brings a token.
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
# The thing is there, and not public. source: the errors that the reference lists for each method, as for the two below.
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
"""That YouTube itself says it, and not what stands before it, for which it would be `global`."""
PACED = ("rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED")


def for_reasons(outcome: Outcome, *reasons: str, wait: float | None = None) -> tuple[ErrorRule, ...]:
    """Rules for reasons. Google's own (in capitals) stand in the details, YouTube's in the errors."""
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
    public_words = (".apps.googleusercontent.com",)
    refusal = re.compile(rb'\s*\{\s*"error"\s*:')
    # A 403 is one of five things, and only its reason tells which. What is said of the key comes first; a quota of a day may also be
    # refused with 429 and the reason of a short one. What is left of the 403s that the API itself gives is about the thing asked for.
    errors = (
        *for_reasons(Outcome.CREDENTIAL_DEAD, *DEAD, *UNGRANTED),
        *for_reasons(Outcome.PERMISSION_MISSING, *MISCONFIGURED),
        ErrorRule(Outcome.QUOTA_EXHAUSTED, message=r"quota exceeded for quota metric\b.{1,200}\bper day\b"),
        *for_reasons(Outcome.QUOTA_EXHAUSTED, *QUOTA),
        *for_reasons(Outcome.RATE_LIMITED, *PACED, wait=30),
        ErrorRule(Outcome.RATE_LIMITED, status=429, wait=30),
        ErrorRule(Outcome.CREDENTIAL_DEAD, status=401, code="authError"),
        ErrorRule(Outcome.CREDENTIAL_DEAD, status=401, doubtful=True),
        # Of the key or its project too, for a reason that is not known here: it rests, and is tried again.
        ErrorRule(Outcome.RATE_LIMITED, status=403, message=r'"domain":\s*"(usageLimits|googleapis\.com)"'),
        *for_reasons(Outcome.PRIVATE, *CLOSED),
        ErrorRule(Outcome.PRIVATE, status=403, code="forbidden", message=YOUTUBES),
        ErrorRule(Outcome.REFUSED, status=403, message=r'"reason"'),
        ErrorRule(Outcome.RATE_LIMITED, status=403),  # not the API but what stands before it
        *for_reasons(Outcome.MISSING, *NOT_FOUND),
        ErrorRule(Outcome.MISSING, status=404, code="notFound", message=YOUTUBES),
        ErrorRule(Outcome.UPSTREAM_DOWN, code="processingFailure"),
        ErrorRule(Outcome.REFUSED, code="invalidPageToken"),  # it has expired: the listing is begun anew
        *for_reasons(Outcome.BAD_REQUEST, *NEVER),
        ErrorRule(Outcome.UPSTREAM_DOWN, status=range(500, 600)),
    )
    endpoints = {
        "profile_by_id": Endpoint(
            channels("id", "profile_id"), parse_profile, many=Many(BATCH, joined("profile_id"), divided("profile_id"))
        ),
        "profile_by_handle": Endpoint(channels("forHandle", "handle"), parse_profile),
        "profile_by_username": Endpoint(channels("forUsername", "username"), parse_profile),
        "posts_by_playlist": Endpoint(playlist, parse_playlist, page=BATCH),
        "posts_by_search": Endpoint(search, parse_search, page=BATCH),
        "post_by_id": Endpoint(video, parse_post, many=Many(BATCH, joined("post_id"), divided("post_id"))),
        "posts_by_ids": Endpoint(videos, parse_posts),
        "comments_by_post": Endpoint(threads, parse_threads, page=COMMENTS),
        "replies_by_comment": Endpoint(replies, parse_replies, page=COMMENTS),
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
        """YouTube's reason, and Google's; the token endpoint's own."""
        try:
            fault = decode_refusal(answer.body).error
        except Malformed:
            return None, None
        if isinstance(fault, str):
            return fault, None
        return first_reason(fault.errors), first_reason(fault.details)
