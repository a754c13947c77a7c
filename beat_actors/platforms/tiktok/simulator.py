"""TikTok's providers: the population's people in tikwm's envelope and in the web's shapes, both behind the RapidAPI gateway.

A cursor is the time, in milliseconds, at which the page before it ended, as TikTok's own are.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from beat_actors.simulator.population import VIDEO, Person, Population, Post, shortcode
from beat_actors.simulator.provider import Asked, Operation, Reply, SimulatedProvider, Window, Words, World, reply
from beat_actors.simulator.shapes import rapidapi, relations

EDGES = ("p16-sign-va", "p16-sign-sg", "p77-sign-va", "p19-sign")
"""Each observation names another edge for the same picture."""
PAGE, LARGEST = 10, 35
SEC_UID = "MS4wLjABAAAA"


def sec_uid(person: Person) -> str:
    return f"{SEC_UID}{person.index:012d}{person.digest[:38]}"


def of_sec_uid(people: Population, text: str) -> Person | None:
    number = text.removeprefix(SEC_UID)[:12]
    person = people.person(int(number)) if _is_number(number) else None
    return person if text.startswith(SEC_UID) else None


def of_post_id(people: Population, number: str) -> tuple[Person, Post] | None:
    return people.by_shortcode(shortcode(int(number))) if _is_number(number) and int(number) < 2**63 else None


def page(people: Population, person: Person, cursor: str, count: str) -> tuple[Sequence[Post], str, bool] | None:
    """(posts, next cursor, whether there are more); `None` where it is not for what was asked."""
    if not _is_number(cursor) or not _is_number(count):
        return None
    if person.is_private:
        return (), "0", False
    every = people.posts(person, 0, person.posts)
    rest = [post for post in every if cursor == "0" or post.taken_at * 1000 < int(cursor)]
    shown = rest[: max(1, min(int(count), LARGEST))]
    more = len(rest) > len(shown)
    return shown, str(shown[-1].taken_at * 1000) if more else "0", more


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def plays(post: Post) -> int:
    return post.views if post.views is not None else post.likes * 11


def user(world: World, person: Person) -> dict[str, Any]:
    return {
        "id": str(person.pk),
        "uniqueId": person.handle,
        "nickname": person.full_name,
        **{
            f"avatar{size}": _media(world, person.digest, f"avatar-{size.lower()}")
            for size in ("Thumb", "Medium", "Larger")
        },
        "signature": person.biography,
        "verified": person.is_verified,
        "secUid": sec_uid(person),
        "secret": person.is_private,
        "ftc": False,
        "relation": 0,
        "openFavorite": False,
        "bioLink": {"link": person.website, "risk": 0},
        "commentSetting": 0,
        "duetSetting": 0,
        "stitchSetting": 0,
        "privateAccount": person.is_private,
        "isADVirtual": False,
    }


def stats(person: Person) -> dict[str, int]:
    hearts = person.followers * 7
    return {
        "followingCount": person.following,
        "followerCount": person.followers,
        "heartCount": hearts,
        "videoCount": person.posts,
        "diggCount": person.following * 3,
        "heart": hearts,
    }


def tikwm_profile(asked: Asked, world: World) -> Reply:
    person = world.people.by_handle(asked.query.get("unique_id", ""))
    return (
        _refused("unique_id is invalid")
        if person is None
        else _said({"user": user(world, person), "stats": stats(person)})
    )


def tikwm_posts(asked: Asked, world: World) -> Reply:
    person = world.people.by_pk(asked.query.get("user_id", ""))
    if person is None:
        return _refused("user_id is invalid")
    found = page(world.people, person, asked.query.get("cursor", "0"), asked.query.get("count", str(PAGE)))
    if found is None:
        return _refused("cursor or count is invalid")
    shown, cursor, more = found
    videos = [
        {"aweme_id": f"v{each.digest[:31]}", "video_id": str(each.pk), **_tikwm(world, person, each)} for each in shown
    ]
    return _said({"videos": videos, "cursor": cursor, "hasMore": more})


def tikwm_post(asked: Asked, world: World) -> Reply:
    found = of_post_id(world.people, asked.query.get("url", ""))
    if found is None or found[0].is_private:
        return _refused("Url parsing is failed! Please check url.")
    return _said({"id": str(found[1].pk), **_tikwm(world, *found)})


def tikwm_comments(asked: Asked, world: World) -> Reply:
    found = of_post_id(world.people, asked.query.get("url", ""))
    start, size = asked.query.get("cursor", "0"), asked.query.get("count", "20")
    if found is None or found[0].is_private or not _is_number(start) or not _is_number(size):
        return _refused("Url parsing is failed! Please check url.")
    shown = relations.comments(world.people, *found, int(start), min(int(size), 50))
    end, total = int(start) + len(shown), min(found[1].comments, world.people.size // 2)
    comments = [
        {
            "id": str(each.id),
            "text": each.text,
            "create_time": each.at,
            "digg_count": each.likes,
            "reply_total": 0,
            "user": {
                "id": str(each.author.pk),
                "region": "DE",
                "sec_uid": sec_uid(each.author),
                "unique_id": each.author.handle,
                "nickname": each.author.full_name,
                "signature": "",
                "avatar": _media(world, each.author.digest, "avatar-thumb"),
            },
            "status": 1,
        }
        for each in shown
    ]
    return _said({"comments": comments, "total": total, "cursor": end, "hasMore": bool(shown) and end < total})


def _tikwm(world: World, person: Person, post: Post) -> dict[str, Any]:
    film = post.kind == VIDEO
    return {
        "region": "DE",
        "title": post.caption,
        "cover": _media(world, post.digest, "cover"),
        "origin_cover": _media(world, post.digest, "origin"),
        "duration": round(post.duration or 0),
        "play": _media(world, post.digest, "play", "mp4" if film else "mp3"),
        "wmplay": _media(world, post.digest, "wmplay", "mp4" if film else "mp3"),
        **({} if film else {"images": [_media(world, post.digest, f"image-{n}") for n in range(1 + post.children)]}),
        "music": _media(world, post.digest, "music", "mp3"),
        "music_info": {"id": str(person.pk * 7), "title": f"original sound - {person.handle}", "original": True},
        "play_count": plays(post),
        "digg_count": post.likes,
        "comment_count": post.comments,
        "share_count": post.likes // 20,
        "download_count": post.likes // 50,
        "collect_count": post.likes // 8,
        "create_time": post.taken_at,
        "author": {
            "id": str(person.pk),
            "unique_id": person.handle,
            "nickname": person.full_name,
            "avatar": _media(world, person.digest, "avatar-thumb"),
        },
    }


def _said(data: Any) -> Reply:
    return reply({"code": 0, "msg": "success", "processed_time": 0.2, "data": data})


def _refused(message: str) -> Reply:
    return reply({"code": -1, "msg": message, "processed_time": 0.1})


def web_profile(asked: Asked, world: World) -> Reply:
    person = world.people.by_handle(asked.query.get("uniqueId", ""))
    if person is None:
        return _status(10221)
    exact = {name: str(number) for name, number in stats(person).items()}
    info = {"user": user(world, person), "stats": stats(person), "statsV2": exact}
    return reply({"statusCode": 0, "statusMsg": "", "userInfo": info, "shareMeta": {"title": person.full_name}})


def web_posts(asked: Asked, world: World) -> Reply:
    person = of_sec_uid(world.people, asked.query.get("secUid", ""))
    if person is None:
        return _status(10221)
    if person.is_private:
        return _status(10222)
    found = page(world.people, person, asked.query.get("cursor", "0"), asked.query.get("count", str(PAGE)))
    if found is None:
        return _status(10201)
    shown, cursor, more = found
    items = [_item(world, person, each) for each in shown]
    return reply({"data": {"statusCode": 0, "itemList": items, "cursor": cursor if more else "-1", "hasMore": more}})


def web_post(asked: Asked, world: World) -> Reply:
    found = of_post_id(world.people, asked.query.get("videoId", ""))
    if found is None:
        return _status(10204)
    if found[0].is_private:
        return _status(10216)
    return reply({"statusCode": 0, "itemInfo": {"itemStruct": _item(world, *found)}})


def web_comments(asked: Asked, world: World) -> Reply:
    found = of_post_id(world.people, asked.query.get("videoId", ""))
    start, size = asked.query.get("cursor", "0"), asked.query.get("count", "20")
    if found is None or found[0].is_private or not _is_number(start) or not _is_number(size):
        return _status(10204)
    shown = relations.comments(world.people, *found, int(start), min(int(size), 50))
    end, total = int(start) + len(shown), min(found[1].comments, world.people.size // 2)
    comments = [
        {
            "cid": str(each.id),
            "aweme_id": str(found[1].pk),
            "text": each.text,
            "create_time": each.at,
            "digg_count": each.likes,
            "reply_comment_total": 0,
            "user": {
                "uid": str(each.author.pk),
                "sec_uid": sec_uid(each.author),
                "unique_id": each.author.handle,
                "nickname": each.author.full_name,
            },
        }
        for each in shown
    ]
    more = int(bool(shown) and end < total)
    return reply({"status_code": 0, "comments": comments, "cursor": end, "has_more": more, "total": total})


def _item(world: World, person: Person, post: Post) -> dict[str, Any]:
    counts = {
        "diggCount": post.likes,
        "shareCount": post.likes // 20,
        "commentCount": post.comments,
        "playCount": plays(post),
        "collectCount": post.likes // 8,
    }
    film = post.kind == VIDEO
    return {
        "id": str(post.pk),
        "desc": post.caption,
        "createTime": post.taken_at,
        "video": {
            "id": str(post.pk),
            "height": 1024,
            "width": 576,
            "duration": round(post.duration or 0),
            "ratio": "540p",
            "cover": _media(world, post.digest, "cover"),
            "originCover": _media(world, post.digest, "origin"),
            "dynamicCover": _media(world, post.digest, "dynamic"),
            "playAddr": _media(world, post.digest, "play", "mp4") if film else "",
        },
        **({} if film else {"imagePost": {"title": "", "images": [{"imageWidth": 1080}] * (1 + post.children)}}),
        "author": user(world, person),
        "music": {"id": str(person.pk * 7), "title": f"original sound - {person.handle}", "original": True},
        "stats": counts,
        "statsV2": {name: str(number) for name, number in counts.items()},
        "locationCreated": "DE",
        "privateItem": False,
        "isAd": False,
    }


def _status(code: int) -> Reply:
    return reply({"statusCode": code, "statusMsg": "", "status_code": code, "userInfo": {}})


def _media(world: World, digest: str, what: str, suffix: str = "jpeg") -> str:
    expires, signature = world.people.media_expiry, digest[20:48]
    edge = EDGES[(int(digest[:8], 16) + world.people.epoch) % len(EDGES)]
    return f"{world.cdn or f'https://{edge}.tiktokcdn.com'}/tos-useast2a/{digest[:32]}~{what}.{suffix}?x-expires={expires}&x-signature={signature}%3D"


WORDS = Words(
    identity=frozenset({"uniqueId", "unique_id", "video_id", "cid", "aweme_id", "secUid"}),
    followers=frozenset({"followerCount"}),
    likes=frozenset({"diggCount", "digg_count"}),
    metrics=frozenset(
        {"followingCount", "heartCount", "heart", "videoCount", "shareCount", "commentCount", "playCount"}
        | {"collectCount", "comment_count", "play_count", "share_count", "collect_count"}
    ),
    swapped=(("followerCount", "followingCount"), ("diggCount", "commentCount"), ("digg_count", "comment_count")),
)


providers = (
    SimulatedProvider(
        name="tikwm",
        operations=(
            Operation("profile_by_handle", "/user/info", tikwm_profile),
            Operation("posts_by_id", "/user/posts", tikwm_posts),
            Operation("post_by_id", "/", tikwm_post),
            Operation("comments_by_post", "/comment/list", tikwm_comments),
        ),
        refusals=replace(
            rapidapi.refusals("tiktok-scraper7.p.rapidapi.com", "tikwm"),
            # Not the gateway: the provider says it, in a 200.
            over_limit=lambda _wait: _refused("Free Api Limit: 1 request/second."),
        ),
        limits=(Window(1, 1), Window(5_000, 86_400), rapidapi.PLAN),
        credential_header=rapidapi.KEY_HEADER,
        usage_headers=rapidapi.usage_headers,
        words=WORDS,
    ),
    SimulatedProvider(
        name="api23",
        operations=(
            Operation("profile_by_handle", "/api/user/info", web_profile),
            Operation("posts_by_id", "/api/user/posts", web_posts),
            Operation("post_by_id", "/api/post/detail", web_post),
            Operation("comments_by_post", "/api/post/comments", web_comments),
        ),
        refusals=rapidapi.refusals("tiktok-api23.p.rapidapi.com", "tikfly"),
        limits=(Window(2, 1), rapidapi.PLAN),
        credential_header=rapidapi.KEY_HEADER,
        usage_headers=rapidapi.usage_headers,
        words=WORDS,
    ),
)
