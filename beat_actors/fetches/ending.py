"""How a fetch ends without an answer, and until when one that is open may be claimed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from beat_actors.database import Statements, Transaction, jsonb
from beat_actors.fetches.states import Stage

SQL = Statements(__file__)


class Failed(NamedTuple):
    """A fetch that has failed with `error`, of this run of its request. `witness_of`: the held record that it asked about."""

    id: int
    request_id: int
    run: int
    is_first: bool
    error: dict[str, Any]
    platform: str
    flow: str
    priority: int
    witness_of: int | None


FAIL = SQL("fail", Failed)
DATE = SQL("date", str)


async def fail(
    transaction: Transaction, errors: Sequence[tuple[int, dict[str, Any]]], *, stages: Sequence[Stage]
) -> list[Failed]:
    """End these fetches (id, error) as FAILED if they are still in one of `stages`. Their requests are the caller's:
    `requests.lifecycle.fail_fetches` does both."""
    rows = jsonb([{"id": fetch_id, "error": error} for fetch_id, error in errors])
    return await transaction.rows(FAIL, {"errors": rows, "stages": list(stages)})


async def date(transaction: Transaction, request_ids: Sequence[int]) -> set[str]:
    """Give the open fetches of these requests, or of their leaders, the last deadline of the requests that still wait; their platforms."""
    return set(await transaction.rows(DATE, {"ids": list(request_ids)}))
