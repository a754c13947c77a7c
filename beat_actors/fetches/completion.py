"""How a stage ends: its effect and the fetch's transition in one statement, fenced by the claim. No row means that the claim was taken over."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from beat_actors.database import Statements, Transaction, arrays, jsonb
from beat_actors.fetches.claims import CalledFetch, Retrieved
from beat_actors.fetches.holding import Claim

SQL = Statements(__file__)


class Answered(CalledFetch, frozen=True):
    """A fetch whose call is committed; `i` is its place among the calls. Where it `goes_on`, it is claimed for ingest as well, and has what a
    claim has; else `flow`, `account_id`, `request_params` and `items` are None, and `payload_at` too where there is no payload."""

    i: int
    goes_on: bool
    payload_at: datetime | None
    flow: str | None
    account_id: str | None
    request_params: dict[str, Any] | None
    items: int | None

    def claimed(self, body: bytes, next_cursor: str | None) -> Retrieved:
        """The claim for ingest, of one that goes on."""
        fields = {name: getattr(self, name) for name in OF_BOTH}
        return Retrieved(**fields, body=body, next_cursor=next_cursor, poison=False, waited=0.0)


OF_BOTH = tuple(name for name in Retrieved.__struct_fields__ if name in Answered.__struct_fields__)
ANSWERED = SQL("answered", Answered)
UNUSED = SQL("unused", int)
READ = SQL("read", int)
WRITTEN_AT_ONCE = SQL("written_at_once", int)
WRITTEN = SQL("written", int)


async def answered(
    transaction: Transaction,
    calls: Sequence[dict[str, Any]],
    payloads: Sequence[tuple[int, bytes, str | None]],
) -> list[Answered]:
    """Commit calls that were made. `payloads`: (i, packed body, next cursor) of those that went well."""
    values = {"calls": jsonb(calls), **arrays(payloads, "indexes", "bodies", "cursors")}
    return await transaction.rows(ANSWERED, values | {"lease": transaction.settings.stage_lease})


async def unused(transaction: Transaction, claims: Sequence[Claim]) -> set[int]:
    """End these claims of leases, for which no call was made; those that stood."""
    return set(await transaction.rows(UNUSED, _fenced(claims)))


async def read(
    transaction: Transaction, results: Sequence[dict[str, Any]], records: Sequence[tuple[int, bytes]]
) -> set[int]:
    """Commit what was read. `results`: an object for each fetch; `records`: (fetch, packed records) of those that have some."""
    return set(await transaction.rows(READ, {"results": jsonb(results), **arrays(records, "ids", "records")}))


async def written_at_once(transaction: Transaction, done: Sequence[tuple[Claim, int]]) -> set[int]:
    """End fetches (claim, version of the parser) that were read and are written in this transaction; those that may be."""
    values = _fenced([claim for claim, _ in done]) | {"versions": [version for _, version in done]}
    return set(await transaction.rows(WRITTEN_AT_ONCE, values))


async def written(transaction: Transaction, claims: Sequence[Claim]) -> set[int]:
    """End fetches that are written in this transaction; those that may be."""
    return set(await transaction.rows(WRITTEN, _fenced(claims)))


def _fenced(claims: Sequence[Claim]) -> dict[str, list[int]]:
    return {"ids": [claim.id for claim in claims], "fences": [claim.fence for claim in claims]}
