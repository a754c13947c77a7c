"""How values are read that look alike in all of TikTok's APIs, and the account, which its web and the providers give in one shape.

Tolerant where a value is optional, strict where it is the point: an account has an id, a handle and a follower count, a post an id.
"""

import re

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import FetchSpec, told
from beat_actors.platforms.reading import Count, Flag, Id, count, flag, given, quoted, silent_on, text
from beat_actors.platforms.tiktok.entities import TikTokAccount

PROFILE_TELLS = told(TikTokAccount, always={"full_name", "biography", "external_url"})
ID = re.compile(r"[0-9]{1,20}")
HANDLE = re.compile(r"[a-z0-9._]{1,24}")


class Link(msgspec.Struct):
    link: str | msgspec.UnsetType | None = msgspec.UNSET


class User(msgspec.Struct, rename="camel"):
    id: Id
    unique_id: str
    nickname: str | msgspec.UnsetType | None = msgspec.UNSET
    sec_uid: str | None = None
    signature: str | msgspec.UnsetType | None = msgspec.UNSET
    bio_link: Link | msgspec.UnsetType | None = msgspec.UNSET
    avatar_larger: str | None = None
    avatar_medium: str | None = None
    avatar_thumb: str | None = None
    verified: Flag = None
    private_account: Flag = None
    secret: Flag = None


class Stats(msgspec.Struct, rename="camel"):
    follower_count: Count | msgspec.UnsetType = msgspec.UNSET
    following_count: Count = None
    heart_count: Count = None
    heart: Count = None
    video_count: Count = None


class UserInfo(msgspec.Struct, rename="camel"):
    user: User
    stats: Stats | None = None
    stats_v2: Stats | None = None


def account_record(info: UserInfo, spec: FetchSpec, at: str) -> TikTokAccount:
    """Raises `Malformed` where the answer is of somebody else than was asked for, or without a follower count."""
    user, handle = info.user, the_handle(info.user.unique_id, f"{at}.user.uniqueId")
    asked = spec.params["handle"]
    if handle != asked.lower():
        raise Malformed(f"asked for {asked!r}, the answer is of {handle!r}", path=f"{at}.user.uniqueId")
    both = (info.stats_v2, info.stats)
    # Hidden is null; gone is another thing.
    if all(stats is None or stats.follower_count is msgspec.UNSET for stats in both):
        raise Malformed("an account without its follower count", path=f"{at}.stats.followerCount")
    likes, followers = exact(both, "heart_count", at), exact(both, "follower_count", at)
    link = given(user.bio_link)
    return TikTokAccount(
        profile_id=the_id(user.id, f"{at}.user.id"),
        handle=handle,
        sec_uid=text(user.sec_uid) or None,
        full_name=text(given(user.nickname)),
        biography=text(given(user.signature)),
        external_url=text(given(link.link)) or None if link else None,
        profile_pic_url=url(user.avatar_larger, user.avatar_medium, user.avatar_thumb),
        is_private=flag(user.private_account if user.private_account is not None else user.secret),
        is_verified=flag(user.verified),
        followers=followers,
        following=exact(both, "following_count", at),
        likes=likes if likes is not None else exact(both, "heart", at),
        media_count=exact(both, "video_count", at),
        hidden=("followers",) if followers is None else (),
        untold=silent_on(
            full_name=(user.nickname,),
            biography=(user.signature,),
            external_url=(link.link if link else user.bio_link,),
        ),
    )


def exact(both: tuple[msgspec.Struct | None, msgspec.Struct | None], field: str, at: str) -> int | None:
    """A count from (statsV2, stats). The first has it to the last digit; in the second it may be rounded, or overflown below zero."""
    for stats, name in zip(both, ("statsV2", "stats"), strict=True):
        value = getattr(stats, field, None)
        if value not in (None, "", msgspec.UNSET):
            head, *tail = field.split("_")
            return count(value, f"{at}.{name}.{head}{''.join(map(str.capitalize, tail))}")
    return None


def the_id(value: Id | None, path: str) -> str:
    """The id of a thing that is nothing without one. Raises `Malformed` where it is no number."""
    if value is None or not ID.fullmatch(str(value)) or str(value) == "0":
        raise Malformed(f"{quoted(value)} is not an id", path=path)
    return str(value)


def an_id(value: Id | None, path: str) -> str | None:
    """An id that may be left out; empty and 0 say the same."""
    return None if value in (None, "", 0, "0") else the_id(value, path)


def the_handle(value: str, path: str) -> str:
    """In small letters, as TikTok keeps it."""
    handle = value.lower()
    if not HANDLE.fullmatch(handle):
        raise Malformed(f"{value[:80]!r} is not a handle", path=path)
    return handle


def of_the_author(spec: FetchSpec, found: str | None, path: str, *, handle: str | None, name: str) -> str | None:
    """The id of a post's author. Raises `Malformed` where the posts of somebody else were asked for: by the id, or where the answer
    has none, by the handle."""
    asked, asked_handle = spec.params.get("profile_id"), spec.params.get("handle")
    if asked is not None and found is not None and found != asked:
        raise Malformed(f"asked for the posts of {asked}, this is one of {found}", path=path)
    if found is None and asked_handle and handle and handle != asked_handle.lower():
        raise Malformed(f"asked for the posts of {asked_handle!r}, this is one of {handle!r}", path=name)
    return found if found is not None else asked


def url(*candidates: str | None) -> str | None:
    """The first that is one; TikTok's older answers leave out the scheme."""
    for each in candidates:
        found = text(each) or ""
        if found.startswith("//"):
            return f"https:{found}"
        if found.startswith(("https://", "http://")):
            return found
    return None


def permalink(handle: str | None, post_type: str, post_id: str) -> str | None:
    return None if handle is None else f"https://www.tiktok.com/@{handle}/{post_type}/{post_id}"


def next_cursor(cursor: Id | None, has_more: bool | int | None) -> str | None:
    """The last page says that there is no more, or leads nowhere."""
    return None if not has_more or cursor in (None, "", "0", "-1", 0, -1) else str(cursor)
