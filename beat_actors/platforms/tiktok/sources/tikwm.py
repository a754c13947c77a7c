"""tikwm (`rapidapi-tiktok-scraper7`): profiles, posts and comments in an envelope of its own, `{code, msg, data}`, behind the RapidAPI gateway.

source: the provider's own page and samples. Its errors come with status 200 and code -1, and only the text says which one it is;
that for an unknown user is (unverified). One call a second, and a day's budget that its page has given as 2,000, 5,000, 10,000 and
20,000 calls in the course of time: 5,000 are used.
"""

from collections.abc import Mapping

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import (
    Answer,
    Call,
    Endpoint,
    ErrorRule,
    FetchSpec,
    Limit,
    Outcome,
    Parsed,
    Secret,
    told,
)
from beat_actors.platforms.rapidapi import BY_STATUS, GATEWAY_ERRORS, RapidApiSource, keyed
from beat_actors.platforms.reading import (
    Count,
    Id,
    Time,
    count,
    decoder,
    duration,
    given,
    instant,
    silent_on,
    text,
    whole,
)
from beat_actors.platforms.tiktok.entities import TikTokComment, TikTokPost
from beat_actors.platforms.tiktok.payloads import (
    PROFILE_TELLS,
    UserInfo,
    account_record,
    an_id,
    next_cursor,
    of_the_author,
    permalink,
    the_handle,
    the_id,
    url,
)

# Its posts and comments are told in the same fields as those of TikTok's web.
POST_TELLS, COMMENT_TELLS = told(TikTokPost, always={"caption"}), told(TikTokComment)
HOST = "tiktok-scraper7.p.rapidapi.com"
POSTS, COMMENTS = 30, 50


class Author(msgspec.Struct):
    unique_id: str
    id: Id | None = None


class Music(msgspec.Struct):
    id: Id | None = None
    title: str | None = None


class Post(msgspec.Struct):
    """`video_id` in lists, `id` where it is alone. The samples from before December 2021 have neither."""

    author: Author
    video_id: Id | None = None
    id: Id | None = None
    region: str | None = None
    title: str | msgspec.UnsetType | None = msgspec.UNSET
    cover: str | None = None
    origin_cover: str | None = None
    play: str | None = None
    images: list[str] | None = None
    music_info: Music | None = None
    duration: Count = None
    create_time: Time = None
    digg_count: Count = None
    comment_count: Count = None
    play_count: Count = None
    share_count: Count = None
    collect_count: Count = None

    def own_id(self) -> Id | None:
        return self.id if self.video_id is None else self.video_id


class Commenter(msgspec.Struct):
    id: Id | None = None
    unique_id: str | None = None


class Comment(msgspec.Struct):
    id: Id
    video_id: Id | None = None
    text: str | None = None
    create_time: Time = None
    digg_count: Count = None
    reply_total: Count = None
    user: Commenter | None = None


class Profile(msgspec.Struct):
    data: UserInfo


class OnePost(msgspec.Struct):
    data: Post


class PostPage(msgspec.Struct, rename="camel"):
    videos: list[Post]
    cursor: Id | None = None
    has_more: bool | int | None = None


class Posts(msgspec.Struct):
    data: PostPage


class CommentPage(msgspec.Struct, rename="camel"):
    comments: list[Comment]
    cursor: Id | None = None
    has_more: bool | int | None = None


class Comments(msgspec.Struct):
    data: CommentPage


class Said(msgspec.Struct):
    code: Count = None


decode_profile = decoder(Profile)
decode_posts = decoder(Posts)
decode_post = decoder(OnePost)
decode_comments = decoder(Comments)
decode_said = decoder(Said)


def call(path: str, query: Mapping[str, str], spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, path, {**query, **({"cursor": spec.cursor} if spec.cursor else {})}, secret)


def by_handle(spec: FetchSpec, secret: Secret) -> Call:
    return call("/user/info", {"unique_id": spec.params["handle"]}, spec, secret)


def posts(spec: FetchSpec, secret: Secret) -> Call:
    return call("/user/posts", {"user_id": spec.params["profile_id"], "count": str(spec.at_most(POSTS))}, spec, secret)


def post(spec: FetchSpec, secret: Secret) -> Call:
    return call("/", {"url": spec.params["post_id"]}, spec, secret)


def comments(spec: FetchSpec, secret: Secret) -> Call:
    return call("/comment/list", {"url": spec.params["post_id"], "count": str(spec.at_most(COMMENTS))}, spec, secret)


def parse_profile(body: bytes, spec: FetchSpec) -> Parsed:
    return Parsed([account_record(decode_profile(body).data, spec, "$.data")])


def parse_posts(body: bytes, spec: FetchSpec) -> Parsed:
    page = decode_posts(body).data
    found = [
        _post(each, the_id(each.own_id(), f"{at}.video_id"), spec, at)
        for at, each in ((f"$.data.videos[{i}]", each) for i, each in enumerate(page.videos))
    ]
    return Parsed(found, next_cursor(page.cursor, page.has_more))


def parse_post(body: bytes, spec: FetchSpec) -> Parsed:
    """The one that was asked for: its id is known where the answer leaves it out. Raises `Malformed` where it is another."""
    found, asked = decode_post(body).data, spec.params["post_id"]
    post_id = an_id(found.own_id(), "$.data.id") or asked
    if post_id != asked:
        raise Malformed(f"asked for {asked}, the answer is of {post_id}", path="$.data.id")
    return Parsed([_post(found, post_id, spec, "$.data")])


def parse_comments(body: bytes, spec: FetchSpec) -> Parsed:
    page = decode_comments(body).data
    found = [_comment(each, spec, f"$.data.comments[{i}]") for i, each in enumerate(page.comments)]
    return Parsed(found, next_cursor(page.cursor, page.has_more))


def _post(found: Post, post_id: str, spec: FetchSpec, at: str) -> TikTokPost:
    handle = the_handle(found.author.unique_id, f"{at}.author.unique_id")
    post_type = "photo" if found.images else "video"
    music = found.music_info or Music()
    return TikTokPost(
        post_id=post_id,
        profile_id=of_the_author(
            spec,
            an_id(found.author.id, f"{at}.author.id"),
            f"{at}.author.id",
            handle=handle,
            name=f"{at}.author.unique_id",
        ),
        handle=handle,
        post_type=post_type,
        caption=text(given(found.title)),
        permalink=permalink(handle, post_type, post_id),
        thumbnail_url=url(found.cover, found.origin_cover),
        media_url=url(found.play),
        taken_at=instant(found.create_time),
        region=text(found.region) or None,
        music_id=an_id(music.id, f"{at}.music_info.id"),
        music_title=text(music.title) or None,
        likes=count(found.digg_count, f"{at}.digg_count"),
        comments=count(found.comment_count, f"{at}.comment_count"),
        views=count(found.play_count, f"{at}.play_count"),
        shares=count(found.share_count, f"{at}.share_count"),
        saves=count(found.collect_count, f"{at}.collect_count"),
        video_duration=duration(found.duration),
        untold=silent_on(caption=(found.title,)),
    )


def _comment(found: Comment, spec: FetchSpec, at: str) -> TikTokComment:
    user, post_id = found.user or Commenter(), spec.params["post_id"]
    told = an_id(found.video_id, f"{at}.video_id")
    if told is not None and told != post_id:
        raise Malformed(f"asked for the comments on {post_id}, this is one on {told}", path=f"{at}.video_id")
    return TikTokComment(
        comment_id=the_id(found.id, f"{at}.id"),
        post_id=post_id,
        profile_id=an_id(user.id, f"{at}.user.id"),
        handle=(text(user.unique_id) or "").lower() or None,
        text=text(found.text),
        commented_at=instant(found.create_time),
        likes=count(found.digg_count, f"{at}.digg_count"),
        replies=count(found.reply_total, f"{at}.reply_total"),
    )


class Tikwm(RapidApiSource):
    name = "tikwm"
    host = HOST
    base_url = f"https://{HOST}"
    limits = (Limit("second", 1, 1), Limit("day", 5_000, 86_400, reserve=0.1))
    errors = (
        *GATEWAY_ERRORS,
        ErrorRule(Outcome.RATE_LIMITED, code=-1, message=r"free api limit: *\d+ *requests?/s", wait=1),
        ErrorRule(Outcome.QUOTA_EXHAUSTED, code=-1, message="free api limit", wait=86_400),
        # It resolves links: one that leads to no public post is one that it cannot parse, as is one that it failed to follow.
        ErrorRule(Outcome.UNSEEN, code=-1, message="url parsing is failed"),
        ErrorRule(Outcome.MISSING, code=-1, message="unique_id is invalid"),
        *BY_STATUS,
    )
    endpoints = {
        "profile_by_handle": Endpoint(by_handle, parse_profile, tells=PROFILE_TELLS),
        "posts_by_id": Endpoint(posts, parse_posts, page=POSTS, tells=POST_TELLS),
        "post_by_id": Endpoint(post, parse_post, tells=POST_TELLS),
        "comments_by_post": Endpoint(comments, parse_comments, page=COMMENTS, tells=COMMENT_TELLS),
    }

    def error_key(self, answer: Answer) -> tuple[int | str | None, int | str | None]:
        try:
            return whole(decode_said(answer.body).code), None
        except Malformed:  # the parser says what is wrong with it
            return None, None

    def is_error(self, answer: Answer) -> bool:
        return super().is_error(answer) or self.error_key(answer)[0] not in (None, 0)
