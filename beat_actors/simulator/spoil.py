"""How an answer is spoiled: the malformed and the hostile faults."""

import gzip
import re
from typing import Any

import msgspec

from beat_actors.simulator.double import ENCODE, Reply
from beat_actors.simulator.faults import Kind

HTML = b"<!DOCTYPE html><html><head><title>Sorry, something went wrong.</title></head><body>Please try again later.</body></html>"
IDENTITY = ("username", "pk", "id", "followers_count", "follower_count", "shortcode", "code", "permalink")
COUNTS = re.compile(rb'"(followers_count|follower_count|like_count|media_count)":\d+')
NAMES = re.compile(rb'"(username|pk)":(?:"[^"]*"|\d+)')


def spoil(kind: Kind, reply: Reply) -> Reply:
    """The same answer with something wrong in it, still a 200."""
    if kind is Kind.HTML:
        return Reply(200, HTML, reply.headers, "text/html")
    if kind is Kind.TRUNCATED:
        return Reply(200, reply.body[: len(reply.body) // 2], reply.headers)
    if kind is Kind.MISSING_KEY:
        return Reply(200, ENCODE(_without(msgspec.json.decode(reply.body))), reply.headers)
    if kind is Kind.WRONG_TYPE:
        return Reply(200, NAMES.sub(rb'"\1":{"unexpected":true}', reply.body), reply.headers)
    if kind is Kind.WRONG_USER:
        return Reply(
            200, reply.body.replace(b'"username":"', b'"username":"not_').replace(b'"pk":', b'"pk":9'), reply.headers
        )
    if kind is Kind.CORRUPT:
        return Reply(200, COUNTS.sub(rb'"\1":-5', reply.body), reply.headers)
    raise ValueError(kind)


def bomb() -> bytes:
    """200 MB of zeros in 200 kB."""
    return gzip.compress(b"0" * 200_000_000, compresslevel=9)


def _without(value: Any) -> Any:
    """The same, without the keys that say whom or what it is about."""
    if isinstance(value, dict):
        return {name: _without(part) for name, part in value.items() if name not in IDENTITY}
    return [_without(part) for part in value] if isinstance(value, list) else value
