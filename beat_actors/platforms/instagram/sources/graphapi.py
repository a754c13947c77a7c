"""Graph API (business discovery): the official way, for professional accounts only.

source: Meta's Graph API reference. A version lives at least two years. Business discovery counts against the platform limit,
200 calls in a rolling hour for each user; calls made while throttled lengthen the throttle.
"""

from datetime import datetime
from typing import Any

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.instagram.entities import InstagramAccount, InstagramPost
from beat_actors.platforms.instagram.payloads import (
    Count,
    Id,
    bare_id,
    count,
    decoder,
    shortcode,
    text,
    the_one_asked_for,
)
from beat_actors.platforms.interface import (
    Answer,
    Call,
    Endpoint,
    ErrorRule,
    FetchSpec,
    Limit,
    Outcome,
    Parsed,
    Record,
    Reported,
    Secret,
    Source,
)

VERSION = "v24.0"
HOUR = 3600.0
CALLS_AN_HOUR = 200
USER_FIELDS = "id,ig_id,name,website,followers_count,follows_count,profile_picture_url,username,biography,media_count"
MEDIA_FIELDS = (
    "id,caption,comments_count,like_count,media_type,media_product_type,media_url,thumbnail_url,permalink,timestamp"
)
POST_TYPES = {"IMAGE": "image", "VIDEO": "reels", "CAROUSEL_ALBUM": "carousel"}


class Media(msgspec.Struct):
    id: Id
    permalink: str
    caption: str | None = None
    comments_count: Count = None
    like_count: Count = None
    media_type: str | None = None
    media_url: str | None = None
    thumbnail_url: str | None = None
    timestamp: str | None = None


class Cursors(msgspec.Struct):
    after: str | None = None


class Paging(msgspec.Struct):
    cursors: Cursors | None = None


class MediaPage(msgspec.Struct):
    data: list[Media]
    paging: Paging | None = None


class Discovered(msgspec.Struct):
    id: Id
    username: str
    followers_count: int | str
    ig_id: Id | None = None
    name: str | None = None
    biography: str | None = None
    website: str | None = None
    profile_picture_url: str | None = None
    follows_count: Count = None
    media_count: Count = None
    media: MediaPage | None = None


class Profile(msgspec.Struct):
    business_discovery: Discovered


class DiscoveredMedia(msgspec.Struct):
    id: Id
    media: MediaPage | None = None


class Posts(msgspec.Struct):
    business_discovery: DiscoveredMedia


class Fault(msgspec.Struct):
    code: int | None = None
    error_subcode: int | None = None


class Faulty(msgspec.Struct):
    error: Fault


decode_profile = decoder(Profile)
decode_posts = decoder(Posts)


def profile(spec: FetchSpec, secret: Secret) -> Call:
    return _discovery(spec, secret, f"{USER_FIELDS},media.limit(12){{{MEDIA_FIELDS}}}")


def posts(spec: FetchSpec, secret: Secret) -> Call:
    # A top-level `after` does not page a nested edge: the cursor stands inside the field.
    after = f".after({spec.cursor})" if spec.cursor else ""
    return _discovery(spec, secret, f"media_count,media{after}.limit(50){{{MEDIA_FIELDS}}}")


def _discovery(spec: FetchSpec, secret: Secret, fields: str) -> Call:
    return Call(
        f"/{secret['user_id']}",
        query={"fields": f"business_discovery.username({spec.params['handle']}){{{fields}}}"},
        secret_query={"access_token": secret["token"]},
    )


def parse_profile(body: bytes, spec: FetchSpec) -> Parsed:
    user = decode_profile(body).business_discovery
    the_one_asked_for(spec, handle=user.username, profile_id=None)
    at = "$.business_discovery"
    # `ig_id` is asked for; where it is not given, the Graph id is all that names the account.
    account = InstagramAccount(
        profile_id=str(user.ig_id) if user.ig_id is not None else f"graph:{user.id}",
        handle=user.username.lower(),
        graph_id=str(user.id),
        full_name=text(user.name),
        biography=text(user.biography),
        external_url=text(user.website),
        profile_pic_url=user.profile_picture_url,
        followers=count(user.followers_count, f"{at}.followers_count"),
        following=count(user.follows_count, f"{at}.follows_count"),
        media_count=count(user.media_count, f"{at}.media_count"),
    )
    recent, cursor = _page(user.media, account.profile_id, account.handle)
    return Parsed([account, *recent], cursor)


def parse_posts(body: bytes, spec: FetchSpec) -> Parsed:
    found, cursor = _page(
        decode_posts(body).business_discovery.media, spec.params.get("profile_id"), spec.params["handle"]
    )
    return Parsed(found, cursor)


def _page(page: MediaPage | None, profile_id: str | None, handle: str) -> tuple[list[Record], str | None]:
    if page is None:
        return [], None
    at = "$.business_discovery.media.data"
    found: list[Record] = [_post(media, f"{at}[{i}]", profile_id, handle) for i, media in enumerate(page.data)]
    cursors = page.paging.cursors if page.paging else None
    return found, cursors.after if cursors else None


def _post(media: Media, at: str, profile_id: str | None, handle: str) -> InstagramPost:
    return InstagramPost(
        shortcode=shortcode(media.permalink.rstrip("/").rpartition("/")[2], f"{at}.permalink"),
        post_id=bare_id(media.id),
        profile_id=profile_id,
        handle=handle.lower(),
        post_type=POST_TYPES.get(media.media_type or ""),
        caption=text(media.caption),
        permalink=media.permalink,
        thumbnail_url=media.thumbnail_url or media.media_url,
        media_url=media.media_url,
        taken_at=_timestamp(media.timestamp, at),
        likes=count(media.like_count, f"{at}.like_count"),
        comments=count(media.comments_count, f"{at}.comments_count"),
    )


def _timestamp(value: str | None, at: str) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if value else None
    except ValueError:
        raise Malformed(f"{value!r} is not a time", path=f"{at}.timestamp") from None


def _usage(answer: Answer) -> tuple[float, float]:
    """The highest percentage that any usage header reports, and the wait in seconds that goes with it."""
    percent, wait = 0.0, 0.0
    for header in ("x-app-usage", "x-page-usage", "x-business-use-case-usage"):
        try:
            usage = msgspec.json.decode(answer.headers.get(header, "{}"))
        except msgspec.DecodeError:
            continue
        for entry in _entries(usage):
            numbers = {name: value for name, value in entry.items() if isinstance(value, int | float)}
            # source: the header gives this one in minutes.
            wait = max(wait, 60.0 * numbers.pop("estimated_time_to_regain_access", 0))
            percent = max(percent, *numbers.values(), 0.0)
    return percent, wait


def _entries(usage: Any) -> list[dict[str, Any]]:
    if not isinstance(usage, dict):
        return []
    nested = [
        entry for value in usage.values() if isinstance(value, list) for entry in value if isinstance(entry, dict)
    ]
    return nested or [usage]


class GraphApi(Source):
    name = "graphapi"
    base_url = f"https://graph.facebook.com/{VERSION}"
    secret_fields = ("token", "user_id")
    limits = (Limit("rolling hour", CALLS_AN_HOUR, HOUR),)
    errors = (
        ErrorRule(Outcome.MISSING, code=110, subcode=2207013),
        ErrorRule(Outcome.MISSING, code=24, subcode=2207024),
        ErrorRule(Outcome.MISSING, code=803),
        ErrorRule(Outcome.BAD_REQUEST, code=100, subcode=2108006),  # media older than the business account: never
        ErrorRule(Outcome.PERMISSION_MISSING, code=100, message="missing permission or reviewable feature"),
        # Missing, or out of this token's reach. Discovery needs no permission on the object, so for it: missing.
        ErrorRule(Outcome.MISSING, code=100, subcode=33),
        ErrorRule(Outcome.RATE_LIMITED, code=4, wait=HOUR),
        ErrorRule(Outcome.RATE_LIMITED, code=17, wait=HOUR),
        ErrorRule(Outcome.RATE_LIMITED, code=32, wait=HOUR),
        ErrorRule(Outcome.RATE_LIMITED, code=613, wait=HOUR),
        ErrorRule(Outcome.RATE_LIMITED, code=80001, wait=HOUR),
        ErrorRule(Outcome.RATE_LIMITED, code=80002, wait=HOUR),
        ErrorRule(Outcome.RATE_LIMITED, code=341, wait=HOUR),
        ErrorRule(Outcome.RATE_LIMITED, code=368, wait=HOUR),
        ErrorRule(Outcome.CREDENTIAL_DEAD, code=190),
        ErrorRule(Outcome.CREDENTIAL_DEAD, code=102),
        ErrorRule(Outcome.PERMISSION_MISSING, code=10),
        ErrorRule(Outcome.PERMISSION_MISSING, code=3),
        *(ErrorRule(Outcome.PERMISSION_MISSING, code=code) for code in range(200, 300)),
        ErrorRule(Outcome.UPSTREAM_DOWN, code=1),
        ErrorRule(Outcome.UPSTREAM_DOWN, code=2),
        ErrorRule(Outcome.BAD_REQUEST, code=2500),
        ErrorRule(Outcome.BAD_REQUEST, code=100),
        ErrorRule(Outcome.RATE_LIMITED, status=429, wait=HOUR),
    )
    endpoints = {
        "profile_by_handle": Endpoint(profile, parse_profile),
        "posts_by_handle": Endpoint(posts, parse_posts),
    }

    def is_error(self, answer: Answer) -> bool:
        return not 200 <= answer.status < 300 or answer.body.startswith(b'{"error"')

    def error_key(self, answer: Answer) -> tuple[int | str | None, int | str | None]:
        try:
            fault = msgspec.json.decode(answer.body, type=Faulty).error
        except msgspec.DecodeError:
            return None, None
        return fault.code, fault.error_subcode

    def retry_after(self, answer: Answer) -> float | None:
        return _usage(answer)[1] or None

    def reported(self, answer: Answer) -> Reported | None:
        """A percentage of a limit that is counted over a rolling hour: at most so many calls are left of ours."""
        percent, _ = _usage(answer)
        if percent <= 0:
            return None
        return Reported(max(0, int(CALLS_AN_HOUR * (100 - percent) / 100)), HOUR)
