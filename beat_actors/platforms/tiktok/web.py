"""TikTok's web: lists of posts and of comments as its own pages read them, posts in three generations, and how they become records.

`itemList` is today's; `items` is the same under an older name; `body.itemListData` is older still, with other names throughout.
"""

from collections.abc import Sequence

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import FetchSpec, Parsed, told
from beat_actors.platforms.reading import Count, Id, Time, count, duration, given, instant, silent_on, text
from beat_actors.platforms.tiktok.entities import TikTokComment, TikTokPost
from beat_actors.platforms.tiktok.payloads import (
    an_id,
    exact,
    next_cursor,
    of_the_author,
    permalink,
    the_handle,
    the_id,
    url,
)

POST_TELLS, COMMENT_TELLS = told(TikTokPost, always={"caption"}), told(TikTokComment)


class Author(msgspec.Struct, rename="camel"):
    id: Id | None = None
    unique_id: str | None = None


class Video(msgspec.Struct, rename="camel"):
    duration: Count = None
    cover: str | None = None
    origin_cover: str | None = None
    play_addr: str | None = None


class Music(msgspec.Struct):
    id: Id | None = None
    title: str | None = None


class Counts(msgspec.Struct, rename="camel"):
    digg_count: Count = None
    comment_count: Count = None
    play_count: Count = None
    share_count: Count = None
    collect_count: Count = None


class Photos(msgspec.Struct):
    title: str | None = None


class Item(msgspec.Struct, rename="camel"):
    """In some answers the author is no more than a handle, with the id beside it."""

    id: Id
    stats: Counts | None = None
    stats_v2: Counts | None = None
    desc: str | msgspec.UnsetType | None = msgspec.UNSET
    create_time: Time = None
    author: Author | str | None = None
    author_id: Id | None = None
    video: Video | None = None
    image_post: Photos | None = None
    music: Music | None = None
    location_created: str | None = None


class OldMeta(msgspec.Struct):
    duration: Count = None


class OldVideo(msgspec.Struct, rename="camel"):
    urls: list[str] | None = None
    video_meta: OldMeta | None = None


class OldPost(msgspec.Struct, rename="camel"):
    id: Id
    text: str | msgspec.UnsetType | None = msgspec.UNSET
    create_time: Time = None
    author_id: Id | None = None
    covers: list[str] | None = None
    covers_origin: list[str] | None = None
    video: OldVideo | None = None
    digg_count: Count = None
    comment_count: Count = None
    play_count: Count = None
    share_count: Count = None


class OldAuthor(msgspec.Struct, rename="camel"):
    unique_id: str | None = None


class OldMusic(msgspec.Struct, rename="camel"):
    music_id: Id | None = None
    music_name: str | None = None


class OldItem(msgspec.Struct, rename="camel"):
    item_infos: OldPost
    author_infos: OldAuthor | None = None
    music_infos: OldMusic | None = None


class OldList(msgspec.Struct, rename="camel"):
    item_list_data: list[OldItem]
    max_cursor: Id | None = None
    has_more: bool | int | None = None


class ItemList(msgspec.Struct, rename="camel"):
    item_list: list[Item] | None = None
    items: list[Item] | None = None
    cursor: Id | None = None
    max_cursor: Id | None = None
    has_more: bool | int | None = None


class Commenter(msgspec.Struct):
    uid: Id | None = None
    unique_id: str | None = None


class Comment(msgspec.Struct):
    cid: Id
    aweme_id: Id | None = None
    text: str | None = None
    create_time: Time = None
    digg_count: Count = None
    reply_comment_total: Count = None
    user: Commenter | None = None


class CommentList(msgspec.Struct):
    """A post without comments has no list, and says that it ends."""

    comments: list[Comment] | None = None
    cursor: Id | None = None
    has_more: bool | int | None = None


def comments(page: CommentList, spec: FetchSpec, at: str) -> Parsed:
    """Raises `Malformed` for an answer that is no list, and for comments on another post."""
    if page.comments is None and (page.has_more is None or page.has_more):
        raise Malformed("a page without its comments", path=f"{at}.comments")
    found = [_comment_record(each, spec, f"{at}.comments[{i}]") for i, each in enumerate(page.comments or [])]
    return Parsed(found, next_cursor(page.cursor, page.has_more))


def _comment_record(found: Comment, spec: FetchSpec, at: str) -> TikTokComment:
    user, post_id = found.user or Commenter(), spec.params["post_id"]
    told = an_id(found.aweme_id, f"{at}.aweme_id")
    if told is not None and told != post_id:
        raise Malformed(f"asked for the comments on {post_id}, this is one on {told}", path=f"{at}.aweme_id")
    return TikTokComment(
        comment_id=the_id(found.cid, f"{at}.cid"),
        post_id=post_id,
        profile_id=an_id(user.uid, f"{at}.user.uid"),
        handle=(text(user.unique_id) or "").lower() or None,
        text=text(found.text),
        commented_at=instant(found.create_time),
        likes=count(found.digg_count, f"{at}.digg_count"),
        replies=count(found.reply_comment_total, f"{at}.reply_comment_total"),
    )


def posts(page: ItemList, spec: FetchSpec, at: str) -> Parsed:
    """Raises `Malformed` for an answer that is no list. An account that has posted nothing has a page that says only that it ends."""
    found, name = (page.item_list, "itemList") if page.item_list is not None else (page.items, "items")
    if found is None:
        if page.has_more is None or page.has_more:
            raise Malformed("a page without its posts", path=f"{at}.itemList")
        found = []
    records = [post_record(item, spec, f"{at}.{name}[{i}]") for i, item in enumerate(found)]
    return Parsed(records, next_cursor(page.cursor if page.cursor is not None else page.max_cursor, page.has_more))


def old_posts(page: OldList, spec: FetchSpec, at: str) -> Parsed:
    records = [_old_record(item, spec, f"{at}.itemListData[{i}]") for i, item in enumerate(page.item_list_data)]
    return Parsed(records, next_cursor(page.max_cursor, page.has_more))


def post_record(item: Item, spec: FetchSpec, at: str) -> TikTokPost:
    post_id = the_id(item.id, f"{at}.id")
    author = item.author if not isinstance(item.author, str) else Author(item.author_id, item.author)
    handle = (
        the_handle(author.unique_id, f"{at}.author.uniqueId")
        if author and author.unique_id
        else spec.params.get("handle")
    )
    profile_id = an_id(author.id, f"{at}.author.id") if author else None
    both = (item.stats_v2, item.stats)
    video, music = item.video or Video(), item.music or Music()
    post_type = "video" if item.image_post is None else "photo"
    return TikTokPost(
        post_id=post_id,
        profile_id=of_the_author(spec, profile_id, f"{at}.author.id", handle=handle, name=f"{at}.author.uniqueId"),
        handle=handle,
        post_type=post_type,
        caption=text(given(item.desc)),
        permalink=permalink(handle, post_type, post_id),
        thumbnail_url=url(video.cover, video.origin_cover),
        media_url=url(video.play_addr),
        taken_at=instant(item.create_time),
        region=text(item.location_created) or None,
        music_id=an_id(music.id, f"{at}.music.id"),
        music_title=text(music.title) or None,
        likes=exact(both, "digg_count", at),
        comments=exact(both, "comment_count", at),
        views=exact(both, "play_count", at),
        shares=exact(both, "share_count", at),
        saves=exact(both, "collect_count", at),
        video_duration=duration(video.duration),
        untold=silent_on(caption=(item.desc,)),
    )


def _old_record(item: OldItem, spec: FetchSpec, at: str) -> TikTokPost:
    post, at = item.item_infos, f"{at}.itemInfos"
    post_id = the_id(post.id, f"{at}.id")
    author, music, video = item.author_infos or OldAuthor(), item.music_infos or OldMusic(), post.video or OldVideo()
    handle = the_handle(author.unique_id, f"{at}.uniqueId") if author.unique_id else spec.params.get("handle")
    return TikTokPost(
        post_id=post_id,
        profile_id=of_the_author(
            spec, an_id(post.author_id, f"{at}.authorId"), f"{at}.authorId", handle=handle, name=f"{at}.uniqueId"
        ),
        handle=handle,
        post_type="video",
        caption=text(given(post.text)),
        permalink=permalink(handle, "video", post_id),
        thumbnail_url=url(*_each(post.covers), *_each(post.covers_origin)),
        media_url=url(*_each(video.urls)),
        taken_at=instant(post.create_time),
        music_id=an_id(music.music_id, f"{at}.musicId"),
        music_title=text(music.music_name) or None,
        likes=count(post.digg_count, f"{at}.diggCount"),
        comments=count(post.comment_count, f"{at}.commentCount"),
        views=count(post.play_count, f"{at}.playCount"),
        shares=count(post.share_count, f"{at}.shareCount"),
        video_duration=duration(video.video_meta.duration) if video.video_meta else None,
        untold=silent_on(caption=(post.text,)),
    )


def _each(urls: Sequence[str] | None) -> Sequence[str]:
    return urls or ()
