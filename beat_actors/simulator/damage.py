"""What a fault does to an answer that was whole: pure functions over bodies."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from beat_actors.simulator.corruption import METRICS, changed, corrupted
from beat_actors.simulator.faults import Fault, FaultKind
from beat_actors.simulator.provider import HTML, Reply, Words, encode

IDENTITY = frozenset({"pk", "id", "ig_id", "username", "shortcode", "code", "permalink", "videoId"})
PAGE = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body><h1>502 Bad Gateway</h1></body></html>"

NESTED = b'{"data":' * 50_000 + b"[" * 50_000
# On the text and not the value: no encoder writes a lone surrogate.
TEXT_END = re.compile(rb'(?<=[a-z])"(?=[,}\]])')
NUMBER = re.compile(rb":[0-9]+(?=[,}])")


def damaged(kind: FaultKind, fault: Fault, whole: Reply, own: Words, other: Reply | None = None) -> Reply:
    """The reply as `kind` leaves it. Kinds that are not about the body leave it as it is. `own`: the simulated provider's words beside these.
    `other`: the answer of another day or about another account, where the fault takes its numbers."""
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
    rewrite = _rewriter(kind, fault, own, other)
    if rewrite is None:
        return whole
    try:
        value = msgspec.json.decode(whole.body)
    except msgspec.DecodeError:
        return whole
    return Reply(whole.status, encode(rewrite(value)), whole.content_type, whole.headers)


def _rewriter(kind: FaultKind, fault: Fault, own: Words, other: Reply | None) -> Callable[[Any], Any] | None:
    if kind is FaultKind.MISSING_KEY:
        return lambda value: _without(value, IDENTITY | own.identity)
    if kind is FaultKind.WRONG_TYPE:
        metrics = METRICS | own.followers | own.likes | own.metrics
        return lambda value: changed(value, metrics, lambda number: {"value": number})
    if kind is FaultKind.CORRUPT:
        theirs = None if other is None or other.status != 200 else msgspec.json.decode(other.body)
        return lambda value: corrupted(fault.corruption, value, own, theirs)
    return None


def _without(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(each, names) for key, each in value.items() if key not in names}
    return [_without(each, names) for each in value] if isinstance(value, list) else value
