"""What a fault does to an answer that was whole: pure functions over bodies."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from beat_actors.simulator.faults import Fault, FaultKind
from beat_actors.simulator.provider import HTML, Reply, Words, encode

IDENTITY = frozenset({"pk", "id", "ig_id", "username", "shortcode", "code", "permalink", "videoId"})
FOLLOWERS = frozenset({"followers_count", "follower_count", "edge_followed_by", "subscriberCount"})
METRICS = FOLLOWERS | {
    "follows_count", "following_count", "media_count", "like_count", "comments_count", "comment_count",
    "edge_follow", "edge_media_preview_like", "edge_liked_by", "edge_media_to_comment", "edge_owner_to_timeline_media",
    "viewCount", "likeCount", "commentCount", "videoCount",
}  # fmt: skip

PAGE = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body><h1>502 Bad Gateway</h1></body></html>"

NESTED = b'{"data":' * 50_000 + b"[" * 50_000
# On the text and not the value: no encoder writes a lone surrogate.
TEXT_END = re.compile(rb'(?<=[a-z])"(?=[,}\]])')
NUMBER = re.compile(rb":[0-9]+(?=[,}])")


def damaged(kind: FaultKind, fault: Fault, whole: Reply, own: Words) -> Reply:
    """The reply as `kind` leaves it. Kinds that are not about the body leave it as it is. `own`: the simulated provider's words beside these."""
    if kind is FaultKind.HTML:
        return Reply(200, PAGE, HTML)
    if kind is FaultKind.TRUNCATED:
        return Reply(whole.status, whole.body[: len(whole.body) // 2], whole.content_type, whole.headers)
    if kind is FaultKind.NESTED:
        return Reply(whole.status, NESTED, whole.content_type, whole.headers)
    if kind is FaultKind.UNSTORABLE:
        return Reply(whole.status, TEXT_END.sub(rb'\\u0000\\ud800"', whole.body), whole.content_type, whole.headers)
    if kind is FaultKind.HUGE:
        return Reply(whole.status, NUMBER.sub(b":" + b"9" * 100, whole.body), whole.content_type, whole.headers)
    rewrite = _rewriter(kind, fault, own)
    if rewrite is None:
        return whole
    try:
        value = msgspec.json.decode(whole.body)
    except msgspec.DecodeError:
        return whole
    return Reply(whole.status, encode(rewrite(value)), whole.content_type, whole.headers)


def _rewriter(kind: FaultKind, fault: Fault, own: Words) -> Callable[[Any], Any] | None:
    followers = FOLLOWERS | own.followers
    metrics = METRICS | own.followers | own.metrics
    if kind is FaultKind.MISSING_KEY:
        return lambda value: _without(value, IDENTITY | own.identity)
    if kind is FaultKind.WRONG_TYPE:
        return lambda value: _metrics(value, metrics, lambda number: {"value": number})
    if kind is FaultKind.CORRUPT and fault.body == "negative":
        return lambda value: _metrics(value, metrics, lambda number: -abs(number) - 1)
    if kind is FaultKind.CORRUPT:
        return lambda value: _metrics(value, followers if _has(value, followers) else metrics, lambda _number: 0)
    return None


def _without(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(each, names) for key, each in value.items() if key not in names}
    return [_without(each, names) for each in value] if isinstance(value, list) else value


def _metrics(value: Any, names: frozenset[str], change: Callable[[int], Any]) -> Any:
    """`value` with the named numbers changed, also where they are written as text; where a name holds an object, its `count`
    is the number."""
    if isinstance(value, list):
        return [_metrics(each, names, change) for each in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for key, each in value.items():
        if key in names and (isinstance(each, int) or (isinstance(each, str) and each.isdecimal())):
            made[key] = change(int(each))
        elif key in names and isinstance(each, dict) and isinstance(each.get("count"), int):
            made[key] = {**_metrics(each, names, change), "count": change(each["count"])}
        else:
            made[key] = _metrics(each, names, change)
    return made


def _has(value: Any, names: frozenset[str]) -> bool:
    if isinstance(value, dict):
        return any(key in names or _has(each, names) for key, each in value.items())
    return isinstance(value, list) and any(_has(each, names) for each in value)
