"""Stories as Instagram's private API, its web and the gateways return them."""

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.instagram.entities import InstagramStory
from beat_actors.platforms.instagram.payloads import (
    Author,
    Candidates,
    Caption,
    Url,
    an_id,
    concealed,
    moment,
    own_id,
    reported,
    the_id,
    the_one_asked_for,
    words,
)
from beat_actors.platforms.interface import FetchSpec, Parsed, told
from beat_actors.platforms.reading import Count, Id, Time, decoder, duration, text, whole

STORY_TELLS = told(InstagramStory, never={"graph_id", "permalink"})
STORY_TYPES = {1: "image", 2: "video"}


class Source(msgspec.Struct):
    src: str | None = None


class Story(msgspec.Struct):
    pk: Id | None = None
    id: Id | None = None
    user: Author | None = None
    owner: Author | None = None
    video_duration: Count = None
    # The private API's, and the same flattened by Lama.
    code: str | None = None
    media_type: Count = None
    taken_at: Time = None
    expiring_at: Time = None
    caption: Caption = None
    caption_text: str | None = None
    image_versions2: Candidates | None = None
    thumbnail_url: str | None = None
    video_versions: list[Url] | None = None
    video_url: str | None = None
    like_count: Count = None
    comment_count: Count = None
    # The web's.
    display_url: str | None = None
    video_resources: list[Source] | None = None
    is_video: bool | None = None
    taken_at_timestamp: Time = None
    expiring_at_timestamp: Time = None


class Reel(msgspec.Struct):
    """The stories of one user."""

    user: Author | None = None
    owner: Author | None = None
    items: list[Story] | None = None


class ReelData(msgspec.Struct):
    """Today's web says it in more words, and once more within."""

    reels_media: list[Reel] | None = None
    xdt_api__v1__feed__reels_media: "ReelData | list[Reel] | None" = None


class Reels(msgspec.Struct):
    """`reel` where one user was asked for, null where there are no stories; `reels` by the user's id; `data` where the web was asked;
    `response` where Lama's v2 was."""

    reel: Reel | msgspec.UnsetType | None = msgspec.UNSET
    reels: dict[str, Reel | None] | None = None
    reels_media: list[Reel] | None = None
    data: ReelData | None = None
    response: "Reels | None" = None


decode_list = decoder(list[Story])
decode_reels = decoder(Reels)


def the_list(body: bytes, spec: FetchSpec) -> Parsed:
    """Lama's v1, which has no reels but a list."""
    return Parsed([_record(item, spec, f"$[{i}]", Author()) for i, item in enumerate(decode_list(body))])


def the_stories(body: bytes, spec: FetchSpec) -> Parsed:
    """Who has none has no reel, or one without items."""
    answer, root = decode_reels(body), "$"
    if answer.response is not None:
        answer, root = answer.response, "$.response"
    found: dict[str, Reel | None] = {}
    web, where = _of_the_web(answer.data)
    if answer.reels is not None:
        found = {f"{root}.reels.{user}": reel for user, reel in answer.reels.items()}
        for user in answer.reels:  # its items may name nobody
            the_one_asked_for(spec, handle=None, profile_id=user, path=f"{root}.reels.{user}")
    elif answer.reels_media is not None:
        found = {f"{root}.reels_media[{n}]": reel for n, reel in enumerate(answer.reels_media)}
    elif web is not None:
        found = {f"{root}.data.{where}[{n}]": reel for n, reel in enumerate(web)}
    elif not isinstance(answer.reel, msgspec.UnsetType):
        found = {f"{root}.reel": answer.reel}
    else:
        raise Malformed("neither `reels` nor `data`", path=f"{root}.reels")
    return Parsed(
        [
            _record(item, spec, f"{at}.items[{i}]", reel.user or reel.owner or Author())
            for at, reel in found.items()
            if reel is not None
            for i, item in enumerate(reel.items or [])
        ]
    )


def _of_the_web(data: ReelData | None) -> tuple[list[Reel] | None, str]:
    """The web's reels, and where in its `data` they stand."""
    if data is None or data.reels_media is not None:
        return data.reels_media if data else None, "reels_media"
    today, name = data.xdt_api__v1__feed__reels_media, "xdt_api__v1__feed__reels_media"
    return (today.reels_media, f"{name}.reels_media") if isinstance(today, ReelData) else (today, name)


def _record(item: Story, spec: FetchSpec, at: str, owner: Author) -> InstagramStory:
    """`owner` is whose stories these are, where the item does not say it."""
    author = item.user or item.owner or owner
    the_one_asked_for(
        spec, handle=None, profile_id=author.who(), path=f"{at}.user.pk" if item.user else f"{at}.owner.id"
    )
    videos, sources = item.video_versions or [], item.video_resources or []
    web_type = None if item.is_video is None else "video" if item.is_video else "image"
    pictures = item.image_versions2 or Candidates()
    return InstagramStory(
        story_id=the_id(own_id(item.pk, item.id), f"{at}.pk"),
        profile_id=an_id(author.who(), f"{at}.user.pk") or spec.params.get("profile_id"),
        handle=author.handle(),
        shortcode=text(item.code) or None,
        media_type=STORY_TYPES.get(whole(item.media_type) or 0) or web_type,
        caption=words(item.caption_text, item.caption),
        thumbnail_url=text(item.thumbnail_url or pictures.first() or item.display_url),
        # The web's last is its best.
        media_url=text(item.video_url or (videos[0].url if videos else sources[-1].src if sources else None)),
        taken_at=moment(item.taken_at, item.taken_at_timestamp),
        expiring_at=moment(item.expiring_at, item.expiring_at_timestamp),
        likes=reported(at, like_count=item.like_count),
        comments=reported(at, comment_count=item.comment_count),
        video_duration=duration(item.video_duration),
        hidden=concealed(likes=(item.like_count,), comments=(item.comment_count,)),
    )
