"""The Graph API's shapes and how they are read: accounts and their media, stories and comments. `insights` has the rest.

source: Meta's Graph API reference. An edge's last page has no `paging.next`; what a thing does not have is left out.
"""

import re
from datetime import datetime

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.instagram.entities import (
    InstagramAccount,
    InstagramComment,
    InstagramPost,
    InstagramStory,
)
from beat_actors.platforms.instagram.payloads import (
    Author,
    an_id,
    bare_id,
    concealed,
    id_of,
    shortcode,
    shortcode_of,
    shown,
    the_id,
    the_one_asked_for,
)
from beat_actors.platforms.interface import FetchSpec, Parsed, Record, told
from beat_actors.platforms.reading import Count, Id, Time, count, decoder, instant, text, timestamp

# What an account or a medium does not have is left out, so a field that was asked for and is not there is empty.
ACCOUNT_TELLS = told(
    InstagramAccount,
    always={"full_name", "biography", "external_url"},
    never={"category", "account_type", "is_private", "is_verified"},
)
POST_TELLS = told(InstagramPost, always={"caption"}, never={"carousel_id", "plays", "video_duration"})
CHILD_TELLS = told(InstagramPost, never={"profile_id", "plays", "video_duration"})
STORY_TELLS = told(InstagramStory, never={"profile_id", "expiring_at", "video_duration"})
COMMENT_TELLS = told(InstagramComment, never={"shortcode", "profile_id"})
PROFILE_TELLS = {**ACCOUNT_TELLS, **POST_TELLS}
POST_TYPES = {"IMAGE": "image", "VIDEO": "reels", "CAROUSEL_ALBUM": "carousel"}
LINK = re.compile(r"/([^/?#]+)/?(?:[?#].*)?$")
"""What a link ends with, but for what it asks for besides."""
HIDDEN = -1
STORY_TYPES = {"IMAGE": "image", "VIDEO": "video"}


class Media(msgspec.Struct):
    """`ig_id` is Instagram's own id, which older versions return."""

    id: Id
    ig_id: Id | None = None
    permalink: str | None = None
    shortcode: str | None = None
    caption: str | None = None
    comments_count: Count = None
    like_count: Count = None
    view_count: Count = None
    media_type: str | None = None
    media_url: str | None = None
    thumbnail_url: str | None = None
    timestamp: Time = None
    username: str | None = None


class Story(msgspec.Struct):
    id: Id
    ig_id: Id | None = None
    permalink: str | None = None
    shortcode: str | None = None
    caption: str | None = None
    comments_count: Count = None
    like_count: Count = None
    media_type: str | None = None
    media_url: str | None = None
    thumbnail_url: str | None = None
    timestamp: Time = None
    username: str | None = None


class Comment(msgspec.Struct):
    id: Id
    text: str | None = None
    timestamp: Time = None
    username: str | None = None
    like_count: Count = None
    parent_id: Id | None = None
    # `from` names the commenter, where the token may know.
    author: Author | None = msgspec.field(name="from", default=None)
    user: Author | None = None


class Cursors(msgspec.Struct):
    after: str | None = None


class Paging(msgspec.Struct):
    cursors: Cursors | None = None
    next: str | None = None


class MediaPage(msgspec.Struct):
    data: list[Media]
    paging: Paging | None = None


class StoryPage(msgspec.Struct):
    data: list[Story]
    paging: Paging | None = None


class CommentPage(msgspec.Struct):
    data: list[Comment]
    paging: Paging | None = None


class Account(msgspec.Struct):
    id: Id
    followers_count: int | str
    username: str | None = None
    ig_id: Id | None = None
    name: str | None = None
    biography: str | None = None
    website: str | None = None
    profile_picture_url: str | None = None
    follows_count: Count = None
    media_count: Count = None
    media: MediaPage | None = None


class Profile(msgspec.Struct):
    business_discovery: Account


class DiscoveredMedia(msgspec.Struct):
    username: str | None = None
    media: MediaPage | None = None


class Posts(msgspec.Struct):
    business_discovery: DiscoveredMedia


decode_discovered_profile = decoder(Profile)
decode_discovered_posts = decoder(Posts)
decode_account = decoder(Account)
decode_medium = decoder(Media)
decode_media = decoder(MediaPage)
decode_story = decoder(Story)
decode_stories = decoder(StoryPage)
decode_comments = decoder(CommentPage)


def discovered_profile(body: bytes, spec: FetchSpec) -> Parsed:
    user = decode_discovered_profile(body).business_discovery
    at = "$.business_discovery"
    the_one_asked_for(spec, handle=user.username, profile_id=None, name=f"{at}.username")
    # Discovery goes by the name, so what was asked for is whose answer it is, also where it is not repeated.
    account = _account(user, at, spec.params["handle"])
    recent = _posts(
        user.media, f"{at}.media.data", profile_id=account.profile_id, handle=account.handle, discovered=True
    )
    return Parsed([account, *recent], _nested_cursor(user.media))


def discovered_posts(body: bytes, spec: FetchSpec) -> Parsed:
    user, asked = decode_discovered_posts(body).business_discovery, spec.params["handle"]
    if user.username and user.username.lower() != asked.lower():
        raise Malformed(
            f"asked for {asked!r}, the answer is of {user.username!r}", path="$.business_discovery.username"
        )
    page, at = user.media, "$.business_discovery.media.data"
    found = _posts(page, at, profile_id=spec.params.get("profile_id"), handle=asked.lower(), discovered=True)
    return Parsed(found, _nested_cursor(page))


def own_profile(body: bytes, spec: FetchSpec) -> Parsed:
    user = decode_account(body)
    asked = spec.params["user_id"]
    if str(user.id) != asked:
        raise Malformed(f"asked for id {asked}, the answer is of {user.id}", path="$.id")
    return Parsed([_account(user, "$")])


def own_posts(body: bytes, _spec: FetchSpec) -> Parsed:
    """A page of the caller's own media, or of media that the caller is tagged in: those are somebody else's."""
    page = decode_media(body)
    return Parsed(_posts(page, "$.data"), _cursor(page.paging))


def own_children(body: bytes, spec: FetchSpec) -> Parsed:
    page, carousel = decode_media(body), bare_id(spec.params["media_id"])
    return Parsed(_posts(page, "$.data", carousel_id=carousel), _cursor(page.paging))


def own_post(body: bytes, spec: FetchSpec) -> Parsed:
    medium = decode_medium(body)
    the_medium_asked_for(medium.id, spec)
    return Parsed([_post(medium, "$")])


def own_stories(body: bytes, _spec: FetchSpec) -> Parsed:
    page = decode_stories(body)
    return Parsed([_story(story, f"$.data[{i}]") for i, story in enumerate(page.data)], _cursor(page.paging))


def own_story(body: bytes, spec: FetchSpec) -> Parsed:
    story = decode_story(body)
    the_medium_asked_for(story.id, spec)
    return Parsed([_story(story, "$")])


def own_comments(body: bytes, spec: FetchSpec) -> Parsed:
    page, post_id = decode_comments(body), bare_id(spec.params["media_id"])
    return Parsed(
        [_comment(comment, post_id, f"$.data[{i}]") for i, comment in enumerate(page.data)], _cursor(page.paging)
    )


def the_medium_asked_for(found: Id, spec: FetchSpec) -> None:
    if bare_id(found) != bare_id(spec.params["media_id"]):
        raise Malformed(f"asked for {spec.params['media_id']}, the answer is of {found}", path="$.id")


def _account(user: Account, at: str, asked: str | None = None) -> InstagramAccount:
    graph_id, handle = the_id(user.id, f"{at}.id"), text(user.username) or asked
    if not handle:
        raise Malformed("an account without a name", path=f"{at}.username")
    followers = count(user.followers_count, f"{at}.followers_count")
    if followers is None:
        raise Malformed("an account without its follower count", path=f"{at}.followers_count")
    # `ig_id` is asked for; where it is not given, the Graph id is all that names the account.
    return InstagramAccount(
        profile_id=f"graph:{graph_id}" if user.ig_id in (None, "") else the_id(user.ig_id, f"{at}.ig_id"),
        handle=handle.lower(),
        graph_id=graph_id,
        full_name=text(user.name),
        biography=text(user.biography),
        external_url=text(user.website),
        profile_pic_url=text(user.profile_picture_url),
        followers=followers,
        following=count(user.follows_count, f"{at}.follows_count"),
        media_count=count(user.media_count, f"{at}.media_count"),
    )


def _posts(
    page: MediaPage | None,
    at: str,
    *,
    profile_id: str | None = None,
    handle: str | None = None,
    carousel_id: str | None = None,
    discovered: bool = False,
) -> list[Record]:
    media = page.data if page else []
    return [
        _post(medium, f"{at}[{i}]", profile_id, handle, carousel_id, discovered=discovered)
        for i, medium in enumerate(media)
    ]


def _post(
    media: Media,
    at: str,
    profile_id: str | None = None,
    handle: str | None = None,
    carousel_id: str | None = None,
    *,
    discovered: bool = False,
) -> InstagramPost:
    name = text(media.username)
    linked = LINK.search(media.permalink or "")
    code = linked.group(1) if linked else media.shortcode or shortcode_of(media.ig_id) or ""
    # source: the reference of media. In an expanded field the number of likes is left out where the owner hides it.
    likes = HIDDEN if discovered and media.like_count is None and media.comments_count is not None else media.like_count
    return InstagramPost(
        shortcode=shortcode(code, f"{at}.permalink"),
        post_id=an_id(media.ig_id, f"{at}.ig_id") or id_of(code),
        graph_id=the_id(media.id, f"{at}.id"),
        carousel_id=carousel_id,
        profile_id=profile_id,
        handle=name.lower() if name else handle,
        post_type=POST_TYPES.get(media.media_type or ""),
        caption=text(media.caption),
        permalink=text(media.permalink),
        thumbnail_url=text(media.thumbnail_url or media.media_url),
        media_url=text(media.media_url),
        taken_at=_moment(media.timestamp, f"{at}.timestamp"),
        likes=shown(likes, f"{at}.like_count"),
        comments=shown(media.comments_count, f"{at}.comments_count"),
        views=shown(media.view_count, f"{at}.view_count"),
        hidden=concealed(likes=(likes,), comments=(media.comments_count,), views=(media.view_count,)),
    )


def _story(story: Story, at: str) -> InstagramStory:
    graph_id, name = the_id(story.id, f"{at}.id"), text(story.username)
    # A story's link ends with Instagram's own id of it.
    linked = re.search(r"/([0-9]{5,25})/?$", story.permalink or "")
    own = the_id(story.ig_id, f"{at}.ig_id") if story.ig_id not in (None, "") else linked.group(1) if linked else None
    return InstagramStory(
        story_id=own or f"graph:{graph_id}",
        graph_id=graph_id,
        handle=name.lower() if name else None,
        shortcode=text(story.shortcode) or None,
        media_type=STORY_TYPES.get(story.media_type or ""),
        caption=text(story.caption),
        permalink=text(story.permalink),
        thumbnail_url=text(story.thumbnail_url or (story.media_url if story.media_type == "IMAGE" else None)),
        media_url=text(story.media_url),
        taken_at=_moment(story.timestamp, f"{at}.timestamp"),
        likes=shown(story.like_count, f"{at}.like_count"),
        comments=shown(story.comments_count, f"{at}.comments_count"),
        hidden=concealed(likes=(story.like_count,), comments=(story.comments_count,)),
    )


def _comment(comment: Comment, post_id: str | None, at: str) -> InstagramComment:
    author = comment.author or comment.user or Author()
    name = text(comment.username)
    return InstagramComment(
        comment_id=the_id(comment.id, f"{at}.id"),
        post_id=post_id,
        parent_id=an_id(comment.parent_id, f"{at}.parent_id"),
        handle=name.lower() if name else author.handle(),
        text=text(comment.text),
        commented_at=_moment(comment.timestamp, f"{at}.timestamp"),
        likes=shown(comment.like_count, f"{at}.like_count"),
        hidden=concealed(likes=(comment.like_count,)),
    )


def _moment(value: Time, path: str) -> datetime | None:
    """A time in words, or as seconds or milliseconds since the epoch."""
    return timestamp(value, path) if isinstance(value, str) and not value.isdecimal() else instant(value)


def _cursor(paging: Paging | None) -> str | None:
    return paging.cursors.after or None if paging and paging.next and paging.cursors else None


def _nested_cursor(page: MediaPage | None) -> str | None:
    """A nested edge has no link to its next page, only the cursor, on the last page too: an empty one names none."""
    if page is None or not page.data:
        return None
    cursors = page.paging.cursors if page.paging else None
    return cursors.after if cursors else None
