"""The shapes of the answers with data, and the ways to fill them."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from falcon.asgi import Request, Response

from api.calls import FOLLOW, answer, up_to
from api.replies import location
from beat_actors.assets.serving.links import MediaLink
from beat_actors.data import reading
from beat_actors.data.freshness import FRESH, HELD, PARTIAL, STALE, Freshness
from beat_actors.data.items import FieldOrigin, HeldNote, Item
from beat_actors.platforms.interface import Entity, Platform
from beat_actors.shapes import one_of

Fields = dict[str, FieldOrigin] | msgspec.UnsetType
Hidden = list[str] | msgspec.UnsetType


class FreshnessBlock(msgspec.Struct, kw_only=True):
    """The age of the data in an answer. `mode`: fresh, partial, stale, or held: a newer record of the thing has to be confirmed before it is
    served, and `held` says which fields of it, why, since when, and what comes next. `refresh`: the path of the request that refreshes the data.
    `fields`: those that the observation of `as_of` did not tell, each with the time and the source from which it is known."""

    mode: Annotated[str, one_of((FRESH, PARTIAL, STALE, HELD))]
    as_of: datetime | None
    source: str | None
    max_age: float
    why: str | None
    next_attempt_at: datetime | None
    refresh_started: bool
    refresh: str | None
    held: HeldNote | None
    fields: Fields = msgspec.UNSET


Media = dict[str, MediaLink] | msgspec.UnsetType


class ListedItem(msgspec.Struct, kw_only=True):
    """One item of a list. `hidden`: counts that their owner hides. `fields`: those that the observation of `as_of` did not tell."""

    id: str
    dimensions: dict[str, Any]
    metrics: dict[str, Any]
    as_of: datetime
    changed_at: datetime | None
    source: str
    score: int | None
    held: HeldNote | None
    media: Media = msgspec.UNSET
    hidden: Hidden = msgspec.UNSET
    fields: Fields = msgspec.UNSET


MOST_ALONG = 200
"""Items of each list that are answered along with a thing."""
LONGEST_AGE = 366 * 86_400
"""Seconds."""


AGE: dict[str, Any] = {"max_age": up_to(LONGEST_AGE), "allow_stale": bool}
PAGE: dict[str, Any] = {**AGE, "limit": up_to(reading.MAX_PAGE, least=1), "cursor": str}
HISTORY_PAGE = PAGE | {"since": datetime, "until": datetime}
VALUES: dict[str, Any] = {"dimensions": dict[str, Any], "metrics": dict[str, Any]}
OF = answer("ParentThing", kind=str, id=str)
THING = answer(
    "Thing",
    platform=str,
    kind=str,
    id=str,
    **VALUES,
    changed_at=datetime | None,
    score=int | None,
    media=(Media, msgspec.UNSET),
    hidden=(Hidden, msgspec.UNSET),
    freshness=FreshnessBlock,
)
ITEMS = answer(
    "ThingList", platform=str, kind=str, of=OF, items=list[ListedItem], next_cursor=str | None, freshness=FreshnessBlock
)
HISTORY = answer(
    "ThingHistory",
    platform=str,
    kind=str,
    of=OF,
    snapshots=list[reading.Snapshot],
    next_cursor=str | None,
    freshness=FreshnessBlock,
)
TO_COME = answer("RefreshPending", freshness=FreshnessBlock)
ANSWER_HEADERS = FOLLOW | {"ETag": "The version of the answer, for `If-None-Match`."}
IF_NONE_MATCH = {"If-None-Match": "The ETag of an answer that is there already: 304 if it is still the same."}


def freshness_block(found: Freshness) -> dict[str, Any]:
    """The freshness block of an answer."""
    block = msgspec.structs.asdict(found)
    if not found.fields:
        del block["fields"]
    refresh = None if found.refresh is None else location(found.refresh)
    return block | {"mode": found.shown_mode, "refresh": refresh}


def send_marked(req: Request, resp: Response, body: Mapping[str, Any]) -> None:
    """Answer with an ETag, or with 304 where the caller has this answer already."""
    encoded = msgspec.json.encode(body)
    mark = hashlib.blake2b(encoded, digest_size=12).hexdigest()
    resp.etag = mark
    if any(tag in ("*", mark) for tag in (req.if_none_match or ())):
        resp.status = 304
        return
    resp.content_type = "application/json"
    resp.data = encoded


def thing_body(platform: Platform, entity: Entity, item: Item, along: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """A thing, with the lists that are answered along with it."""
    dimensions, metrics = reading.split(entity, item.fields)
    return {
        "platform": platform.name,
        "kind": entity.kind,
        "id": item.fields[entity.key],
        "dimensions": dimensions,
        "metrics": metrics,
        "changed_at": item.changed_at,
        "score": item.score,
        **_media(item),
        **_hidden(item),
        **along,
    }


def item_body(entity: Entity, item: Item) -> dict[str, Any]:
    """A thing as a list shows it."""
    dimensions, metrics = reading.split(entity, item.fields)
    return {
        "id": item.fields[entity.key],
        "dimensions": dimensions,
        "metrics": metrics,
        "as_of": item.as_of,
        "changed_at": item.changed_at,
        "source": item.source,
        "score": item.score,
        "held": item.held,
        **_media(item),
        **_hidden(item),
        **({"fields": item.field_origins()} if item.older else {}),
    }


def _hidden(item: Item) -> dict[str, Any]:
    """The counts that their owner hides. Most things have none."""
    return {"hidden": item.hidden} if item.hidden else {}


def _media(item: Item) -> dict[str, Any]:
    """What is known of media fields. The fields themselves have our URLs then."""
    return {} if item.media is None else {"media": item.media}
