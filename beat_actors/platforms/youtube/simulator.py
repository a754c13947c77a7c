"""The Data API's double: the population's people as channels, their posts as videos.

The parts that are asked for are what is told. A channel of somebody private hides its subscribers. Of the videos some are gone and
stay listed, some tell no likes, some take no comments; here and there the newest is live, or scheduled. Quotas are counted as the API
counts them: 10,000 calls a day and 100 searches, until midnight Pacific. Any refresh token brings access tokens of an hour, which are
over when it is.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from secrets import token_urlsafe
from typing import Any
from urllib.parse import parse_qsl

from beat_actors.simulator.double import HTML, Asked, Operation, ProviderDouble, Refusals, Reply, Window, World, reply
from beat_actors.simulator.population import VIDEO, Person, Population, Post
from beat_actors.simulator.shapes import relations

DAY = 86_400
TOKEN_LASTS = 3599
MANY = 50
MOST_FOUND = 500
MOST_COMMENTS = 250
PRIVATE, DELETED = "private", "privacyStatusUnspecified"
NONE, LIVE, UPCOMING = "none", "live", "upcoming"
SIZES = {"default": (120, 90), "medium": (320, 180), "high": (480, 360), "standard": (640, 480), "maxres": (1280, 720)}


def channel_id(people: Population, index: int) -> str:
    return "UC" + _seal(people, "channel", index.to_bytes(6, "big"), 10)


def video_id(people: Population, index: int, ordinal: int) -> str:
    return _seal(people, "video", index.to_bytes(4, "big") + ordinal.to_bytes(2, "big"), 2)


def _seal(people: Population, what: str, number: bytes, size: int) -> str:
    """A number and a seal on it, so that an id leads back to what it names and another is none."""
    seal = blake2b(f"{people.seed} {what} ".encode() + number, digest_size=size).digest()
    return base64.urlsafe_b64encode(number + seal).decode().rstrip("=")


def _opened(people: Population, what: str, sealed: str, length: int, size: int) -> bytes | None:
    try:
        number = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))[:length]
    except ValueError:
        return None
    return number if len(number) == length and _seal(people, what, number, size) == sealed else None


def channel_of(people: Population, profile_id: str) -> Person | None:
    number = _opened(people, "channel", profile_id[2:], 6, 10) if profile_id.startswith("UC") else None
    return None if number is None else people.person(int.from_bytes(number, "big"))


def video_of(people: Population, post_id: str) -> tuple[Person, Post] | None:
    """A video that is there, and whose it is."""
    number = _opened(people, "video", post_id, 6, 2)
    person = None if number is None else people.person(int.from_bytes(number[:4], "big"))
    if number is None or person is None or (ordinal := int.from_bytes(number[4:], "big")) >= person.posts:
        return None
    found = people.post(person, ordinal)
    return None if gone(found) else (person, found)


def gone(post: Post) -> str | None:
    """The status with which a playlist still lists a video that is there no more."""
    return {0: PRIVATE, 1: DELETED}.get(_dice(post, 0) % 24)


def hides_likes(post: Post) -> bool:
    return _dice(post, 1) % 16 == 0


def takes_no_comments(post: Post) -> bool:
    return _dice(post, 2) % 16 == 0


def broadcast(person: Person, post: Post) -> str:
    return {3: UPCOMING, 4: LIVE}.get(person.index % 10, NONE) if post.ordinal == 0 else NONE


def _dice(post: Post, n: int) -> int:
    return int(post.digest[60 + 2 * n : 62 + 2 * n], 16)


def _length(post: Post) -> int:
    return 30 + _dice(post, 3) * 40 + _dice(post, 4)


def _is_premiere(post: Post) -> bool:
    return post.kind == VIDEO and _dice(post, 5) % 4 == 0


def channel(world: World, person: Person) -> Mapping[str, Any]:
    own = channel_id(world.people, person.index)
    hidden = {} if person.is_private else {"subscriberCount": str(_rounded(person.followers))}
    return {
        "snippet": {
            "title": person.full_name,
            "description": person.biography,
            "customUrl": f"@{person.handle}",
            "publishedAt": _iso(1_200_000_000 + person.index % 1000 * DAY),
            "thumbnails": {
                name: {"url": _picture(world, "ytc", person.digest, f"s{size}.jpg"), "width": size, "height": size}
                for name, size in (("default", 88), ("medium", 240), ("high", 800))
            },
            "localized": {"title": person.full_name, "description": person.biography},
            "country": ("US", "DE", "JP", "BR")[person.index % 4],
        },
        "contentDetails": {"relatedPlaylists": {"likes": "", "uploads": "UU" + own[2:]}},
        "statistics": {
            "viewCount": str(person.followers * 90),
            **hidden,
            "hiddenSubscriberCount": person.is_private,
            "videoCount": str(person.posts),
        },
        "status": {"privacyStatus": "public", "isLinked": True, "longUploadsStatus": "allowed", "madeForKids": False},
    }


def video(world: World, person: Person, post: Post) -> Mapping[str, Any]:
    state = broadcast(person, post)
    live = _live(post, state)
    likes = {} if hides_likes(post) else {"likeCount": str(post.likes)}
    comments = {} if takes_no_comments(post) else {"commentCount": str(post.comments)}
    title = post.caption[:60]
    thumbnails = {
        name: {"url": _picture(world, "vi", post.digest, f"{name}.jpg"), "width": wide, "height": high}
        for name, (wide, high) in SIZES.items()
    }
    return {
        "snippet": {
            "publishedAt": _iso(post.taken_at),
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
            "duration": "P0D" if state != NONE else _duration(_length(post)),
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
        return {"scheduledStartTime": _iso(post.taken_at + DAY)}
    if state == LIVE:
        return {"actualStartTime": _iso(post.taken_at), "concurrentViewers": str(post.likes)}
    if not _is_premiere(post):
        return {}
    begun = _iso(post.taken_at)
    return {
        "scheduledStartTime": begun,
        "actualStartTime": begun,
        "actualEndTime": _iso(post.taken_at + _length(post)),
    }


def channels(selector: str, find: Callable[[World, str], Person | None]) -> Callable[[Asked, World], Reply]:
    def answer(asked: Asked, world: World) -> Reply:
        names = asked.query[selector].split(",")
        if len(names) > MANY:
            return _bad("invalidParameter", f"at most {MANY} values may be given", selector)
        found = [person for name in dict.fromkeys(names) if (person := find(world, name)) is not None]
        items = [(channel_id(world.people, person.index), channel(world, person)) for person in found]
        return _resources("channel", asked, items)

    return answer


def videos(asked: Asked, world: World) -> Reply:
    names = asked.query["id"].split(",")
    if len(names) > MANY:
        return _bad("invalidParameter", f"at most {MANY} values may be given", "id")
    found = [it for name in dict.fromkeys(names) if (it := video_of(world.people, name)) is not None]
    items = [(video_id(world.people, person.index, post.ordinal), video(world, person, post)) for person, post in found]
    return _resources("video", asked, items)


def playlist(asked: Asked, world: World) -> Reply:
    name = asked.query["playlistId"]
    person = channel_of(world.people, "UC" + name[2:]) if name.startswith("UU") else None
    if person is None:
        return _error(404, "playlistNotFound", "youtube.playlistItem", NO_PLAYLIST)
    return _listing("playlistItem", asked, person.posts, name, lambda n: _item(world, person, n, name))


def _item(world: World, person: Person, n: int, playlist_id: str) -> tuple[str, Mapping[str, Any]]:
    post = world.people.post(person, n)
    own, how = video_id(world.people, person.index, n), gone(post)
    title = {PRIVATE: "Private video", DELETED: "Deleted video", None: post.caption[:60]}[how]
    thumbnails = {"default": {"url": _picture(world, "vi", post.digest, "default.jpg"), "width": 120, "height": 90}}
    return base64.b64encode(f"{playlist_id}.{own}".encode()).decode(), {
        "snippet": {
            "publishedAt": _iso(post.taken_at),
            "channelId": channel_id(world.people, person.index),
            "title": title,
            "description": "" if how else post.caption,
            "thumbnails": {} if how else thumbnails,
            "channelTitle": person.full_name,
            "playlistId": playlist_id,
            "position": n,
            "resourceId": {"kind": "youtube#video", "videoId": own},
        },
        "contentDetails": {"videoId": own, **({} if how else {"videoPublishedAt": _iso(post.taken_at)})},
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
        return _bad("invalidParameter", "Invalid time", "publishedAfter")
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
            "publishedAt": _iso(post.taken_at),
            "channelId": channel_id(world.people, person.index),
            "title": title,
        }
        return {"kind": "youtube#video", "videoId": video_id(world.people, person.index, post.ordinal)}, {"snippet": snippet}  # fmt: skip

    return _listing("searchResult", asked, min(len(found), MOST_FOUND), filters, item, whole="searchListResponse")


def _candidates(world: World, query: Mapping[str, str]) -> Sequence[tuple[Person, Post]]:
    """A channel's videos; without a channel one of each who stand beside the word that is searched for."""
    if "channelId" in query:
        person = channel_of(world.people, query["channelId"])
        return [] if person is None else [(person, post) for post in world.people.posts(person, 0, person.posts)]
    first = relations.behind_hashtag(world.people, query.get("q", ""))
    return relations.posts_of_others(world.people, first, 0, 160)


def threads(asked: Asked, world: World) -> Reply:
    name = asked.query["videoId"]
    found = video_of(world.people, name)
    if found is None:
        return _error(404, "videoNotFound", "youtube.commentThread", NO_VIDEO)
    person, post = found
    if takes_no_comments(post):
        return _error(403, "commentsDisabled", "youtube.commentThread", NO_COMMENTS)
    total = min(post.comments, MOST_COMMENTS, world.people.size // 2)

    def item(n: int) -> tuple[str, Mapping[str, Any]]:
        """The n-th from the newest on."""
        ordinal = total - 1 - n
        (said,) = relations.comments(world.people, person, post, ordinal, 1)
        own = f"Ugx{name}{ordinal}"
        replies = [_reply(world, own, person, said, each, name) for each in range(min(_replies(ordinal), 5))]
        first = _comment(world, own, said.author, said.text, said.at, said.likes, name)
        return own, {
            "snippet": {
                "channelId": channel_id(world.people, person.index),
                "videoId": name,
                "topLevelComment": first,
                "canReply": True,
                "totalReplyCount": _replies(ordinal),
                "isPublic": True,
            },
            **({"replies": {"comments": replies}} if replies else {}),
        }

    return _listing("commentThread", asked, total, name, item, largest=100)


def replies(asked: Asked, world: World) -> Reply:
    """What answers a comment, whose id names its video and its place there."""
    own = asked.query["parentId"]
    name, ordinal = own[3:14], own[14:]
    found = video_of(world.people, name)
    if found is None or not ordinal.isdecimal() or len(ordinal) > 4:
        return _error(404, "commentNotFound", "youtube.comment", NO_COMMENT)
    person, post = found
    said = relations.comments(world.people, person, post, int(ordinal), 1)
    if not said or takes_no_comments(post):
        return _error(404, "commentNotFound", "youtube.comment", NO_COMMENT)

    def item(n: int) -> tuple[str, Mapping[str, Any]]:
        made = _reply(world, own, person, said[0], n, name)
        # The reference shows the snippet of an answer without its video.
        return made["id"], {"snippet": {key: value for key, value in made["snippet"].items() if key != "videoId"}}

    return _listing("comment", asked, _replies(int(ordinal)), own, item, largest=100)


def _replies(ordinal: int) -> int:
    return 7 if ordinal % 4 == 1 else 0


def _reply(world: World, own: str, author: Person, said: relations.Comment, n: int, video: str) -> Mapping[str, Any]:
    return _comment(world, f"{own}.r{n + 1}", author, "🙏 thank you", said.at + 60 * (n + 1), 0, video)


def _comment(world: World, own: str, author: Person, text: str, at: int, likes: int, video: str) -> Mapping[str, Any]:
    parent = {"parentId": own.partition(".")[0]} if "." in own else {}
    return {
        "kind": "youtube#comment",
        "id": own,
        "snippet": {
            "authorDisplayName": f"@{author.handle}",
            "authorProfileImageUrl": _picture(world, "ytc", author.digest, "s48.jpg"),
            "authorChannelUrl": f"http://www.youtube.com/@{author.handle}",
            "authorChannelId": {"value": channel_id(world.people, author.index)},
            "videoId": video,
            "textDisplay": text,
            "textOriginal": text,
            **parent,
            "canRate": True,
            "viewerRating": "none",
            "likeCount": likes,
            "publishedAt": _iso(at),
            "updatedAt": _iso(at),
        },
    }


def languages(asked: Asked, _world: World) -> Reply:
    items = [(hl, {"snippet": {"hl": hl, "name": name}}) for hl, name in (("en", "English"), ("ar", "العربية"))]
    return _resources("i18nLanguage", asked, items)


def token(asked: Asked, _world: World) -> Reply:
    """Google's token endpoint, which knows every client."""
    form = dict(parse_qsl(asked.body.decode("utf-8", "replace")))
    if form.get("grant_type") != "refresh_token":
        return _no_token("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}")
    for name in ("client_id", "client_secret"):
        if not form.get(name):
            return _no_token("invalid_request", f"{name} is missing.")
    access = f"ya29.{token_urlsafe(60)}"
    asked.issue(access, TOKEN_LASTS)
    scope = "https://www.googleapis.com/auth/youtube.readonly"
    return reply({"access_token": access, "expires_in": TOKEN_LASTS, "scope": scope, "token_type": "Bearer"})


def _no_token(error: str, message: str) -> Reply:
    return reply({"error": error, "error_description": message}, 400)


def _resources(kind: str, asked: Asked, items: Sequence[tuple[Any, Mapping[str, Any]]]) -> Reply:
    """An answer that is no listing. As at YouTube, channels that are not there take the key `items` with them."""
    told: dict[str, Any] = {
        "kind": f"youtube#{kind}ListResponse",
        "etag": _etag(kind, len(items)),
        "pageInfo": {"totalResults": len(items), "resultsPerPage": len(items) or 5},
    }
    if items or kind != "channel":
        told["items"] = [_told(kind, asked, *item) for item in items]
    return reply(told)


def _told(kind: str, asked: Asked, name: Any, parts: Mapping[str, Any]) -> Mapping[str, Any]:
    wanted = asked.query["part"].split(",")
    shown = {part: value for part, value in parts.items() if part in wanted}
    return {"kind": f"youtube#{kind}", "etag": _etag(kind, name), "id": name, **shown}


def _listing(
    kind: str,
    asked: Asked,
    total: int,
    subject: str,
    make: Callable[[int], tuple[Any, Mapping[str, Any]]],
    *,
    largest: int = MANY,
    whole: str | None = None,
) -> Reply:
    size = asked.query.get("maxResults", "5")
    if not size.isdigit() or not int(size) <= largest:
        return _bad("invalidParameter", f"Invalid value '{size}'. Values must be within the range: [0, {largest}]", "maxResults")  # fmt: skip
    start = _offset(subject, asked.query.get("pageToken"))
    if start is None:
        return _bad("invalidPageToken", "The request specifies an invalid page token.", "pageToken")
    end = min(start + int(size), total)
    following = {"nextPageToken": _token(subject, end)} if end < total else {}
    previous = {"prevPageToken": _token(subject, max(0, start - int(size)))} if start else {}
    return reply(
        {
            "kind": f"youtube#{whole or f'{kind}ListResponse'}",
            "etag": _etag(kind, start),
            **following,
            **previous,
            "pageInfo": {"totalResults": total, "resultsPerPage": int(size)},
            "items": [_told(kind, asked, *make(n)) for n in range(start, end)],
        }
    )


def _token(subject: str, offset: int) -> str:
    seal = blake2b(f"{subject} {offset}".encode(), digest_size=6).digest()
    return base64.urlsafe_b64encode(offset.to_bytes(3, "big") + seal).decode()


def _offset(subject: str, token: str | None) -> int | None:
    """Where a page begins; `None` for the token of another listing."""
    if not token:
        return 0
    try:
        offset = int.from_bytes(base64.urlsafe_b64decode(token)[:3], "big")
    except ValueError:
        return None
    return offset if _token(subject, offset) == token else None


def requiring(answer: Callable[[Asked, World], Reply], *names: str) -> Callable[[Asked, World], Reply]:
    """An answer that is given only where the call says its parts, and these."""

    def checked(asked: Asked, world: World) -> Reply:
        for name in ("part", *names):
            if not asked.query.get(name):
                message = f"Required parameter: {name}" if name == "part" else "No filter selected."
                return _bad("missingRequiredParameter", message, name)
        return answer(asked, world)

    return checked


def _error(status: int, reason: str, domain: str, message: str, *, google: str = "", name: str = "") -> Reply:
    """YouTube's error; `google` is the reason of Google's own, which stands beside it, `name` the status in its words."""
    where = {} if domain in ("global", "usageLimits", "youtube.quota") else {"locationType": "parameter"}
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": google, "domain": "googleapis.com"}
    error: dict[str, Any] = {
        "code": status,
        "message": message,
        "errors": [{"message": message, "domain": domain, "reason": reason, **where}],
        **({"status": name} if name else {}),
        **({"details": [info]} if google else {}),
    }
    return reply({"error": error}, status)


def _bad(reason: str, message: str, parameter: str) -> Reply:
    return _error(400, reason, "youtube.parameter", f"{message} ({parameter})")


def _picture(world: World, folder: str, digest: str, name: str) -> str:
    host = world.cdn or ("https://i.ytimg.com" if folder == "vi" else "https://yt3.ggpht.com")
    return f"{host}/{folder}/{digest[:22]}/{name}"


def _rounded(number: int) -> int:
    """Three digits are told, the others are 0."""
    step: int = 10 ** max(0, len(str(number)) - 3)
    return number // step * step


def _duration(length: int) -> str:
    hours, rest = divmod(length, 3600)
    minutes, seconds = divmod(rest, 60)
    return "PT" + "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if n)


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _etag(*parts: Any) -> str:
    return base64.urlsafe_b64encode(blake2b(repr(parts).encode(), digest_size=20).digest()).decode().rstrip("=")


NO_PLAYLIST = "The playlist identified with the request's <code>playlistId</code> parameter cannot be found."
NO_VIDEO = "The video identified by the <code>videoId</code> parameter could not be found."
NO_COMMENT = "The specified comment could not be found."
NO_COMMENTS = "The video identified by the <code>videoId</code> parameter has disabled comments."
SPENT = 'The request cannot be completed because you have exceeded your <a href="/youtube/v3/getting-started#quota">quota</a>.'
NO_KEY = "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API."
NO_LOGIN = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential."
NO_PAGE = "<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title><p><b>404.</b> That’s an error."


def metric_spent(metric: str, per: str) -> Reply:
    message = (
        f"Quota exceeded for quota metric '{metric}' and limit '{metric} per {per}' of service 'youtube.googleapis.com' "
        "for consumer 'project_number:1'."
    )
    return _error(429, "rateLimitExceeded", "global", message, google="RATE_LIMIT_EXCEEDED", name="RESOURCE_EXHAUSTED")


def over_quota(_wait: float) -> Reply:
    return _error(403, "quotaExceeded", "youtube.quota", SPENT)


SEARCH = Operation("posts_by_search", "/search", requiring(search))
OTHERS = (
    Operation(
        "profile_by_handle",
        "/channels",
        requiring(channels("forHandle", lambda world, name: world.people.by_handle(name.removeprefix("@")))),
        when=lambda query: "forHandle" in query,
    ),
    Operation(
        "profile_by_username",
        "/channels",
        requiring(channels("forUsername", lambda world, name: world.people.by_handle(name))),
        when=lambda query: "forUsername" in query,
    ),
    Operation(
        "profile_by_id",
        "/channels",
        requiring(channels("id", lambda world, name: channel_of(world.people, name)), "id"),
    ),
    # A call that many requests share looks like one for many videos.
    Operation(
        "posts_by_ids", "/videos", requiring(videos, "id"), when=lambda query: "," in query.get("id", "")
    ),
    Operation("post_by_id", "/videos", requiring(videos, "id")),
    Operation("posts_by_playlist", "/playlistItems", requiring(playlist, "playlistId")),
    Operation("comments_by_post", "/commentThreads", requiring(threads, "videoId")),
    Operation("replies_by_comment", "/comments", requiring(replies, "parentId")),
    Operation("check", "/i18nLanguages", requiring(languages)),
)  # fmt: skip

double = ProviderDouble(
    name="ytapi",
    operations=(
        SEARCH,
        *OTHERS,
        Operation("token", "/token", token, cached=False, free=True, key_field="refresh_token"),
    ),
    refusals=Refusals(
        no_credential=_error(403, "forbidden", "global", NO_KEY, name="PERMISSION_DENIED"),
        revoked=_error(
            400,
            "badRequest",
            "global",
            "API key not valid. Please pass a valid API key.",
            google="API_KEY_INVALID",
            name="INVALID_ARGUMENT",
        ),
        over_limit=lambda _wait: metric_spent("Queries", "minute"),
        over_quota=over_quota,
        unknown_path=lambda _path: Reply(404, NO_PAGE.encode(), HTML),
        outage=_error(503, "backendError", "global", "The service is currently unavailable.", name="UNAVAILABLE"),
        revoked_in={
            "header": _error(401, "authError", "global", NO_LOGIN, name="UNAUTHENTICATED"),
            "form": _no_token("invalid_grant", "Token has been expired or revoked."),
        },
    ),
    limits=(
        Window(
            10_000,
            DAY,
            quota=True,
            calendar="America/Los_Angeles",
            operations=frozenset(operation.name for operation in OTHERS),
        ),
        Window(
            100,
            DAY,
            quota=True,
            calendar="America/Los_Angeles",
            operations=frozenset({SEARCH.name}),
            refusal=lambda _wait: metric_spent("Search Queries", "day"),
        ),
    ),
    credential_header="authorization",
    credential_query="key",
)
