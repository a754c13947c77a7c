"""`as_of`: things as they were at a time, as Beat knew them then (`known=then`) or as is known of it by now (`known=now`)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from falcon.asgi import Request

from api.access import caller_of, reader_of
from api.parameters import moment, word
from beat_actors.data.items import Item
from beat_actors.database import Transaction
from beat_actors.errors import BadInput, NotFound
from beat_actors.moments import moment as in_words
from beat_actors.platforms.interface import Entity, Platform
from beat_actors.restoring.as_of import MOST, Moment, as_of
from beat_actors.shapes import one_of

KNOWN = ("then", "now")
AS_OF: dict[str, Any] = {"as_of": datetime, "known": Annotated[str, one_of(KNOWN)]}


def asked_for(req: Request) -> Moment | None:
    """The time that the query asks for. Raises `BadInput`."""
    at, known = moment(req, "as_of"), word(req, "known", AS_OF["known"])
    if at is None:
        if known is not None:
            raise BadInput("known says from which knowledge as_of is answered; give as_of too", field="known")
        return None
    return Moment(at, known == "now")


async def the_thing(
    req: Request, transaction: Transaction, platform: Platform, entity: Entity, item: Item, at: Moment
) -> Item:
    """A thing as it was. Raises `NotFound` where it was not observed by then."""
    key = str(item.fields[entity.key])
    found = await as_of(transaction, platform, entity, [key], at, reader_of(caller_of(req)))
    if key not in found:
        raise NotFound(f"{key} was not observed by {in_words(at.at)}, or what was is no longer kept")
    return found[key]


async def those_of(
    req: Request, transaction: Transaction, platform: Platform, entity: Entity, items: Sequence[Item], at: Moment
) -> list[Item]:
    """The things of a page as they were, without those that were not observed by then. Raises `BadInput` for more than `MOST`."""
    if len(items) > MOST:
        raise BadInput(f"with as_of a page has at most {MOST} items", field="limit")
    keys = [str(item.fields[entity.key]) for item in items]
    found = await as_of(transaction, platform, entity, keys, at, reader_of(caller_of(req)))
    return [found[key] for key in keys if key in found]
