"""Instagram's private API: users, media and stories, as ArrayBobo, JoTucker, BestSolutions and Lama pass them on."""

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.instagram.entities import InstagramAccount, InstagramFollow, InstagramPost, InstagramStory
from beat_actors.platforms.instagram.payloads import (
    Author,
    Candidates,
    Text,
    Url,
    bare_id,
    shortcode,
    shown,
    the_id,
    the_one_asked_for,
)
from beat_actors.platforms.interface import FetchSpec
from beat_actors.platforms.reading import Count, Id, count, instant, text

POST_TYPES = {1: "image", 2: "reels", 8: "carousel"}
STORY_TYPES = {1: "image", 2: "video"}
ACCOUNT_TYPES = {1: "personal", 2: "business", 3: "creator"}


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
    ig_play_count: Count = None
    like_and_view_counts_disabled: bool | None = None


class PrivateChild(msgspec.Struct):
    image_versions2: Candidates | None = None


class PrivateStory(msgspec.Struct):
    """A story's item of the private API, or of Lama's v1, which flattens it."""

    pk: Id | None = None
    id: Id | None = None
    code: str | None = None
    media_type: int | None = None
    taken_at: int | str | None = None
    expiring_at: int | str | None = None
    user: Author | None = None
    caption: Text | None = None
    caption_text: str | None = None
    image_versions2: Candidates | None = None
    thumbnail_url: str | None = None
    video_versions: list[Url] | None = None
    video_url: str | None = None
    video_duration: float | None = None
    like_count: Count = None
    comment_count: Count = None


class PrivateReel(msgspec.Struct):
    """The stories of one user."""

    user: Author | None = None
    items: list[PrivateStory] | None = None


class Follower(msgspec.Struct):
    """A user in a list of users. The web's lists call the id `id` alone."""

    username: str
    pk: Id | None = None
    id: Id | None = None


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
    videos = media.video_versions or []
    plays = media.play_count if media.play_count is not None else media.ig_play_count
    return InstagramPost(
        shortcode=shortcode(media.code, f"{at}.code"),
        post_id=bare_id(media.pk if media.pk is not None else media.id),
        profile_id=author.who(),
        handle=author.handle(),
        post_type=POST_TYPES.get(media.media_type or 0),
        caption=text(media.caption_text or (media.caption.text if media.caption else None)),
        permalink=f"https://www.instagram.com/p/{media.code}/",
        thumbnail_url=media.thumbnail_url or _picture(media),
        media_url=media.video_url or (videos[0].url if videos else None),
        taken_at=instant(media.taken_at_ts or media.taken_at),
        # Where the owner hides it, the number of likes that is told is not the number of likes (it is -1, or 3).
        likes=None if media.like_and_view_counts_disabled else shown(media.like_count, f"{at}.like_count"),
        comments=count(media.comment_count, f"{at}.comment_count"),
        views=count(media.view_count, f"{at}.view_count"),
        plays=count(plays, f"{at}.play_count"),
        video_duration=media.video_duration or None,
    )


def story_from_private(item: PrivateStory, spec: FetchSpec, at: str, owner: Author | None = None) -> InstagramStory:
    """`owner` is whose stories these are, where the item does not say it."""
    author = item.user or owner or Author()
    the_one_asked_for(spec, handle=None, profile_id=author.who(), path=f"{at}.user.pk")
    videos = item.video_versions or []
    return InstagramStory(
        story_id=the_id(item.pk if item.pk is not None else item.id, f"{at}.pk"),
        profile_id=author.who() or spec.params.get("profile_id"),
        handle=author.handle(),
        shortcode=item.code or None,
        media_type=STORY_TYPES.get(item.media_type or 0),
        caption=text(item.caption_text or (item.caption.text if item.caption else None)),
        thumbnail_url=item.thumbnail_url or _first(item.image_versions2),
        media_url=item.video_url or (videos[0].url if videos else None),
        taken_at=instant(item.taken_at),
        expiring_at=instant(item.expiring_at),
        likes=count(item.like_count, f"{at}.like_count"),
        comments=count(item.comment_count, f"{at}.comment_count"),
        video_duration=item.video_duration or None,
    )


def follow(user: Follower, spec: FetchSpec, at: str) -> InstagramFollow:
    """One line of a list of followers, or of those who are followed: which of them, the operation says."""
    other = the_id(user.pk if user.pk is not None else user.id, f"{at}.id")
    profile_id, name = str(spec.params["profile_id"]), text(user.username)
    if not name:
        raise Malformed("a user without a name", path=f"{at}.username")
    handle = name.lower()
    if spec.operation == "followers_by_id":
        return InstagramFollow(
            follow_id=f"{other}:{profile_id}", follower_id=other, follower_handle=handle, followed_id=profile_id
        )
    return InstagramFollow(
        follow_id=f"{profile_id}:{other}", follower_id=profile_id, followed_id=other, followed_handle=handle
    )


def _picture(media: PrivateMedia) -> str | None:
    child = media.carousel_media[0].image_versions2 if media.carousel_media else None
    return _first(media.image_versions2) or _first(child)


def _first(pictures: Candidates | None) -> str | None:
    return pictures.candidates[0].url if pictures and pictures.candidates else None
