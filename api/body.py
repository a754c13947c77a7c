"""Reading a JSON body from somebody who may mean no good: bounded in size and depth, and text that every store can hold."""

from typing import Any

import msgspec
from falcon.asgi import Request

from api.problems import PayloadTooLarge, UnsupportedMediaType
from beat_actors.errors import BadInput
from beat_actors.requests.intake import check_text

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_TEXT = 20_000


async def read_json(req: Request) -> Any:
    """The body's value. Raises `BadInput`, `PayloadTooLarge` or `UnsupportedMediaType`."""
    if (req.content_type or "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("send the body as application/json")
    if req.content_length is not None and req.content_length > MAX_BYTES:
        raise PayloadTooLarge(f"a body may have {MAX_BYTES} bytes")
    body = bytearray()
    async for chunk in req.stream:
        body += chunk
        if len(body) > MAX_BYTES:
            raise PayloadTooLarge(f"a body may have {MAX_BYTES} bytes")
    try:
        value = msgspec.json.decode(bytes(body))
    except RecursionError:
        raise BadInput(f"the body is nested more than {MAX_DEPTH} levels deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"the body is not JSON: {error}") from None
    check_value(value)
    return value


def check_value(value: Any, path: str = "$", depth: int = 1) -> None:
    """Raises `BadInput` where a text holds what is not text, or the value is nested too deeply."""
    if depth > MAX_DEPTH:
        raise BadInput(f"the body is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, str):
        check_text(value, path, longest=MAX_TEXT)
    elif isinstance(value, dict):
        for name, part in value.items():
            check_text(name, path, longest=200)
            check_value(part, f"{path}.{name}", depth + 1)
    elif isinstance(value, list):
        for i, part in enumerate(value):
            check_value(part, f"{path}[{i}]", depth + 1)
