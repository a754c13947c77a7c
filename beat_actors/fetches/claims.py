"""Claims: how a process takes a fetch, for its call or for a stage after it. Each claim raises the fence that the stage's commit carries."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import msgspec

from beat_actors.database import Database, Statement, Statements, Transaction

ISOLATE_AFTER = 3
"""Tries of a stage after which a fetch is isolated: it may be what kills the workers."""
SQL = Statements(__file__)
T = TypeVar("T")


class Lease(NamedTuple):
    """A claimed call. `use_from` (None: at once), `use_until`, `claimed_at`: epoch seconds. `call_of`: the fetch whose call answers this
    one. `key_id`, `secret`, `generation`: the credential's, None only where it is gone and the lease is handed back. `subject` and
    `halvings`: for whom, and how often, the source asked for smaller pages. `waited`: seconds since it was handed over."""

    id: int
    request_id: int
    fence: int
    attempt: int
    stage: str
    platform: str
    operation: str
    params: dict[str, Any]
    cursor: str | None
    page: int
    owner: str | None
    source: str
    priority: int
    call_of: int | None
    credential_id: int
    probe: bool
    use_until: float
    use_from: float | None
    claimed_at: float
    key_id: str
    secret: bytes
    generation: int
    subject: str
    halvings: int
    waited: float


class CalledFetch(msgspec.Struct, frozen=True):
    """A fetch whose call was made. `witness_of`: the held record that it asks about."""

    id: int
    request_id: int
    fence: int
    platform: str
    operation: str
    params: dict[str, Any]
    cursor: str | None
    page: int
    owner: str | None
    listing: dict[str, Any] | None
    source: str
    credential_id: int
    probe: bool
    run: int
    priority: int
    is_first: bool
    parser_version: int | None
    stage_attempts: int
    witness_of: int | None


class Retrieved(CalledFetch, frozen=True):
    """A fetch whose answer is stored. `waited`: seconds since it was handed over. `body`: the packed answer. `poison`: it was tried too often,
    and comes without its body. `items`: of the whole request so far."""

    payload_at: datetime
    poison: bool
    waited: float
    body: bytes | None
    next_cursor: str | None
    flow: str
    account_id: str | None
    request_params: dict[str, Any]
    items: int


class Ingested(NamedTuple):
    """A fetch of which the packed `records` are kept, to be written. `waited`: seconds since it was handed over. `poison`: it was tried too
    often."""

    id: int
    request_id: int
    run: int
    fence: int
    platform: str
    flow: str
    operation: str
    params: dict[str, Any]
    source: str
    parser_version: int | None
    priority: int
    page: int
    records: bytes
    is_first: bool
    payload_at: datetime
    owner: str | None
    account_id: str | None
    witness_of: int | None
    poison: bool
    waited: float


LEASES = SQL("leases", Lease)
SEALED = SQL("sealed", str)
RETRIEVED = SQL("retrieved", Retrieved)
INGESTED = SQL("ingested", Ingested)


async def claim_leases(
    transaction: Transaction, ids: Sequence[int], keys: Sequence[str], *, within: float, most: float, ahead: float
) -> list[Lease]:
    """Claim what may be called, and take back what may not, whose rows say SETTLING. `keys`: those of the vault that this process has. `within`,
    `most`, `ahead`: seconds from `use_from` to the lease's end, that it may last, and that it may begin later."""
    values = {"ids": list(ids), "keys": list(keys), "within": within, "most": most, "ahead": ahead}
    return await transaction.rows(LEASES, values | {"lease": transaction.settings.stage_lease})


async def keys_wanted(transaction: Transaction, ids: Sequence[int], keys: Sequence[str]) -> list[str]:
    """The keys of the vault that leases among these want and this process does not have."""
    return await transaction.rows(SEALED, {"ids": list(ids), "keys": list(keys)})


async def claim_retrieved(database: Database, ids: Sequence[int], *, isolated: bool) -> list[Retrieved]:
    """Claim those of these fetches whose answer is stored. `isolated`: this process holds nothing else, so fetches may be claimed that are to be isolated."""
    return await _claim(database, RETRIEVED, ids, isolated)


async def claim_ingested(database: Database, ids: Sequence[int], *, isolated: bool) -> list[Ingested]:
    """Claim those of these fetches whose records are kept. `isolated`: this process holds nothing else, so fetches may be claimed that are to be isolated."""
    return await _claim(database, INGESTED, ids, isolated)


async def _claim(database: Database, statement: Statement[T], ids: Sequence[int], isolated: bool) -> list[T]:
    settings = database.settings
    values = {
        "lease": settings.stage_lease,
        "attempts": settings.stage_attempts,
        "isolate_after": ISOLATE_AFTER,
        "isolated": isolated,
    }
    async with database.transaction() as transaction:
        return await transaction.rows(statement, {"ids": list(ids), **values}, binary=True)
