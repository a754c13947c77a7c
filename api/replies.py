"""Write answers."""

from typing import Any

import msgspec
from falcon.asgi import Response


def send(resp: Response, value: Any) -> None:
    """Answer with a value as JSON."""
    resp.content_type = "application/json"
    resp.data = msgspec.json.encode(value)


def location(request_id: int) -> str:
    """The path of a request."""
    return f"/v1/scrape-requests/{request_id}"
