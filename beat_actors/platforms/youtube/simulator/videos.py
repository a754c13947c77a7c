"""Videos, and the lists in which they stand: playlists and searches."""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from beat_actors.platforms.youtube.simulator.bodies import (
    DAY,
    MANY,
    bad,
    error,
    iso,
    listing,
    picture,
    resources,
)
from beat_actors.platforms.youtube.simulator.ids import (
    DELETED,
    LIVE,
    NONE,
    PRIVATE,
    UPCOMING,
    broadcast,
    channel_id,
    channel_of,
    gone,
    hides_likes,
    is_premiere,
    length,
    takes_no_comments,
    video_id,
    video_of,
)
from beat_actors.simulator.population import Person, Post
from beat_actors.simulator.provider import Asked, Reply, World
from beat_actors.simulator.shapes import relations

SIZES = {"default": (120, 90), "medium": (320, 180), "high": (480, 360), "standard": (640, 480), "maxres": (1280, 720)}
MOST_FOUND = 500


def video(world: World, person: Person, post: Post) -> Mapping[str, Any]:
    state = broadcast(person, post)
    live = _live(post, state)
    likes = {} if hides_likes(post) else {"likeCount": str(post.likes)}
    comments = {} if takes_no_comments(post) else {"commentCount": str(post.comments)}
    title = post.caption[:60]
    thumbnails = {
        name: {"url": picture(world, "vi", post.digest, f"{name}.jpg"), "width": wide, "height": high}
        for name, (wide, high) in SIZES.items()
    }
    return {
        "snippet": {
            "publishedAt": iso(post.taken_at),
            "channelId": channel_id(world.people, person.index),
            "title": title,
            "description": post.caption,
            "thumbnails": thumbnails,
            "channelTitle": person.full_name,
            **({"tags": post.caption.split()[:4]} if post.ordinal % 3 else {}),
            "categoryId": str(1 + post.ordinal % 28),
            "liveBroadcastContent": state,
            "localized": {"title": title, "description": post.caption},
            "defaultAudioLanguage": "en",
        },
        "contentDetails": {
            "duration": "P0D" if state != NONE else _duration(length(post)),
            "dimension": "2d",
            "definition": "hd",
            "caption": "false",
            "licensedContent": True,
            "contentRating": {},
            "projection": "rectangular",
        },
        "statistics": {"viewCount": str(post.likes * 25), **likes, "favoriteCount": "0", **comments},
        "status": {
            "uploadStatus": "processed",
            "privacyStatus": "public",
            "license": "youtube",
            "embeddable": True,
            "publicStatsViewable": True,
            "madeForKids": False,
        },
        **({"liveStreamingDetails": live} if live else {}),
    }


def _live(post: Post, state: str) -> Mapping[str, str]:
    if state == UPCOMING:
        return {"scheduledStartTime": iso(post.taken_at + DAY)}
    if state == LIVE:
        return {"actualStartTime": iso(post.taken_at), "concurrentViewers": str(post.likes)}
    if not is_premiere(post):
        return {}
    begun = iso(post.taken_at)
    return {
        "scheduledStartTime": begun,
        "actualStartTime": begun,
        "actualEndTime": iso(post.taken_at + length(post)),
    }


def videos(asked: Asked, world: World) -> Reply:
    names = asked.query["id"].split(",")
    if len(names) > MANY:
        return bad("invalidParameter", f"at most {MANY} values may be given", "id")
    found = [it for name in dict.fromkeys(names) if (it := video_of(world.people, name)) is not None]
    items = [(video_id(world.people, person.index, post.ordinal), video(world, person, post)) for person, post in found]
    return resources("video", asked, items)


NO_PLAYLIST = "The playlist identified with the request's <code>playlistId</code> parameter cannot be found."


def playlist(asked: Asked, world: World) -> Reply:
    name = asked.query["playlistId"]
    person = channel_of(world.people, "UC" + name[2:]) if name.startswith("UU") else None
    if person is None:
        return error(404, "playlistNotFound", "youtube.playlistItem", NO_PLAYLIST)
    return listing("playlistItem", asked, person.posts, name, lambda n: _item(world, person, n, name))


def _item(world: World, person: Person, n: int, playlist_id: str) -> tuple[str, Mapping[str, Any]]:
    post = world.people.post(person, n)
    own, how = video_id(world.people, person.index, n), gone(post)
    title = {PRIVATE: "Private video", DELETED: "Deleted video", None: post.caption[:60]}[how]
    thumbnails = {"default": {"url": picture(world, "vi", post.digest, "default.jpg"), "width": 120, "height": 90}}
    return base64.b64encode(f"{playlist_id}.{own}".encode()).decode(), {
        "snippet": {
            "publishedAt": iso(post.taken_at),
            "channelId": channel_id(world.people, person.index),
            "title": title,
            "description": "" if how else post.caption,
            "thumbnails": {} if how else thumbnails,
            "channelTitle": person.full_name,
            "playlistId": playlist_id,
            "position": n,
            "resourceId": {"kind": "youtube#video", "videoId": own},
        },
        "contentDetails": {"videoId": own, **({} if how else {"videoPublishedAt": iso(post.taken_at)})},
        "status": {"privacyStatus": how or "public"},
    }


def search(asked: Asked, world: World) -> Reply:
    query = asked.query
    try:
        since, until = (
            datetime.fromisoformat(query.get(name, default)).timestamp()
            for name, default in (
                ("publishedAfter", "2005-01-01T00:00:00Z"),
                ("publishedBefore", "9000-01-01T00:00:00Z"),
            )
        )
    except ValueError:
        return bad("invalidParameter", "Invalid time", "publishedAfter")
    found = [
        (person, post)
        for person, post in _candidates(world, query)
        if since <= post.taken_at < until and not gone(post)
    ]
    if query.get("order") == "date":
        found.sort(key=lambda it: -it[1].taken_at)
    filters = "|".join(f"{name}={value}" for name, value in sorted(query.items()) if name not in ("pageToken", "key"))

    def item(n: int) -> tuple[Any, Mapping[str, Any]]:
        person, post = found[n]
        title = post.caption[:60].replace("&", "&amp;")
        snippet = {
            "publishedAt": iso(post.taken_at),
            "channelId": channel_id(world.people, person.index),
            "title": title,
        }
        return {"kind": "youtube#video", "videoId": video_id(world.people, person.index, post.ordinal)}, {"snippet": snippet}  # fmt: skip

    return listing("searchResult", asked, min(len(found), MOST_FOUND), filters, item, whole="searchListResponse")


def _candidates(world: World, query: Mapping[str, str]) -> Sequence[tuple[Person, Post]]:
    """The videos of a channel. For a search without a channel, one video of each of the people that the population relates to the word."""
    if "channelId" in query:
        person = channel_of(world.people, query["channelId"])
        return [] if person is None else [(person, post) for post in world.people.posts(person, 0, person.posts)]
    first = relations.behind_hashtag(world.people, query.get("q", ""))
    return relations.posts_of_others(world.people, first, 0, 160)


def _duration(length: int) -> str:
    hours, rest = divmod(length, 3600)
    minutes, seconds = divmod(rest, 60)
    return "PT" + "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if n)
