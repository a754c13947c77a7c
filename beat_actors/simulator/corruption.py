"""Answers that are well-formed and false, in the ways of real bugs. Pure functions over bodies that were decoded.

The truth is kept where it was: `/_simulator/people/NAME` says what is true, whatever the answers say.
"""

from collections.abc import Callable, Mapping
from typing import Any

from beat_actors.simulator.provider import Words

FOLLOWERS = frozenset({"followers_count", "follower_count", "edge_followed_by", "subscriberCount"})
LIKES = frozenset({"like_count", "edge_media_preview_like", "edge_liked_by", "likeCount"})
METRICS = FOLLOWERS | LIKES | {
    "follows_count", "following_count", "media_count", "comments_count", "comment_count",
    "edge_follow", "edge_media_to_comment", "edge_owner_to_timeline_media",
    "viewCount", "commentCount", "videoCount",
}  # fmt: skip
SWAPPED = (
    ("followers_count", "follows_count"), ("follower_count", "following_count"), ("edge_followed_by", "edge_follow"),
    ("like_count", "comment_count"), ("like_count", "comments_count"), ("edge_media_preview_like", "edge_media_to_comment"),
    ("edge_liked_by", "edge_media_to_comment"), ("likeCount", "commentCount"), ("subscriberCount", "videoCount"),
)  # fmt: skip
"""Counts that a parser takes for each other."""
CHANGES: Mapping[str, Callable[[int], int]] = {
    "zero": lambda _number: 0,
    "negative": lambda number: -abs(number) - 1,
    # Raw counts taken for thousands, and thousands for raw counts: 12.3K becomes 12.
    "thousandfold": lambda number: number * 1000,
    "thousandth": lambda number: number // 1000 if number >= 1000 else number,
    "digit": lambda number: number // 10,
    "subset": lambda number: number * 85 // 100,
    # What is left of a number a million times as large in 32 bits with a sign.
    "int32": lambda number: (number * 1_000_000 + 2**31) % 2**32 - 2**31,
    "three": lambda _number: 3,
}
OF_OTHER_ANSWERS = frozenset({"stale", "other"})
"""The numbers come from the same answer of an earlier day, or from the answer about another account."""
WHOLE = "identity"
"""The whole answer is the one about another account."""


def corrupted(kind: str, value: Any, own: Words, other: Any) -> Any:
    """The decoded body with false numbers; of `WHOLE`, which is false already, as it is. `own`: the simulated provider's words. `other`: the answer that `OF_OTHER_ANSWERS` take them from."""
    if kind == WHOLE:
        return value
    followers, metrics = FOLLOWERS | own.followers, METRICS | own.followers | own.likes | own.metrics
    if kind in OF_OTHER_ANSWERS:
        return _taken(value, other, metrics)
    if kind == "swapped":
        return _swapped(value, (*own.swapped, *SWAPPED))
    if kind == "three":
        return changed(value, LIKES | own.likes, CHANGES[kind])
    only_followers = kind == "zero" and _has(value, followers)
    return changed(value, followers if only_followers else metrics, CHANGES[kind])


def changed(value: Any, names: frozenset[str], change: Callable[[int], Any]) -> Any:
    """`value` with the named numbers changed, also where they are written as text; where a name holds an object, its `count`
    is the number."""
    if isinstance(value, list):
        return [changed(each, names, change) for each in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for key, each in value.items():
        if key in names and (isinstance(each, int) or (isinstance(each, str) and each.isdecimal())):
            made[key] = change(int(each))
        elif key in names and isinstance(each, dict) and isinstance(each.get("count"), int):
            made[key] = {**changed(each, names, change), "count": change(each["count"])}
        else:
            made[key] = changed(each, names, change)
    return made


def _taken(value: Any, other: Any, names: frozenset[str]) -> Any:
    """`value` with the named numbers of `other`, where both have the same place."""
    if isinstance(value, list) and isinstance(other, list):
        taken = [_taken(one, two, names) for one, two in zip(value, other, strict=False)]
        return taken + value[len(taken) :]
    if not isinstance(value, dict) or not isinstance(other, dict):
        return value
    made: dict[str, Any] = {}
    for key, each in value.items():
        theirs = other.get(key)
        if key in names and isinstance(each, int | str) and isinstance(theirs, int | str):
            made[key] = theirs
        elif (
            key in names
            and isinstance(each, dict)
            and isinstance(theirs, dict)
            and "count" in each
            and "count" in theirs
        ):
            made[key] = {**_taken(each, theirs, names), "count": theirs["count"]}
        else:
            made[key] = _taken(each, theirs, names)
    return made


def _swapped(value: Any, pairs: tuple[tuple[str, str], ...]) -> Any:
    if isinstance(value, list):
        return [_swapped(each, pairs) for each in value]
    if not isinstance(value, dict):
        return value
    made = {key: _swapped(each, pairs) for key, each in value.items()}
    done: set[str] = set()
    for one, other in pairs:
        if one in made and other in made and not done & {one, other}:
            made[one], made[other] = made[other], made[one]
            done |= {one, other}
    return made


def _has(value: Any, names: frozenset[str]) -> bool:
    if isinstance(value, dict):
        return any(key in names or _has(each, names) for key, each in value.items())
    return isinstance(value, list) and any(_has(each, names) for each in value)
