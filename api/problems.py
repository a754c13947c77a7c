"""Answers to errors as application/problem+json, derived from the engine's error classes."""

import math
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import falcon
import msgspec
from falcon.asgi import App, Request, Response

from api import paths as routes
from api.conditions import RangeUnsatisfiable
from api.line import Busy
from beat_actors.assets.serving.bodies import TooManyStreams
from beat_actors.errors import (
    BadInput,
    BeatError,
    Conflict,
    CursorExpired,
    Forbidden,
    LimitsUnavailable,
    NotFound,
    NotFresh,
    ObjectMissing,
    ObjectsUnavailable,
    RateLimitError,
    RedisUnavailable,
    SecretMissing,
    StorageLost,
    StorageTooSlow,
    StorageUnavailable,
    SubjectErased,
    TooManyOpen,
    TooManyTests,
    Unauthenticated,
)
from beat_actors.logger import get_logger

log = get_logger(__name__)


class PayloadTooLarge(BadInput):
    """Payload too large"""

    code = "payload_too_large"


class BodyTooSlow(BadInput):
    """Body arrived too slowly"""

    code = "body_too_slow"


class TooManyCalls(BeatError):
    """Too many calls"""

    code = "too_many_calls"

    def __init__(self, limit: int, seconds: int) -> None:
        super().__init__(f"{limit} calls a minute are allowed; nothing was done. Try again in {seconds} s.")
        self.seconds = seconds


class TooManyBodies(BeatError):
    """Too many bodies at once"""

    code = "too_many_bodies"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; nothing was done. Send fewer at once.")


class BodyBroken(BadInput):
    """Body incomplete"""

    code = "body_broken"


class UnsupportedMediaType(BadInput):
    """Unsupported media type"""

    code = "unsupported_media_type"


STATUS: dict[type[BaseException], int] = {
    PayloadTooLarge: 413,
    UnsupportedMediaType: 415,
    BodyTooSlow: 408,
    BadInput: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    TooManyCalls: 429,
    TooManyBodies: 429,
    TooManyOpen: 429,
    TooManyTests: 429,
    NotFound: 404,
    SubjectErased: 451,
    CursorExpired: 410,
    NotFresh: 503,
    RateLimitError: 429,
    LimitsUnavailable: 503,
    Conflict: 409,
    StorageUnavailable: 503,
    RedisUnavailable: 503,
    ObjectsUnavailable: 503,
    ObjectMissing: 404,
    SecretMissing: 503,
    RangeUnsatisfiable: 416,
    TooManyStreams: 503,
    Busy: 503,
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


def install(app: App[Any, Any], paths: Callable[[], Iterable[str]]) -> None:
    """`paths`: the templates of the routes that the application serves."""
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(falcon.HTTPError, _http)

    async def no_route(req: Request, resp: Response, _error: Exception, _params: dict[str, Any], **_: Any) -> None:
        detail = routes.no_route(req.path, paths())
        _send(
            resp,
            {"type": "urn:beat:problem:no_route", "title": "No such route", "status": 404, "detail": detail},
        )

    app.add_error_handler(falcon.HTTPRouteNotFound, no_route)
    app.add_error_handler(falcon.HTTPMethodNotAllowed, _method)
    app.add_error_handler(BeatError, _beat)


async def _beat(req: Request, resp: Response, error: BeatError, _params: dict[str, Any], **_: Any) -> None:
    body = problem(error)
    req.context.problem = error.code
    if isinstance(error, StorageUnavailable):
        resp.set_header("Retry-After", "2")
        body["detail"] = UNKNOWN if isinstance(error, StorageTooSlow | StorageLost) else NOTHING
        log.error("storage_unavailable", error=str(error))
    elif isinstance(error, RedisUnavailable):
        resp.set_header("Retry-After", "2")
        body["detail"] = "Redis does not answer; nothing was changed in it. Try again shortly."
    elif isinstance(error, ObjectsUnavailable):
        resp.set_header("Retry-After", "10")
        body["detail"] = (
            "It lies in the bucket, which does not answer this process. Try again later, or read it by the command line."
        )
        log.error("objects_unavailable", error=str(error))
    elif isinstance(error, Unauthenticated):
        resp.set_header("WWW-Authenticate", 'Bearer realm="beat"')
    elif isinstance(error, Forbidden) and error.scope:
        resp.set_header("WWW-Authenticate", f'Bearer realm="beat", error="insufficient_scope", scope="{error.scope}"')
    elif isinstance(error, TooManyCalls | TooManyOpen | TooManyTests | Busy):
        resp.set_header("Retry-After", str(error.seconds))
    elif isinstance(error, TooManyBodies | TooManyStreams):
        resp.set_header("Retry-After", "1")
    elif isinstance(error, RangeUnsatisfiable):
        resp.set_header("Content-Range", f"bytes */{error.size}")
    elif isinstance(error, LimitsUnavailable):
        resp.set_header("Retry-After", "2")
        body["detail"] = "Redis timed out, so the remaining quota is unknown; nothing was accepted. Try again shortly."
        log.error("limits_unavailable", error=str(error))
    elif isinstance(error, NotFresh) and error.retry_after is not None:
        resp.set_header("Retry-After", str(max(1, math.ceil(error.retry_after))))
    _send(resp, body)


async def _http(_req: Request, resp: Response, error: falcon.HTTPError, _params: dict[str, Any], **_: Any) -> None:
    status = int(str(error.status)[:3])
    for name, value in dict(error.headers or {}).items():
        resp.set_header(name, value)
    title = error.title or "The request cannot be answered"
    detail = error.description or title
    _send(resp, {"type": f"urn:beat:problem:http_{status}", "title": title, "status": status, "detail": detail})


async def _method(req: Request, resp: Response, error: falcon.HTTPMethodNotAllowed, _: Any, **__: Any) -> None:
    allowed = (error.headers or {}).get("Allow", "")  # type: ignore[union-attr]
    resp.set_header("Allow", allowed)
    detail = routes.no_method(req.method, req.uri_template or req.path, allowed)
    _send(
        resp,
        {"type": "urn:beat:problem:no_method", "title": "Method not allowed", "status": 405, "detail": detail},
    )


async def _unexpected(req: Request, resp: Response, error: Exception, _params: dict[str, Any], **_: Any) -> None:
    _send(resp, unexpected(error, req.method, req.uri_template or ""))


def unexpected(error: Exception, method: str, route: str) -> dict[str, Any]:
    """The body for an unexpected error. The log has the error, under an id that is in the body.

    `route`: the template of the route, empty where none matched; a path holds handles, which the log is not to keep.
    """
    incident = uuid.uuid4().hex
    log.error("unexpected", incident=incident, method=method, route=route, exc_info=error)
    detail = f"Something went wrong here, not with the request. The log has it as {incident}."
    return {"type": "urn:beat:problem:internal", "title": "Internal error", "status": 500, "detail": detail}


def _send(resp: Response, body: dict[str, Any]) -> None:
    resp.status = body["status"]
    resp.content_type = "application/problem+json"
    resp.data = msgspec.json.encode(body)
