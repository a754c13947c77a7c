"""The frame of the Data API's answers: resources, lists with page tokens, errors."""

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from beat_actors.simulator.provider import Asked, Reply, World, reply

DAY = 86_400
MANY = 50
"""Items of a call for many, and of most pages."""


def resources(kind: str, asked: Asked, items: Sequence[tuple[Any, Mapping[str, Any]]]) -> Reply:
    """An answer without pages. As at YouTube, an answer without any channel has no key `items`."""
    told: dict[str, Any] = {
        "kind": f"youtube#{kind}ListResponse",
        "etag": etag(kind, len(items)),
        "pageInfo": {"totalResults": len(items), "resultsPerPage": len(items) or 5},
    }
    if items or kind != "channel":
        told["items"] = [_told(kind, asked, *item) for item in items]
    return reply(told)


def _told(kind: str, asked: Asked, name: Any, parts: Mapping[str, Any]) -> Mapping[str, Any]:
    wanted = asked.query["part"].split(",")
    shown = {part: value for part, value in parts.items() if part in wanted}
    return {"kind": f"youtube#{kind}", "etag": etag(kind, name), "id": name, **shown}


def listing(
    kind: str,
    asked: Asked,
    total: int,
    subject: str,
    make: Callable[[int], tuple[Any, Mapping[str, Any]]],
    *,
    largest: int = MANY,
    whole: str | None = None,
) -> Reply:
    size = asked.query.get("maxResults", "5")
    if not size.isdigit() or not int(size) <= largest:
        return bad("invalidParameter", f"Invalid value '{size}'. Values must be within the range: [0, {largest}]", "maxResults")  # fmt: skip
    start = _offset(subject, asked.query.get("pageToken"))
    if start is None:
        return bad("invalidPageToken", "The request specifies an invalid page token.", "pageToken")
    end = min(start + int(size), total)
    following = {"nextPageToken": _token(subject, end)} if end < total else {}
    previous = {"prevPageToken": _token(subject, max(0, start - int(size)))} if start else {}
    return reply(
        {
            "kind": f"youtube#{whole or f'{kind}ListResponse'}",
            "etag": etag(kind, start),
            **following,
            **previous,
            "pageInfo": {"totalResults": total, "resultsPerPage": int(size)},
            "items": [_told(kind, asked, *make(n)) for n in range(start, end)],
        }
    )


def _token(subject: str, offset: int) -> str:
    seal = blake2b(f"{subject} {offset}".encode(), digest_size=6).digest()
    return base64.urlsafe_b64encode(offset.to_bytes(3, "big") + seal).decode()


def _offset(subject: str, token: str | None) -> int | None:
    """Where a page begins; `None` for the token of another list."""
    if not token:
        return 0
    try:
        offset = int.from_bytes(base64.urlsafe_b64decode(token)[:3], "big")
    except ValueError:
        return None
    return offset if _token(subject, offset) == token else None


def requiring(answer: Callable[[Asked, World], Reply], *names: str) -> Callable[[Asked, World], Reply]:
    """The answer, for calls that name their parts and have these parameters; an error for any other call."""

    def checked(asked: Asked, world: World) -> Reply:
        for name in ("part", *names):
            if not asked.query.get(name):
                message = f"Required parameter: {name}" if name == "part" else "No filter selected."
                return bad("missingRequiredParameter", message, name)
        return answer(asked, world)

    return checked


def error(status: int, reason: str, domain: str, message: str, *, google: str = "", name: str = "") -> Reply:
    """An error. `google`: the reason that Google itself adds. `name`: the status in Google's words."""
    where = {} if domain in ("global", "usageLimits", "youtube.quota") else {"locationType": "parameter"}
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": google, "domain": "googleapis.com"}
    body: dict[str, Any] = {
        "code": status,
        "message": message,
        "errors": [{"message": message, "domain": domain, "reason": reason, **where}],
        **({"status": name} if name else {}),
        **({"details": [info]} if google else {}),
    }
    return reply({"error": body}, status)


def bad(reason: str, message: str, parameter: str) -> Reply:
    return error(400, reason, "youtube.parameter", f"{message} ({parameter})")


def picture(world: World, folder: str, digest: str, name: str) -> str:
    host = world.cdn or ("https://i.ytimg.com" if folder == "vi" else "https://yt3.ggpht.com")
    return f"{host}/{folder}/{digest[:22]}/{name}"


def iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def etag(*parts: Any) -> str:
    return base64.urlsafe_b64encode(blake2b(repr(parts).encode(), digest_size=20).digest()).decode().rstrip("=")
