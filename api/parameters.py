"""Read the parameters of a path, of a query and of the header Prefer. Each function raises `BadInput` for any other text."""

from datetime import datetime
from typing import Any

from falcon.asgi import Request

from api.queries import TAG, words_of
from api.waiting import LONGEST
from beat_actors.errors import BadInput
from beat_actors.moments import in_utc


def wait_of(req: Request) -> int:
    """Seconds that the caller would wait: `wait` of the query, or of the header Prefer (RFC 7240), which is only a wish and raises nothing."""
    if req.get_param("wait") is not None:
        return whole(req, "wait", default=0, most=LONGEST)
    for preference in (req.get_header("Prefer") or "").split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        text = value.strip().strip('"')
        if name.strip().lower() == "wait" and text.isascii() and text.isdigit() and len(text) <= 9:
            return min(int(text), LONGEST)
    return 0


def row_id(text: str, named: str = "id") -> int:
    """The number of a row, from a path. `named`: what the path calls it."""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) >= 2**63:
        raise BadInput(f"{named} in the path must be a number", field=named)
    return int(text)


def whole(req: Request, name: str, *, default: int, most: int) -> int:
    """A query parameter that is a whole number from 0 to `most`."""
    text = req.get_param(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > most:
        raise BadInput(f"{name} must be a whole number from 0 to {most}", field=name)
    return int(text)


def number(req: Request, name: str) -> int | None:
    """A query parameter that is the number of a row."""
    text = req.get_param(name)
    return None if text is None else row_id(text, name)


def switch(req: Request, name: str, *, default: bool = False) -> bool:
    """A query parameter that is `true` or `false`."""
    text = req.get_param(name)
    if text not in (None, "", "true", "false"):
        raise BadInput(f"{name} must be true or false", field=name)
    return text == "true" if text else default


def page_of(req: Request, most: int, *, default: int = 100) -> tuple[int, str | None]:
    """`limit`, which is at least 1, and `cursor`, which is `None` for the first page."""
    limit = whole(req, "limit", default=default, most=most)
    if limit < 1:
        raise BadInput(f"limit must be a whole number from 1 to {most}", field="limit")
    return limit, req.get_param("cursor")


def moment(req: Request, name: str) -> datetime | None:
    """A query parameter that is an instant with its time zone."""
    text = req.get_param(name)
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise BadInput(f"{name} must be a time with its zone, such as 2030-01-31T12:00:00Z", field=name)
    return in_utc(parsed, name)


def word(req: Request, name: str, kind: Any) -> str | None:
    """A query parameter that is one of the words of its declared type, as the type writes it; any case is taken."""
    text = req.get_param(name)
    return next((each for each in words_of(kind) if text is not None and each.casefold() == text.casefold()), text)


def tags_of(req: Request) -> dict[str, str]:
    """The tags that a query names, as `tag.NAME=VALUE`."""
    return {name.removeprefix(TAG): str(value) for name, value in req.params.items() if name.startswith(TAG)}
