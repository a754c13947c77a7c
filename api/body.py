"""Reading a JSON body from somebody who may mean no good: bounded in size, time and depth, and of values that every store can hold."""

import asyncio
import json
from typing import Any, TypeVar

import msgspec
from falcon.asgi import Request

from api.patience import elsewhere
from api.problems import BodyTooSlow, PayloadTooLarge, UnsupportedMediaType
from beat_actors.errors import BadInput
from beat_actors.text import check_text

T = TypeVar("T")
MAX_BYTES = 1 << 20
MAX_SECONDS = 10.0
MAX_DEPTH = 32
MAX_TEXT = 20_000
MAX_NAME = 200
BIGGEST = 2**63 - 1
"""What a PostgreSQL bigint holds."""


async def read_json(req: Request) -> Any:
    """The body's value. Raises `BadInput` and its kinds."""
    _check_type(req)
    return _decoded(await _in_time(req))


async def read_optional(req: Request, shape: type[T]) -> T:
    """The body as one of these; where there is none, whatever its headers say, one that says nothing. Raises `BadInput` and its kinds."""
    body = await _in_time(req)
    if not body:
        return shape()
    _check_type(req)
    return as_shape(_decoded(body), shape)


async def read(req: Request, shape: type[T]) -> T:
    """The body as one of these. Raises `BadInput` and its kinds."""
    return as_shape(await read_json(req), shape)


def as_shape(value: Any, shape: type[T]) -> T:
    """Raises `BadInput` where it is none."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise BadInput(f"the body is not as it should be: {error}") from None


def _check_type(req: Request) -> None:
    if (req.content_type or "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("send the body as application/json")
    if req.get_header("Content-Encoding") not in (None, "identity"):
        raise UnsupportedMediaType("send the body as it is, without a Content-Encoding")


async def _in_time(req: Request) -> bytes:
    try:
        with elsewhere():
            async with asyncio.timeout(MAX_SECONDS):
                return await _read(req)
    except TimeoutError:
        raise BodyTooSlow(f"the body did not arrive within {MAX_SECONDS:g} s") from None


def _decoded(body: bytes) -> Any:
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise BadInput(f"the body is nested more than {MAX_DEPTH} levels deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"the body is not JSON: {error}") from None
    check_value(value)
    # Of two fields of one name that decoder keeps the last, and proxies and people the first. This one tells of them.
    json.loads(body, object_pairs_hook=_refuse_twins)
    return value


def _refuse_twins(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) == len(pairs):
        return
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise BadInput(
                f"the body says {name[:80]!r} twice in one object, and which is meant is not known", field=name[:80]
            )
        seen.add(name)


async def _read(req: Request) -> bytes:
    too_large = PayloadTooLarge(f"a body may have {MAX_BYTES} bytes")
    if req.content_length is not None and req.content_length > MAX_BYTES:
        raise too_large
    body = bytearray()
    async for chunk in req.stream:
        body += chunk
        if len(body) > MAX_BYTES:
            raise too_large
    return bytes(body)


def check_value(value: Any, path: str = "$", depth: int = 1) -> None:
    """Raises `BadInput` where a text holds what is not text, a number is too large, or the value is nested too deeply."""
    if depth > MAX_DEPTH:
        raise BadInput(f"the body is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, str):
        check_text(value, path, longest=MAX_TEXT)
    elif isinstance(value, int):
        if abs(value) > BIGGEST:
            raise BadInput(f"{path} is a number beyond {BIGGEST}", field=path)
    elif isinstance(value, dict):
        for name, part in value.items():
            check_text(name, f"a name in {path}", longest=MAX_NAME, one_line=True)
            check_value(part, f"{path}.{name}", depth + 1)
    elif isinstance(value, list):
        for i, part in enumerate(value):
            check_value(part, f"{path}[{i}]", depth + 1)
