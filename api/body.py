"""Read JSON bodies of callers that may be hostile. A body is bounded in bytes, values, depth and time, and every store can hold its text.

The cheap checks come first. Bytes, values and depth are counted before anything is decoded; the body is decoded into the shape that
the route takes; and only a body that has the shape is searched for duplicate names and unfit text. A large body is decoded in a
thread, when it is the turn of its key (`api.room`), so that the event loop goes on answering others.
"""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
from falcon.asgi import Request

from api.access import caller_of, room_of
from api.deadline import at_work, uncounted
from api.problems import BodyTooSlow, PayloadTooLarge, UnsupportedMediaType
from api.room import Body, Turns
from beat_actors.errors import BadInput
from beat_actors.text import check_text, is_fit
from beat_actors.wording import explained

T = TypeVar("T")
MAX_BYTES = 64 << 10
MAX_LIST_BYTES = 1 << 20
"""The most bytes of a list of requests."""
MAX_SECONDS = 10.0
MAX_VALUES = 20_000
"""The most values of one body. The names of fields do not count. An empty list or object counts as two."""
MAX_DEPTH = 32
MAX_TEXT = 20_000
MAX_NAME = 200
BIGGEST = 2**63 - 1
"""What a PostgreSQL bigint holds."""
INLINE_BYTES = 8 << 10
"""A body up to this size is decoded on the event loop, a larger one in a thread."""

# An unterminated text matches as well, so that the search is linear whatever the body is.
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_STRUCTURE = bytes(set(range(256)) - set(b"[]{},"))
_OPENING = frozenset(b"[{")
_LARGE = ThreadPoolExecutor(max_workers=1, thread_name_prefix="body")


async def read(req: Request, shape: type[T], *, most: int = MAX_BYTES) -> T:
    """Read the body as a value of this shape. `most`: its most bytes. Raises `BadInput` and its kinds, `TooManyBodies`."""
    _check_type(req)
    key_id, room = caller_of(req).key_id, room_of(req)
    with uncounted(), room.body(key_id) as held:
        value = await _decoded(await _in_time(req, most, held), shape, room.turns, key_id)
    await at_work()
    return value


async def read_optional(req: Request, shape: type[T]) -> T:
    """As `read`. An empty body, with any headers, is the shape with its defaults. Raises `BadInput` and its kinds, `TooManyBodies`."""
    key_id, room = caller_of(req).key_id, room_of(req)
    with uncounted(), room.body(key_id) as held:
        body = await _in_time(req, MAX_BYTES, held)
        if body:
            _check_type(req)
        value = await _decoded(body, shape, room.turns, key_id) if body else shape()
    await at_work()
    return value


def decode(body: bytes, shape: type[T]) -> T:
    """Decode a body as a value of this shape. Raises `BadInput`."""
    _measure(body)
    try:
        value = msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise explained(error, shape) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"the body is not JSON: {error}") from None
    # Of two fields of one name msgspec keeps the last, and proxies and people the first. This decoder shows both.
    check_value(json.loads(body, object_pairs_hook=_refuse_twins))
    return value


def check_value(value: Any) -> None:
    """Raises `BadInput` where a text has characters that no store can hold, or a number is too large. The error names the place."""
    if not _is_fit(value):
        _name_unfit(value, "$")


def _check_type(req: Request) -> None:
    if (req.content_type or "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("send the body as application/json")
    if req.get_header("Content-Encoding") not in (None, "identity"):
        raise UnsupportedMediaType("send the body as it is, without a Content-Encoding")


async def _in_time(req: Request, most: int, held: Body) -> bytes:
    try:
        async with asyncio.timeout(MAX_SECONDS):
            return await _read(req, most, held)
    except TimeoutError:
        raise BodyTooSlow(f"the body did not arrive within {MAX_SECONDS:g} s") from None


async def _read(req: Request, most: int, held: Body) -> bytes:
    too_large = PayloadTooLarge(f"a body may have {most} bytes here")
    announced = req.content_length or 0
    if announced > most:
        raise too_large
    held.grow(announced)
    body = bytearray()
    async for chunk in req.stream:
        body += chunk
        if len(body) > most:
            raise too_large
        held.grow(len(body))
    return bytes(body)


async def _decoded(body: bytes, shape: type[T], turns: Turns, key_id: int) -> T:
    if len(body) <= INLINE_BYTES:
        return decode(body, shape)
    async with turns.of(key_id):
        return await asyncio.get_running_loop().run_in_executor(_LARGE, decode, body, shape)


def _measure(body: bytes) -> None:
    """Raises `BadInput` for more values or levels than a body may have. It makes a few passes over the bytes and decodes nothing."""
    opened = body.count(b"[") + body.count(b"{")
    if opened <= MAX_DEPTH and opened + body.count(b",") < MAX_VALUES:
        return
    too_many = BadInput(f"the body has more than {MAX_VALUES} values")
    # Each value is one text at most, and so is its name. To count a `\"` too many makes the number smaller, never larger.
    if body.count(b'"') - body.count(b'\\"') > 4 * MAX_VALUES:
        raise too_many
    structure = _TEXT.sub(b"", body).translate(None, _NOT_STRUCTURE)
    if structure.count(b",") + structure.count(b"[") + structure.count(b"{") >= MAX_VALUES:
        raise too_many
    level = 0
    for character in structure.translate(None, b","):
        level += 1 if character in _OPENING else -1
        if level > MAX_DEPTH:
            raise BadInput(f"the body is nested more than {MAX_DEPTH} levels deep")
        if level < 0:  # not JSON, as the decoder will say
            return


def _refuse_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen = set()
        for name, _ in pairs:
            if name in seen:
                raise BadInput(
                    f"the body says {name[:80]!r} twice in one object, and which is meant is not known", field=name[:80]
                )
            seen.add(name)
    return found


def _is_fit(value: Any) -> bool:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            if not is_fit(part, longest=MAX_TEXT):
                return False
        elif isinstance(part, int):
            if abs(part) > BIGGEST:
                return False
        elif isinstance(part, dict):
            if not all(is_fit(name, longest=MAX_NAME, one_line=True) for name in part):
                return False
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return True


def _name_unfit(value: Any, path: str) -> None:
    if isinstance(value, str):
        check_text(value, path, longest=MAX_TEXT)
    elif isinstance(value, int):
        if abs(value) > BIGGEST:
            raise BadInput(f"{path} is a number beyond {BIGGEST}", field=path)
    elif isinstance(value, dict):
        for name, part in value.items():
            check_text(name, f"a name in {path}", longest=MAX_NAME, one_line=True)
            _name_unfit(part, f"{path}.{name}")
    elif isinstance(value, list):
        for i, part in enumerate(value):
            _name_unfit(part, f"{path}[{i}]")
