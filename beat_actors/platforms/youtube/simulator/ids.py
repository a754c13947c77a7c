"""The ids of channels and videos, and the traits of a video, which its digest decides."""

import base64
from hashlib import blake2b

from beat_actors.simulator.population import VIDEO, Person, Population, Post

PRIVATE, DELETED = "private", "privacyStatusUnspecified"
NONE, LIVE, UPCOMING = "none", "live", "upcoming"


def channel_id(people: Population, index: int) -> str:
    return "UC" + _seal(people, "channel", index.to_bytes(6, "big"), 10)


def video_id(people: Population, index: int, ordinal: int) -> str:
    return _seal(people, "video", index.to_bytes(4, "big") + ordinal.to_bytes(2, "big"), 2)


def _seal(people: Population, what: str, number: bytes, size: int) -> str:
    """An id: a number and a seal on it. The id leads back to the number, and any other text is no id."""
    seal = blake2b(f"{people.seed} {what} ".encode() + number, digest_size=size).digest()
    return base64.urlsafe_b64encode(number + seal).decode().rstrip("=")


def _opened(people: Population, what: str, sealed: str, length: int, size: int) -> bytes | None:
    try:
        number = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))[:length]
    except ValueError:
        return None
    return number if len(number) == length and _seal(people, what, number, size) == sealed else None


def channel_of(people: Population, profile_id: str) -> Person | None:
    """The person whose channel has this id."""
    number = _opened(people, "channel", profile_id[2:], 6, 10) if profile_id.startswith("UC") else None
    return None if number is None else people.person(int.from_bytes(number, "big"))


def video_of(people: Population, post_id: str) -> tuple[Person, Post] | None:
    """A video that is not gone, and the person who made it."""
    number = _opened(people, "video", post_id, 6, 2)
    person = None if number is None else people.person(int.from_bytes(number[:4], "big"))
    if number is None or person is None or (ordinal := int.from_bytes(number[4:], "big")) >= person.posts:
        return None
    found = people.post(person, ordinal)
    return None if gone(found) else (person, found)


def gone(post: Post) -> str | None:
    """The status with which a playlist lists a video that is gone; `None` for a video that is there."""
    return {0: PRIVATE, 1: DELETED}.get(_dice(post, 0) % 24)


def hides_likes(post: Post) -> bool:
    return post.likes_hidden or _dice(post, 1) % 16 == 0


def takes_no_comments(post: Post) -> bool:
    return _dice(post, 2) % 16 == 0


def broadcast(person: Person, post: Post) -> str:
    """Whether the video is live or scheduled. Only the newest one of a channel may be."""
    return {3: UPCOMING, 4: LIVE}.get(person.index % 10, NONE) if post.ordinal == 0 else NONE


def _dice(post: Post, n: int) -> int:
    """The n-th number from 0 to 255 that the post's digest decides."""
    return int(post.digest[60 + 2 * n : 62 + 2 * n], 16)


def length(post: Post) -> int:
    """Seconds."""
    return 30 + _dice(post, 3) * 40 + _dice(post, 4)


def is_premiere(post: Post) -> bool:
    return post.kind == VIDEO and _dice(post, 5) % 4 == 0
