"""Shapes that several providers pass through: Instagram's private API (users, media) and its web GraphQL. And how they are read.

Tolerant where a value is optional, strict where it is the point: a user has an id and a follower count, a post a shortcode.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.instagram.entities import InstagramAccount, InstagramPost
from beat_actors.platforms.interface import ErrorRule, FetchSpec, Outcome

T = TypeVar("T")
Id = int | str
Count = int | float | str | None
"""A count as it comes: a number, digits in a string, or hidden."""

UNTEXT = re.compile("[\0\ud800-\udfff]")
POST_TYPES = {1: "image", 2: "reels", 8: "carousel"}
TYPENAMES = {"GraphImage": "image", "GraphVideo": "reels", "GraphSidecar": "carousel"}
TYPENAMES |= {f"XDT{name}": kind for name, kind in TYPENAMES.items()}
ACCOUNT_TYPES = {1: "personal", 2: "business", 3: "creator"}

# Instagram's own refusals, which a provider passes through. They concern the provider's session, not our key.
# source: PROVIDERS section 5; the texts are those of recorded answers.
PASSED_THROUGH = (
    ErrorRule(Outcome.PRIVATE, message="not authorized to view user"),
    ErrorRule(Outcome.MISSING, message="media not found or unavailable|invalid target user|user not found"),
    ErrorRule(Outcome.UPSTREAM_DOWN, message="please wait a few minutes", wait=60),
    ErrorRule(
        Outcome.UPSTREAM_DOWN, message="login_required|challenge_required|checkpoint_required|CHALLENGE_REDIRECTION"
    ),
    ErrorRule(Outcome.UPSTREAM_DOWN, message="feedback_required|sentry_block|rate_limit_error"),
)


class Text(msgspec.Struct):
    text: str | None = None


class Url(msgspec.Struct):
    url: str | None = None


class Candidates(msgspec.Struct):
    candidates: list[Url] = []


class Author(msgspec.Struct):
    pk: Id | None = None
    id: Id | None = None
    username: str | None = None


class PrivateUser(msgspec.Struct):
    """A user of the private API, as ArrayBobo, JoTucker, BestSolutions and Lama's v1 give it."""

    pk: Id
    username: str
    follower_count: int | str
    following_count: Count = None
    media_count: Count = None
    full_name: str | None = None
    biography: str | None = None
    external_url: str | None = None
    profile_pic_url: str | None = None
    profile_pic_url_hd: str | None = None
    hd_profile_pic_url_info: Url | None = None
    category: str | None = None
    category_name: str | None = None
    account_type: int | None = None
    is_private: bool | None = None
    is_verified: bool | None = None


class PrivateMedia(msgspec.Struct):
    """A media object of the private API; Lama's v1 flattens caption, thumbnail and video."""

    code: str
    pk: Id | None = None
    id: Id | None = None
    media_type: int | None = None
    taken_at: int | str | None = None
    taken_at_ts: int | None = None
    user: Author | None = None
    caption: Text | None = None
    caption_text: str | None = None
    image_versions2: Candidates | None = None
    thumbnail_url: str | None = None
    carousel_media: list["PrivateChild"] | None = None
    video_versions: list[Url] | None = None
    video_url: str | None = None
    video_duration: float | None = None
    like_count: Count = None
    comment_count: Count = None
    view_count: Count = None
    play_count: Count = None


class PrivateChild(msgspec.Struct):
    image_versions2: Candidates | None = None


class Counted(msgspec.Struct):
    count: Count = None


class FollowedBy(msgspec.Struct):
    count: int | str


class PageInfo(msgspec.Struct):
    has_next_page: bool = False
    end_cursor: str | None = None


class CaptionNode(msgspec.Struct):
    node: Text


class CaptionEdges(msgspec.Struct):
    edges: list[CaptionNode] = []


class WebNode(msgspec.Struct):
    """A post of the web GraphQL."""

    shortcode: str
    id: Id | None = None
    typename: str | None = msgspec.field(name="__typename", default=None)
    display_url: str | None = None
    thumbnail_src: str | None = None
    thumbnail_url: str | None = None
    video_url: str | None = None
    is_video: bool | None = None
    video_duration: float | None = None
    video_view_count: Count = None
    video_play_count: Count = None
    taken_at_timestamp: int | None = None
    owner: Author | None = None
    edge_media_to_caption: CaptionEdges | None = None
    edge_media_to_comment: Counted | None = None
    edge_media_preview_like: Counted | None = None
    edge_liked_by: Counted | None = None


class WebEdge(msgspec.Struct):
    node: WebNode


class Timeline(msgspec.Struct):
    edges: list[WebEdge]
    count: Count = None
    page_info: PageInfo | None = None


class WebUser(msgspec.Struct):
    """A user of the web GraphQL. Some gateways leave the user name out: the caller knows it."""

    id: Id
    edge_followed_by: FollowedBy
    username: str | None = None
    edge_follow: Counted | None = None
    edge_owner_to_timeline_media: Timeline | None = None
    full_name: str | None = None
    biography: str | None = None
    external_url: str | None = None
    profile_pic_url: str | None = None
    profile_pic_url_hd: str | None = None
    category_name: str | None = None
    is_private: bool | None = None
    is_verified: bool | None = None
    is_business_account: bool | None = None
    is_professional_account: bool | None = None


def decoder(shape: type[T]) -> Callable[[bytes], T]:
    """A typed decoder straight from bytes. Raises `Malformed` with the path of the key that is missing or of another type."""
    decode = msgspec.json.Decoder(shape).decode

    def read(body: bytes) -> T:
        try:
            return decode(body)
        except msgspec.ValidationError as error:
            raise Malformed(str(error), path=_path(str(error))) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            start = body[:40].decode("utf-8", "replace").strip()
            raise Malformed(f"the answer is not JSON; it begins with {start!r}") from None

    return read


def count(value: Count, path: str) -> int | None:
    """A count, or `None` where it is hidden. Raises `Malformed` for what is no count."""
    if value is None or value == "":
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        raise Malformed(f"{value!r} is not a count", path=path) from None
    if not 0 <= number < 2**63:
        raise Malformed(f"a count of {number} cannot be", path=path)
    return number


def text(value: str | None) -> str | None:
    """Text that every store can hold; NUL and lone surrogates become U+FFFD."""
    if not value:
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return UNTEXT.sub("�", value)
    return value.replace("\0", "�")


def instant(value: int | str | None) -> datetime | None:
    """Seconds since the epoch, or an ISO time with its zone, as a time in UTC."""
    try:
        if isinstance(value, str) and not value.isdigit():
            parsed = datetime.fromisoformat(value)
            return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
        return datetime.fromtimestamp(int(value), UTC) if value else None
    except (ValueError, OverflowError, OSError):
        return None


def the_one_asked_for(spec: FetchSpec, *, handle: str | None, profile_id: str | None) -> None:
    """Some gateways answer with somebody else's data. Raises `Malformed` where they do."""
    asked, asked_id = spec.params.get("handle"), spec.params.get("profile_id")
    if spec.operation.endswith("by_handle") and asked and handle and handle.lower() != asked.lower():
        raise Malformed(f"asked for {asked!r}, the answer is of {handle!r}", path="$.user.username")
    if spec.operation.endswith("by_id") and asked_id and profile_id and profile_id != str(asked_id):
        raise Malformed(f"asked for id {asked_id}, the answer is of {profile_id}", path="$.user.pk")


def account_from_private(user: PrivateUser, spec: FetchSpec, at: str = "$.user") -> InstagramAccount:
    if not user.username or not str(user.pk).isdigit():
        raise Malformed("a user without a name or an id", path=at)
    the_one_asked_for(spec, handle=user.username, profile_id=str(user.pk))
    picture = user.hd_profile_pic_url_info.url if user.hd_profile_pic_url_info else None
    return InstagramAccount(
        profile_id=str(user.pk),
        handle=user.username.lower(),
        full_name=text(user.full_name),
        biography=text(user.biography),
        external_url=text(user.external_url),
        profile_pic_url=picture or user.profile_pic_url_hd or user.profile_pic_url,
        category=text(user.category_name or user.category) or None,
        account_type=ACCOUNT_TYPES.get(user.account_type or 0),
        is_private=user.is_private,
        is_verified=user.is_verified,
        followers=count(user.follower_count, f"{at}.follower_count"),
        following=count(user.following_count, f"{at}.following_count"),
        media_count=count(user.media_count, f"{at}.media_count"),
    )


def post_from_private(media: PrivateMedia, at: str) -> InstagramPost:
    author = media.user or Author()
    owner = author.pk if author.pk is not None else author.id
    videos = media.video_versions or []
    return InstagramPost(
        shortcode=shortcode(media.code, f"{at}.code"),
        post_id=bare_id(media.pk if media.pk is not None else media.id),
        profile_id=None if owner is None else str(owner),
        handle=author.username.lower() if author.username else None,
        post_type=POST_TYPES.get(media.media_type or 0),
        caption=text(media.caption_text or (media.caption.text if media.caption else None)),
        permalink=f"https://www.instagram.com/p/{media.code}/",
        thumbnail_url=media.thumbnail_url or _picture(media),
        media_url=media.video_url or (videos[0].url if videos else None),
        taken_at=instant(media.taken_at_ts or media.taken_at),
        likes=count(media.like_count, f"{at}.like_count"),
        comments=count(media.comment_count, f"{at}.comment_count"),
        views=count(media.view_count, f"{at}.view_count"),
        plays=count(media.play_count, f"{at}.play_count"),
        video_duration=media.video_duration or None,
    )


def account_from_web(user: WebUser, spec: FetchSpec, at: str = "$.graphql.user") -> InstagramAccount:
    handle = user.username or spec.params.get("handle")
    if not handle or not str(user.id).isdigit():
        raise Malformed("a user without a name or an id", path=at)
    the_one_asked_for(spec, handle=handle, profile_id=str(user.id))
    timeline = user.edge_owner_to_timeline_media
    return InstagramAccount(
        profile_id=str(user.id),
        handle=handle.lower(),
        full_name=text(user.full_name),
        biography=text(user.biography),
        external_url=text(user.external_url),
        profile_pic_url=user.profile_pic_url_hd or user.profile_pic_url,
        category=text(user.category_name) or None,
        account_type="business" if user.is_business_account else None,
        is_private=user.is_private,
        is_verified=user.is_verified,
        followers=count(user.edge_followed_by.count, f"{at}.edge_followed_by.count"),
        following=count(user.edge_follow.count if user.edge_follow else None, f"{at}.edge_follow.count"),
        media_count=count(timeline.count if timeline else None, f"{at}.edge_owner_to_timeline_media.count"),
    )


def posts_from_web(
    edges: Iterable[WebEdge], at: str, *, profile_id: str | None, handle: str | None
) -> list[InstagramPost]:
    return [_post_from_web(edge.node, f"{at}[{i}].node", profile_id, handle) for i, edge in enumerate(edges)]


def _post_from_web(node: WebNode, at: str, profile_id: str | None, handle: str | None) -> InstagramPost:
    owner = node.owner or Author()
    likes = node.edge_media_preview_like or node.edge_liked_by or Counted()
    captions = node.edge_media_to_caption.edges if node.edge_media_to_caption else []
    name = owner.username or handle
    return InstagramPost(
        shortcode=shortcode(node.shortcode, f"{at}.shortcode"),
        post_id=bare_id(node.id),
        profile_id=str(owner.id) if owner.id is not None else profile_id,
        handle=name.lower() if name else None,
        post_type=TYPENAMES.get(node.typename or ""),
        caption=text(captions[0].node.text) if captions else None,
        permalink=f"https://www.instagram.com/p/{node.shortcode}/",
        thumbnail_url=node.thumbnail_src or node.display_url or node.thumbnail_url,
        media_url=node.video_url,
        taken_at=instant(node.taken_at_timestamp),
        likes=count(likes.count, f"{at}.edge_media_preview_like.count"),
        comments=count((node.edge_media_to_comment or Counted()).count, f"{at}.edge_media_to_comment.count"),
        views=count(node.video_view_count, f"{at}.video_view_count"),
        plays=count(node.video_play_count, f"{at}.video_play_count"),
        video_duration=node.video_duration or None,
    )


def shortcode(value: str, path: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{5,64}", value):
        raise Malformed(f"{value[:80]!r} is not a shortcode", path=path)
    return value


def bare_id(value: Id | None) -> str | None:
    """Media ids may come as `123_456`, the second part being the owner's."""
    return None if value is None else str(value).partition("_")[0]


def _picture(media: PrivateMedia) -> str | None:
    own = media.image_versions2.candidates if media.image_versions2 else []
    if own:
        return own[0].url
    child = media.carousel_media[0].image_versions2 if media.carousel_media else None
    return child.candidates[0].url if child and child.candidates else None


def _path(message: str) -> str:
    found = re.search(r"at `(\$[^`]*)`", message)
    missing = re.search(r"missing required field `([^`]+)`", message)
    path = found.group(1) if found else "$"
    return f"{path}.{missing.group(1)}" if missing else path
