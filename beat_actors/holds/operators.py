"""Held records as operators see them: both values side by side, what other sources said, and what comes next."""

from datetime import datetime
from typing import Annotated, Any

import msgspec

from beat_actors.database import Statements, Transaction
from beat_actors.errors import BadInput, NotFound
from beat_actors.shapes import one_of
from beat_actors.trust.witnesses import State

STATES = tuple(State)


class HeldView(msgspec.Struct, frozen=True, kw_only=True):
    """A record that has to be confirmed before it is written. `fields`: those that are held; an empty name: the whole record. `known`: the values that
    are served; `says`: those that the source reports. `witnesses`: what other sources said. `asks`: the source that is being asked; `next_at`: when the
    record is looked at again. `state`: asking, waiting, person (a person has to decide), accepted or rejected."""

    id: int
    platform: str
    kind: str
    key: str
    account_id: str
    owner: str
    source: str
    operation: str
    parser_version: int
    fields: list[str]
    reasons: list[dict[str, Any]]
    score: int
    state: Annotated[str, one_of(STATES)]
    held_at: datetime
    next_at: datetime | None
    asks: str
    why: str
    decided_at: datetime | None
    decided_by: str | None
    observed_at: datetime
    request_id: int
    says: dict[str, Any]
    known: dict[str, Any]
    witnesses: list[dict[str, Any]]


SQL = Statements(__file__)
LIST = SQL("list", HeldView)
ONE = SQL("one", HeldView)


async def listed(
    transaction: Transaction, *, state: str | None = None, platform: str | None = None, limit: int = 100
) -> list[HeldView]:
    """Held records, those that wait for a person first. `state`: the default is any that is not decided. Raises `BadInput`."""
    if state is not None and state not in STATES:
        raise BadInput(f"state is one of {', '.join(STATES)}", field="state")
    return await transaction.rows(LIST, {"state": state, "platform": platform, "limit": limit})


async def one(transaction: Transaction, record_id: int) -> HeldView:
    """Raises `NotFound`."""
    found = await transaction.row(ONE, {"id": record_id})
    if found is None:
        raise NotFound(f"no held record has the id {record_id}")
    return found
