"""Reading anew what stands in quarantine, when it is due: the payload that is kept first, the provider only where it is kept no more.

What a payload brings is written as if it had been readable from the start: its request runs again with that fetch as retrieved, with
what was done before, and with what failed beside it asked for once more. A payload that still cannot be read is a new entry, and costs
no call.
"""

from dataclasses import dataclass, field
from typing import Any

import psycopg

from beat_actors.database import Database, Transaction
from beat_actors.fetches.lanes import LaneKey, lane_ids
from beat_actors.platforms.registry import platforms
from beat_actors.requests import retry
from beat_actors.requests.lifecycle import SOFT, fail_fetches
from beat_actors.requests.sweeps import Swept

BATCH = 100

# Asked by itself, and nothing more where there is nothing: it is asked each second, and hardly ever so.
ANY_DUE = "SELECT EXISTS (SELECT FROM quarantine WHERE resolved_at IS NULL AND replay_at <= clock_timestamp())"
TAKE = """
SELECT id, fetch_id FROM quarantine
WHERE resolved_at IS NULL AND replay_at <= clock_timestamp() AND beat_leads(%s) ORDER BY replay_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
"""
LOCK_FETCHES = """
SELECT id FROM scrape_fetch WHERE request_id = ANY(ARRAY(SELECT request_id FROM scrape_fetch WHERE id = ANY(%s))) ORDER BY id FOR NO KEY UPDATE
"""
LOCK_REQUESTS = """
SELECT r.id FROM scrape_request_log r WHERE r.id = ANY(ARRAY(SELECT request_id FROM scrape_fetch WHERE id = ANY(%s)))
ORDER BY r.id FOR NO KEY UPDATE
"""
# What is known of each, now that nobody moves it. A payload belongs to the page that the fetch was at when it came: with another
# source's cursor it would be taken for another page.
LOOK = """
SELECT q.id, f.id AS fetch_id, f.request_id, r.status, r.live, f.stage, f.run = r.retry_count AS counts,
       coalesce(r.data->'error'->>'code' = 'expired', false) AS late,
       (f.cursor_source IS NULL OR f.cursor_source = q.source)
         AND EXISTS (SELECT FROM raw_payload p WHERE p.fetch_id = f.id AND p.created_at = q.payload_at) AS kept
FROM quarantine q LEFT JOIN scrape_fetch f ON f.id = q.fetch_id LEFT JOIN scrape_request_log r ON r.id = f.request_id
WHERE q.id = ANY(%s) ORDER BY q.id
"""
# The whole run goes on: what is done counts as done, and what failed beside that which is read anew is open as well, save what a
# request completes without. A deadline that has passed is gone for the fetches too, and for what follows them.
REOPEN = """
WITH mine AS MATERIALIZED (
    SELECT f.id, f.id = ANY(%(fetches)s) OR (f.stage = 'FAILED' AND (f.is_first OR f.error->>'code' <> ALL(%(soft)s))) AS open
    FROM scrape_fetch f JOIN scrape_request_log r ON r.id = f.request_id AND r.retry_count = f.run WHERE r.id = ANY(%(requests)s)
), again AS (
    UPDATE scrape_request_log r SET status = 'PROCESSING', retry_count = retry_count + 1, live = true, joined_to = NULL,
        open_fetches = (SELECT count(*) FROM mine JOIN scrape_fetch f USING (id) WHERE f.request_id = r.id AND mine.open),
        waiters = 0, scraped_at = NULL, collected_at = NULL, data = data - 'error', work_data = NULL,
        expires_at = CASE WHEN expires_at > clock_timestamp() THEN expires_at END
    WHERE id = ANY(%(requests)s) RETURNING id, flow, retry_count, expires_at
), moved AS (
    UPDATE scrape_fetch f SET run = again.retry_count, expires_at = again.expires_at
    FROM mine, again WHERE f.id = mine.id AND again.id = f.request_id
    RETURNING f.id, f.platform, again.flow, f.operation, f.priority, f.cursor_source, f.owner, mine.open
)
SELECT * FROM moved WHERE open AND id <> ALL(%(fetches)s)
"""
# With every source open to it again, as after a retry.
ASK_AGAIN = """
UPDATE scrape_fetch f SET stage = 'WAITING', lane_id = n.lane_id, fence = f.fence + 1, excluded = '{}', unreadable = '{}', rotations = 0,
    retries = 0, stage_attempts = 0, lease_until = NULL, not_before = NULL, waiting_for = NULL, records = NULL, error = NULL
FROM unnest(%s::bigint[], %s::integer[]) AS n(id, lane_id) WHERE f.id = n.id
"""
# What failed had asked everybody, the last one too: it is not to ask again if this cannot be read either.
REREAD = """
UPDATE scrape_fetch f SET stage = 'RETRIEVED', source = q.source,
    unreadable = CASE WHEN f.stage = 'FAILED' AND f.source IS NOT NULL THEN f.unreadable || f.source ELSE f.unreadable END,
    payload_at = q.payload_at, probe = false, call_of = NULL, error = NULL,
    fence = f.fence + 1, stage_attempts = 0, lease_until = NULL, not_before = NULL, waiting_for = NULL, sent_at = clock_timestamp()
FROM quarantine q WHERE q.id = ANY(%s) AND f.id = q.fetch_id
RETURNING f.id
"""
# Those that waited for it failed with it, and join it again.
JOINED = """
SELECT id FROM scrape_request_log WHERE joined_to = ANY(%s) AND status = 'FAILED' ORDER BY id LIMIT %s
"""
RESOLVE = "UPDATE quarantine SET resolved_at = clock_timestamp(), outcome = %s WHERE id = ANY(%s)"
LATER = "UPDATE quarantine SET replay_at = clock_timestamp() + interval '10 seconds' WHERE id = ANY(%s)"


@dataclass(slots=True)
class Found:
    """What was decided: fetches whose payload is to be read, requests that run again, entries that are dealt with when those do, and
    platforms of which something is asked again."""

    reread: list[int] = field(default_factory=list)
    reopened: list[int] = field(default_factory=list)
    refetched: dict[int, int] = field(default_factory=dict)
    ring: set[str] = field(default_factory=set)
    count: int = 0


async def due(database: Database, epoch: int | None = None) -> Swept:
    """Entries whose time has come. Sends the fetches whose payload is to be read to ingest."""
    async with database.statements() as alone:
        if not await alone.value(ANY_DUE):
            return Swept()
    try:
        found = await _decide(database, epoch, BATCH)
    except psycopg.errors.UniqueViolation:
        # Somebody else asks for the same as one of them just now, so it cannot run beside it: each by itself, until it is that one's turn.
        found = await _one(database, epoch)
    swept = Swept(found.ring, [("ingest", sorted(found.reread))] if found.reread else [], found.count)
    joined: list[int] = []
    if found.reopened:
        async with database.statements() as alone:
            joined = [row.id for row in await alone.rows(JOINED, (found.reopened, retry.MAX_RETRIES))]
    requests = sorted({*found.refetched.values(), *joined})
    if requests:
        outcomes = await retry.retry_all(database, requests)
        swept.ring |= {outcome.platform for outcome in outcomes if outcome.error is None}
    if found.refetched:  # only now: whoever dies before it does it again, and finds that the request runs
        async with database.statements() as alone:
            await alone.run(RESOLVE, ("refetched", list(found.refetched)))
    return swept


async def _one(database: Database, epoch: int | None) -> Found:
    try:
        return await _decide(database, epoch, 1)
    except psycopg.errors.UniqueViolation:
        async with database.transaction() as transaction:
            (taken,) = await transaction.rows(TAKE, (epoch, 1)) or [None]
            if taken is None:
                return Found()
            (row,) = await transaction.rows(LOOK, ([taken.id],))
            return Found(refetched={row.id: row.request_id}, count=1)


async def _decide(database: Database, epoch: int | None, limit: int) -> Found:
    """Take up to `limit` entries and have their payloads read where they are kept."""
    found = Found()
    async with database.transaction() as transaction:
        taken = await transaction.rows(TAKE, (epoch, limit))
        if not taken:
            return found
        fetches = sorted({row.fetch_id for row in taken})
        await transaction.rows(LOCK_FETCHES, (fetches,))
        await transaction.rows(LOCK_REQUESTS, (fetches,))
        rows = await transaction.rows(LOOK, ([row.id for row in taken],))
        # Of several answers to one fetch that could not be read, one is enough.
        newest = {row.fetch_id: row for row in rows if row.fetch_id is not None}
        outcomes: dict[str, list[int]] = {"reparsed": [], "not needed": [], "gone": []}
        later: list[int] = []
        for row in rows:
            outcome = _outcome(row) if newest.get(row.fetch_id, row) is row else "not needed"
            if outcome is None:
                later.append(row.id)
            elif outcome == "refetched":
                found.refetched[row.id] = row.request_id
            else:
                outcomes[outcome].append(row.id)
        again = [row for row in rows if row.id in outcomes["reparsed"] and not row.live]
        if again:
            found.reopened = sorted({row.request_id for row in again})
            found.ring = await _reopen(transaction, found.reopened, [row.fetch_id for row in again])
        if outcomes["reparsed"]:
            found.reread = [row.id for row in await transaction.rows(REREAD, (outcomes["reparsed"],))]
        for outcome, entries in outcomes.items():
            if entries:
                await transaction.run(RESOLVE, (outcome, entries))
        if later:
            await transaction.run(LATER, (later,))
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
    await transaction.run(ASK_AGAIN, (list(keys), [lanes[key] for key in keys.values()]))
    gone = {"code": "unknown_operation", "message": "this version of Beat cannot ask for it any more"}
    await fail_fetches(transaction, [(row.id, gone) for row in beside if row.id not in keys], stages=("FAILED",))
    return {row.platform for row in beside if row.id in keys}


def _lane(row: Any) -> LaneKey | None:
    platform = platforms().get(row.platform)
    if platform is None or row.operation not in platform.chains:
        return None
    chain = (row.cursor_source,) if row.cursor_source else platform.chains[row.operation]
    return LaneKey(row.platform, row.flow, row.operation, row.priority, chain, row.owner or "")


def _outcome(row: Any) -> str | None:
    """What is to become of an entry; `None`: not yet, because somebody works on its fetch, or on what is beside it."""
    if row.fetch_id is None:
        return "gone"
    if not row.counts or row.status in ("COMPLETE", "CANCELLED") or row.stage == "DONE":
        return "not needed"
    if row.live and row.stage != "WAITING":
        return None
    # What its deadline ended was broken off in the middle: there is no whole run to go on with.
    if row.kept and (row.live or not row.late):
        return "reparsed"
    # What still runs will ask other sources by itself.
    return "not needed" if row.live else "refetched"
