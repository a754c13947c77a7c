"""Replay of quarantine entries that are due: from the stored payload, and from the provider only if no payload is stored. A payload
that lies in the bucket is brought back for the workers before.

What a payload brings is written as if it had been readable from the start: its request runs again with that fetch as retrieved, with
what was done before, and with what failed beside it asked for once more. A payload that still cannot be read is a new entry, and costs
no call.
"""

from collections.abc import Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import psycopg

from beat_actors import audit
from beat_actors.database import Database, Statements, Transaction
from beat_actors.fetches.anew import ask_again, reread
from beat_actors.fetches.lanes import LaneKey, lane_ids
from beat_actors.fetches.states import Stage
from beat_actors.logger import get_logger
from beat_actors.payloads.reading import bring_back
from beat_actors.platforms.registry import platforms
from beat_actors.requests import retry
from beat_actors.requests.lifecycle import SOFT, fail_fetches
from beat_actors.requests.states import Status
from beat_actors.requests.swept import Swept
from beat_actors.requests.views import MAX_RETRIES

log = get_logger(__name__)

BATCH = 100
LOOKED_AT, LEAST = 50, 20
"""The last payloads of a replay by which it is judged, and the fewest."""
BRINGING = 10.0
"""Seconds of one run in which payloads are brought back from the bucket."""

SQL = Statements(__file__)


class Entry(NamedTuple):
    """An entry of the quarantine that is due."""

    id: int
    fetch_id: int


class Away(NamedTuple):
    """An entry whose payload lies in the bucket alone."""

    id: int
    fetch_id: int
    payload_at: datetime


class Failing(NamedTuple):
    """A replay: of the last `read` payloads `failed` still could not be read."""

    id: int
    bound: float
    failed: int
    read: int


class Known(NamedTuple):
    """What is known of an entry. Where its fetch is gone, `fetch_id` is None and all after it but `late` say nothing. `counts`: whether the fetch
    is of its request's last run. `late`: whether the request ended by its deadline. `kept`: whether the payload can be read."""

    id: int
    fetch_id: int | None
    request_id: int
    status: str
    live: bool
    stage: str
    counts: bool
    late: bool
    kept: bool
    archived: bool


class Beside(NamedTuple):
    """A fetch that failed beside those that are read anew, and is to be asked for again."""

    id: int
    platform: str
    flow: str
    operation: str
    priority: int
    cursor_source: str | None
    owner: str | None
    open: bool


ANY_DUE = SQL("any_due", bool)
FAILING, STOP = SQL("failing", Failing), SQL("stop", int)
AWAY = SQL("away", Away)
TAKE = SQL("take", Entry)
LOCK_FETCHES = SQL("lock_fetches", int)
LOCK_REQUESTS = SQL("lock_requests", int)
LOOK = SQL("look", Known)
REOPEN = SQL("reopen", Beside)
FOLLOWERS = SQL("followers", int)
RESOLVE = SQL("resolve")
LATER = SQL("later")


@dataclass(slots=True)
class Found:
    """What was decided: fetches whose payload is to be read, requests that run again, entries that are dealt with when those do, and
    platforms of which something is asked again."""

    reread: list[int] = field(default_factory=list)
    reopened: list[int] = field(default_factory=list)
    refetched: dict[int, int] = field(default_factory=dict)
    wake: set[str] = field(default_factory=set)
    count: int = 0


async def due(database: Database, epoch: int | None = None) -> Swept:
    """Entries whose time has come. Sends the fetches whose payload is to be read to ingest."""
    async with database.statements() as alone:
        if not await alone.only(ANY_DUE):
            return Swept()
    await stop_failing(database, epoch)
    async with database.statements() as alone:
        away = await alone.rows(AWAY, {"limit": BATCH})
    keys = {row.id: (row.fetch_id, row.payload_at) for row in away}
    gone = await bring_back(database, keys.values(), within=BRINGING)
    lost = {entry for entry, key in keys.items() if key in gone}
    try:
        found = await _decide(database, epoch, BATCH, lost)
    except psycopg.errors.UniqueViolation:
        # Somebody else asks for the same as one of them just now, so it cannot run beside it: each by itself, until it is that one's turn.
        found = await _one(database, epoch, lost)
    swept = Swept(found.wake, [("ingest", sorted(found.reread))] if found.reread else [], found.count)
    followers: list[int] = []
    if found.reopened:
        async with database.statements() as alone:
            followers = await alone.rows(FOLLOWERS, {"ids": found.reopened, "limit": MAX_RETRIES})
    requests = sorted({*found.refetched.values(), *followers})
    if requests:
        outcomes = await retry.retry_all(database, requests)
        swept.wake |= {outcome.platform for outcome in outcomes if outcome.error is None}
    if found.refetched:  # only now: a process that dies before it does it again, and finds that the request runs
        async with database.statements() as alone:
            await alone.run(RESOLVE, {"outcome": "refetched", "ids": list(found.refetched)})
    return swept


async def stop_failing(database: Database, epoch: int | None) -> int:
    """Stop the replays of which more payloads than their bound still cannot be read; how many entries are left."""
    left = 0
    async with database.transaction() as transaction:
        for replay in await transaction.rows(FAILING, {"last": LOOKED_AT}):
            if replay.read < LEAST or replay.failed <= replay.bound * replay.read:
                continue
            count = await transaction.only(STOP, {"id": replay.id, "epoch": epoch})
            left += count
            if count:
                detail = {"failed": replay.failed, "read": replay.read, "stop_at": replay.bound, "left": count}
                target = f"quarantine/replay/{replay.id}"
                await audit.record(transaction, actor="beat", action="quarantine.stop", target=target, detail=detail)
                log.warning(
                    "replay_stopped",
                    replay=replay.id,
                    failed=replay.failed,
                    read=replay.read,
                    stop_at=replay.bound,
                    left=count,
                )
    return left


async def _one(database: Database, epoch: int | None, lost: Set[int]) -> Found:
    try:
        return await _decide(database, epoch, 1, lost)
    except psycopg.errors.UniqueViolation:
        async with database.transaction() as transaction:
            taken = await transaction.row(TAKE, {"epoch": epoch, "limit": 1})
            if taken is None:
                return Found()
            row = await transaction.only(LOOK, {"ids": [taken.id]})
            return Found(refetched={row.id: row.request_id}, count=1)


async def _decide(database: Database, epoch: int | None, limit: int, lost: Set[int]) -> Found:
    """Take up to `limit` entries and have their payloads read where they are kept. `lost`: entries whose payload the bucket does not have."""
    found = Found()
    async with database.transaction() as transaction:
        taken = await transaction.rows(TAKE, {"epoch": epoch, "limit": limit})
        if not taken:
            return found
        fetches = sorted({row.fetch_id for row in taken})
        await transaction.rows(LOCK_FETCHES, {"ids": fetches})
        await transaction.rows(LOCK_REQUESTS, {"ids": fetches})
        rows = await transaction.rows(LOOK, {"ids": [row.id for row in taken]})
        # Of several answers to one fetch that could not be read, one is enough.
        newest: dict[int | None, Known] = {row.fetch_id: row for row in rows if row.fetch_id is not None}
        outcomes: dict[str, list[int]] = {"reparsed": [], "not needed": [], "gone": []}
        later: list[int] = []
        for row in rows:
            outcome = _outcome(row, lost) if newest.get(row.fetch_id, row) is row else "not needed"
            if outcome is None:
                later.append(row.id)
            elif outcome == "refetched":
                found.refetched[row.id] = row.request_id
            else:
                outcomes[outcome].append(row.id)
        again = [row for row in rows if row.id in outcomes["reparsed"] and not row.live]
        if again:
            found.reopened = sorted({row.request_id for row in again})
            found.wake = await _reopen(transaction, found.reopened, [row.fetch_id for row in again if row.fetch_id])
        if outcomes["reparsed"]:
            found.reread = await reread(transaction, outcomes["reparsed"])
        for outcome, entries in outcomes.items():
            if entries:
                await transaction.run(RESOLVE, {"outcome": outcome, "ids": entries})
        if later:
            await transaction.run(LATER, {"ids": later})
    found.count = len(taken) - len(later)
    return found


async def _reopen(transaction: Transaction, requests: list[int], fetches: list[int]) -> set[str]:
    """Run these requests again with these fetches to be read; the platforms that are asked again for what failed beside them."""
    values = {"requests": requests, "fetches": fetches, "soft": list(SOFT)}
    beside = await transaction.rows(REOPEN, values)
    if not beside:
        return set()
    keys = {row.id: key for row in beside if (key := _lane(row)) is not None}
    lanes = await lane_ids(transaction, set(keys.values()))
    await ask_again(transaction, {fetch_id: lanes[key] for fetch_id, key in keys.items()})
    gone = {"code": "unknown_operation", "message": "this version of Beat cannot ask for it any more"}
    await fail_fetches(transaction, [(row.id, gone) for row in beside if row.id not in keys], stages=(Stage.FAILED,))
    return {row.platform for row in beside if row.id in keys}


def _lane(row: Beside) -> LaneKey | None:
    platform = platforms().get(row.platform)
    if platform is None or row.operation not in platform.chains:
        return None
    chain = (row.cursor_source,) if row.cursor_source else platform.chains[row.operation]
    return LaneKey(row.platform, row.flow, row.operation, row.priority, chain, row.owner or "")


def _outcome(row: Known, lost: Set[int]) -> str | None:
    """What is to become of an entry; `None`: not yet, because somebody works on its fetch, or on what is beside it, or because its payload is
    not brought back yet."""
    if row.fetch_id is None:
        return "gone"
    if not row.counts or row.status in (Status.COMPLETE, Status.CANCELLED) or row.stage == Stage.DONE:
        return "not needed"
    if row.live and row.stage != Stage.WAITING:
        return None
    # What its deadline ended was broken off in the middle: there is no whole run to go on with.
    if row.live or not row.late:
        if row.kept:
            return "reparsed"
        if row.archived and row.id not in lost:
            return None
    # What still runs will ask other sources by itself.
    return "not needed" if row.live else "refetched"
