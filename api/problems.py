"""Errors as application/problem+json, derived from the engine's error classes in this one place."""

import math
import uuid
from typing import Any

import falcon
import msgspec
import structlog
from falcon.asgi import App, Request, Response

from beat_actors.errors import (
    BadInput,
    BeatError,
    Conflict,
    CursorExpired,
    LimitsUnavailable,
    NotFound,
    NotFresh,
    RateLimitError,
    RedisUnavailable,
    StorageLost,
    StorageTooSlow,
    StorageUnavailable,
    Unauthenticated,
)

log = structlog.get_logger(__name__)


class PayloadTooLarge(BadInput):
    """The body is larger than is accepted."""

    code = "payload_too_large"


class BodyTooSlow(BadInput):
    """The body did not arrive in time."""

    code = "body_too_slow"


class Forbidden(BeatError):
    """The key does not allow this."""

    code = "forbidden"

    def __init__(self, message: str, *, scope: str | None = None) -> None:
        super().__init__(message)
        self.scope = scope


class TooManyCalls(BeatError):
    """The key calls more often than it may."""

    code = "too_many_calls"

    def __init__(self, limit: int, seconds: int) -> None:
        super().__init__(f"{limit} calls a minute are allowed; nothing was done. Try again in {seconds} s.")
        self.seconds = seconds


class UnsupportedMediaType(BadInput):
    """The body is not of a type that is understood."""

    code = "unsupported_media_type"


STATUS: dict[type[BaseException], int] = {
    PayloadTooLarge: 413,
    UnsupportedMediaType: 415,
    BodyTooSlow: 408,
    BadInput: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    TooManyCalls: 429,
    NotFound: 404,
    CursorExpired: 410,
    NotFresh: 503,
    RateLimitError: 429,
    LimitsUnavailable: 503,
    Conflict: 409,
    StorageUnavailable: 503,
    RedisUnavailable: 503,
}


NOTHING = "The database does not answer; nothing was accepted or changed. Try again shortly."
UNKNOWN = (
    "The database did not answer in time, and whether it accepted or changed anything is not known. Try again shortly; "
    "with the same Idempotency-Key nothing is accepted twice."
)


def problem(error: BeatError) -> dict[str, Any]:
    """The body for an error: a stable `type`, a `title` that names its kind, and a `detail` that says what happened."""
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
    body: dict[str, Any] = {
        "type": f"urn:beat:problem:{error.code}",
        "title": (type(error).__doc__ or "").partition("\n")[0],
        "status": status,
        "detail": str(error),
    }
    if isinstance(error, RateLimitError):
        body |= {"code": error.NUMBER, "limit": error.limit, "retry_after": math.ceil(error.retry_after)}
    field = getattr(error, "field", None)
    return body | ({"field": field} if field else {})


def install(app: App[Any, Any]) -> None:
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(falcon.HTTPError, _http)
    app.add_error_handler(BeatError, _beat)
    app.add_error_handler(RecursionError, _too_deep)


async def _beat(_req: Request, resp: Response, error: BeatError, _params: dict[str, Any], **_: Any) -> None:
    body = problem(error)
    if isinstance(error, StorageUnavailable):
        resp.set_header("Retry-After", "2")
        body["detail"] = UNKNOWN if isinstance(error, StorageTooSlow | StorageLost) else NOTHING
        log.error("storage_unavailable", error=str(error))
    elif isinstance(error, RedisUnavailable):
        resp.set_header("Retry-After", "2")
        body["detail"] = "Redis does not answer; nothing was changed in it. Try again shortly."
    elif isinstance(error, Unauthenticated):
        resp.set_header("WWW-Authenticate", 'Bearer realm="beat"')
    elif isinstance(error, Forbidden) and error.scope:
        resp.set_header("WWW-Authenticate", f'Bearer realm="beat", error="insufficient_scope", scope="{error.scope}"')
    elif isinstance(error, TooManyCalls):
        resp.set_header("Retry-After", str(error.seconds))
    elif isinstance(error, LimitsUnavailable):
        resp.set_header("Retry-After", "2")
    elif isinstance(error, NotFresh) and error.retry_after is not None:
        resp.set_header("Retry-After", str(max(1, math.ceil(error.retry_after))))
    _send(resp, body)


async def _too_deep(_req: Request, resp: Response, _error: Exception, _params: dict[str, Any], **_: Any) -> None:
    _send(resp, problem(BadInput("the body is nested too deeply")))


async def _http(_req: Request, resp: Response, error: falcon.HTTPError, _params: dict[str, Any], **_: Any) -> None:
    status = int(str(error.status)[:3])
    for name, value in dict(error.headers or {}).items():
        resp.set_header(name, value)
    title = error.title or "The request cannot be answered"
    detail = error.description or title
    _send(resp, {"type": f"urn:beat:problem:http_{status}", "title": title, "status": status, "detail": detail})


async def _unexpected(req: Request, resp: Response, error: Exception, _params: dict[str, Any], **_: Any) -> None:
    """What happened stays in the log, under an id that the caller can give."""
    incident = uuid.uuid4().hex
    log.error("unexpected", incident=incident, method=req.method, path=req.path, exc_info=error)
    detail = f"Something went wrong here, not with the request. The log has it as {incident}."
    _send(resp, {"type": "urn:beat:problem:internal", "title": "Internal error", "status": 500, "detail": detail})


def _send(resp: Response, body: dict[str, Any]) -> None:
    resp.status = body["status"]
    resp.content_type = "application/problem+json"
    resp.data = msgspec.json.encode(body)
